"""What a result takes over from its source images: identity verbatim, geometry for the encoder.

Promises: patient, study and accession attributes reach the result byte for byte, in their own character set;
an attribute that a source lacks is written empty where the result must have it.
Never: repairs, shortens or translates a patient's data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian

from appliance.results import uids
from appliance.results.context import derive_uid
from appliance.results.slices import is_multiframe
from appliance.results.uids import uid
from appliance.results.writing import element, item, sequence, uid_element

# PS3.3 C.7.1.1 and C.7.2.1: Type 2, so always there, empty when unknown.
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# Patient, Clinical Trial Subject, General Study and Patient Study attributes that a PACS matches or shows.
_CARRIED = (
    *_TYPE_2,
    "SpecificCharacterSet", "TimezoneOffsetFromUTC",
    "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence",
    "TypeOfPatientID", "PatientBirthTime", "OtherPatientNames",
    "IssuerOfAccessionNumberSequence", "StudyDescription", "ProcedureCodeSequence",
    "PatientAge", "PatientSize", "PatientWeight",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
)  # fmt: skip
# Value representations whose bytes are the same in every transfer syntax (PS3.5 6.2).
_TEXTS = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT")
)


def _tag(keyword: str) -> BaseTag:
    return Tag(tag_for_keyword(keyword) or 0)


def _tags(*keywords: str) -> tuple[BaseTag, ...]:
    return tuple(_tag(keyword) for keyword in keywords)


_UIDS = (uids.SOP_CLASS, uids.SOP_INSTANCE, uids.STUDY, uids.SERIES)
_MODALITY, _NUMBER_OF_FRAMES = _tags("Modality", "NumberOfFrames")
_REFERENCED = _tags("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
_SOP_SEQUENCE, _SERIES_SEQUENCE, _INSTANCE_SEQUENCE = _tags(
    "ReferencedSOPSequence", "ReferencedSeriesSequence", "ReferencedInstanceSequence"
)
_UNNAMED = tuple(DataElement(tag, dictionary_VR(tag), None) for tag in _tags(*_TYPE_2))
_DEIDENTIFICATION = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
_GEOMETRY = _tags(
    "Rows", "Columns", "PixelSpacing", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "PositionReferenceIndicator",
    "NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence", "DimensionIndexSequence", "DimensionOrganizationType",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip


def carry_identity(target: Dataset, source: Dataset) -> None:
    """Copy patient and study attributes into a result, bytes as they came (PS3.3 C.7.1.1, C.7.2.1)."""
    for keyword in _TYPE_2:
        setattr(target, keyword, None)
    if "SpecificCharacterSet" in target:
        del target.SpecificCharacterSet
    for keyword in _CARRIED:
        _copy(target, source, keyword)
    # Both or neither: PatientIdentityRemoved without a method is not valid (PS3.3 C.7.1.1).
    if any(legible(source, keyword).get(keyword) for keyword in _DEIDENTIFICATION):
        for keyword in ("PatientIdentityRemoved", *_DEIDENTIFICATION):
            _copy(target, source, keyword)


def legible(source: Dataset, *keywords: str) -> Dataset:
    """Give some attributes of a header to read.

    Reading decodes an element in place, and what was decoded is written as the encoder would have it; the
    source must keep its bytes until every object has them.
    """
    made = Dataset()
    implicit, little = source.original_encoding
    made.set_original_encoding(implicit, little, source.original_character_set)
    for tag in _tags(*keywords):
        if tag in source:
            made[tag] = source.get_item(tag)
    return made


def local_time(at: datetime, source: Dataset) -> datetime:
    """Give a time in the zone in which the source's dates and times are to be read (PS3.3 C.12.1.1)."""
    told = legible(source, "TimezoneOffsetFromUTC")
    offset = str(told.get("TimezoneOffsetFromUTC") or "").strip()
    if len(offset) != 5 or not offset[1:].isdigit() or offset[0] not in "+-":
        return at
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return at.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def stub(source: Dataset) -> Dataset:
    """Make the header that the encoder sees: identifiers and geometry, nothing a site can fill in wrongly.

    The identity is put in afterwards by `carry_identity`, verbatim.
    """
    # By tag and element, not by attribute: a result asks for this of 400 slices, several times over.
    made = Dataset({element.tag: _own(element) for element in _UNNAMED})
    for tag in _UIDS:
        made[tag] = DataElement(tag, "UI", uid(source, tag))
    made.Modality = str(_value(source, _MODALITY) or "OT")
    # Type 1 for everything with a position. A source that lacks it gets one of its own series.
    frame_uid = uid(source, uids.FRAME_OF_REFERENCE) or derive_uid(
        "frame of reference", uid(source, uids.SERIES)
    )
    made[uids.FRAME_OF_REFERENCE] = DataElement(uids.FRAME_OF_REFERENCE, "UI", frame_uid)
    for tag in _GEOMETRY:
        if _value(source, tag) not in (None, ""):
            element = source[tag]
            # An element of its own: assigning to an attribute changes the element that is there.
            # A deep copy of plain values would take half a second for 400 slices.
            made[tag] = deepcopy(element) if element.VR == "SQ" else _own(element)
    if is_multiframe(made):
        made.NumberOfFrames = int(made.NumberOfFrames)
    else:
        made.pop(_NUMBER_OF_FRAMES, None)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def _own(element: DataElement) -> DataElement:
    """Copy an element, not its value: as `copy.copy` does it, at a fifth of its price."""
    made = object.__new__(type(element))
    made.__dict__.update(element.__dict__)
    return made


def _value(source: Dataset, tag: BaseTag) -> Any:
    return source[tag].value if tag in source else None


def put_evidence(
    made: Dataset, sources: Iterable[Dataset], keyword: str = "CurrentRequestedProcedureEvidenceSequence"
) -> None:
    """List instances as the evidence of an SR (PS3.3 C.17.2), grouped by study and series, none twice.

    As bytes: every report of a result names all its images, and as data sets they took longer than the rest.
    """
    studies: dict[str, dict[str, dict[str, bytes]]] = {}
    seen: set[str] = set()
    for source in sources:
        sop_class, instance, study, series = (uid(source, tag) for tag in _UIDS)
        if instance not in seen:
            seen.add(instance)
            group = studies.setdefault(study, {}).setdefault(series, {})
            group[instance] = referenced(sop_class, instance)
    tag = _tag(keyword)
    made[tag] = sequence(tag, (_study(study, series) for study, series in studies.items()))


def _study(study_uid: str, series: Mapping[str, Mapping[str, bytes]]) -> bytes:
    listed = b"".join(
        item(
            element(_SOP_SEQUENCE, "SQ", b"".join(instances.values())) + uid_element(uids.SERIES, series_uid)
        )
        for series_uid, instances in series.items()
    )
    return item(element(_SERIES_SEQUENCE, "SQ", listed) + uid_element(uids.STUDY, study_uid))


def put_references(made: Dataset, keyword: str, sources: Iterable[Dataset]) -> None:
    """Refer to instances, to none twice (PS3.3 Table 10-11)."""
    pairs = {uid(source, uids.SOP_INSTANCE): uid(source, uids.SOP_CLASS) for source in sources}
    tag = _tag(keyword)
    made[tag] = sequence(tag, (referenced(sop_class, instance) for instance, sop_class in pairs.items()))


def put_series(made: Dataset, sources: Iterable[Dataset]) -> None:
    """Refer to instances by their series (PS3.3 C.12.2)."""
    series: dict[str, list[bytes]] = {}
    for source in sources:
        one = referenced(uid(source, uids.SOP_CLASS), uid(source, uids.SOP_INSTANCE))
        series.setdefault(uid(source, uids.SERIES), []).append(one)
    made[_SERIES_SEQUENCE] = sequence(
        _SERIES_SEQUENCE,
        (
            item(element(_INSTANCE_SEQUENCE, "SQ", b"".join(listed)) + uid_element(uids.SERIES, series_uid))
            for series_uid, listed in series.items()
        ),
    )


def referenced(sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Refer to one instance, as an item (PS3.3 Table 10-11)."""
    class_tag, instance_tag = _REFERENCED
    return item(uid_element(class_tag, sop_class_uid) + uid_element(instance_tag, sop_instance_uid))


def _copy(target: Dataset, source: Dataset, keyword: str) -> None:
    """Copy one element; text that was never decoded stays the bytes it was."""
    tag = _tag(keyword)
    if tag not in source:
        return
    vr = dictionary_VR(tag)
    element = source.get_item(tag)
    if isinstance(element, RawDataElement) and vr != "SQ":
        target[tag] = _raw(element, vr)
    else:
        target[tag] = deepcopy(source[tag])
        if vr == "SQ":
            _make_explicit(target[tag].value)


def _raw(element: RawDataElement, vr: str) -> RawDataElement:
    """Make an undecoded element fit Explicit VR: it names its VR and has an even length (PS3.5 7.1)."""
    value = element.value or b""
    even = value + (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return element._replace(VR=vr, value=even, length=len(even), is_implicit_VR=False, is_little_endian=True)


def _make_explicit(items: Sequence[Dataset]) -> None:
    """Make the undecoded text of a sequence's items fit Explicit VR; what is no text is left to the encoder.

    Else the encoder would decode all of it, and write it as it thinks best.
    """
    for one in items:
        for found in list(one.elements()):
            vr = dictionary_VR(found.tag) if dictionary_has_tag(found.tag) else "UN"
            if vr == "SQ":
                _make_explicit(one[found.tag].value)
            elif isinstance(found, RawDataElement) and vr in _TEXTS:
                one[found.tag] = _raw(found, vr)
            else:
                one[found.tag]
        one.set_original_encoding(False, True, one.original_character_set)
