"""The last touch on every object: identity, dates, equipment, series, and the encoded bytes.

Promises: every object of a result says the same about patient, study, product, model and time; equal input
gives equal bytes; nothing of the encoder's own clock or random UIDs is left.
Never: touches the content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from highdicom.base_content import ContributingEquipment
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from appliance.results.context import EncodedObject, Provenance, ResultContext
from appliance.results.headers import carry_identity, local_time
from appliance.results.wording import NOT_PRIMARY, long_string, plain, series_description
from appliance.results.writing import written

# High, so that results stand behind the images in every list.
_SERIES_NUMBERS = {
    "sr": 9101, "text-sr": 9102, "seg": 9103, "sc": 9104, "gsps": 9105, "pdf": 9106, "sr-cornerstone": 9107,
    "seg-fractional": 9108, "seg-labelmap": 9109, "pmap": 9110, "kos": 9111, "iocm": 9112,
}  # fmt: skip
# Dates that every object has, and those that only some kinds have.
_DATED = ("InstanceCreation", "Series")
_DATED_BY_KIND = ("Content", "PresentationCreation")


@dataclass(frozen=True, kw_only=True)
class Label:
    """Name one object of a result.

    Attributes:
        output: one of `appliance.core.outputs.OUTPUTS`.
        title: what the Series Description begins with (see `wording.series_description`).
        instance_number: from 1 inside its series.
    """

    output: str
    title: str
    instance_number: int = 1


def sop_instance_uid(context: ResultContext, label: Label) -> str:
    """Derive the SOP Instance UID of one object of a result."""
    return context.uid(label.output, label.title, str(label.instance_number))


def common(context: ResultContext, label: Label) -> dict[str, Any]:
    """Give the arguments that every encoder class takes: identifiers, series and equipment."""
    who = context.provenance
    return {
        "series_instance_uid": context.uid(label.output, label.title, "series"),
        "series_number": _SERIES_NUMBERS[label.output],
        "series_description": series_description(label.title, who, update=_update(context, label)),
        "sop_instance_uid": sop_instance_uid(context, label),
        "instance_number": label.instance_number,
        "manufacturer": long_string(who.manufacturer),
        "manufacturer_model_name": long_string(who.product),
        "software_versions": software_versions(who),
        # Unique per box, and 64 characters at most as a UID is.
        "device_serial_number": long_string(who.device_uid),
    }


def _update(context: ResultContext, label: Label) -> int | None:
    """Number a result that replaces another; a rejection note is about the other one."""
    return context.run if context.supersedes and label.output != "iocm" else None


def software_versions(who: Provenance) -> list[str]:
    """List product, model and engine as Software Versions (0018,1020), each in 64 characters."""
    texts = (f"{who.product} {who.product_version}", f"{who.model_name} {who.model_version}", who.engine)
    return [long_string(text) for text in texts]


def finish(
    made: Dataset, context: ResultContext, label: Label, *, source: Dataset, preview_png: bytes | None = None
) -> EncodedObject:
    """Put identity, dates and equipment into an object and encode it in Explicit VR Little Endian."""
    carry_identity(made, source)
    _stamp(made, context, source)
    made.ContributingEquipmentSequence = [_equipment(context, source)]
    return EncodedObject(
        output=label.output,
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
        series_uid=str(made.SeriesInstanceUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        series_description=str(made.SeriesDescription),
        modality=str(made.Modality),
        data=written(made),
        preview_png=preview_png,
    )


def _stamp(made: Dataset, context: ResultContext, source: Dataset) -> None:
    """Write the result's own time over the encoder's clock."""
    at = local_time(context.at, source)
    for name in (*_DATED, *(name for name in _DATED_BY_KIND if f"{name}Date" in made)):
        setattr(made, f"{name}Date", at.strftime("%Y%m%d"))
        setattr(made, f"{name}Time", at.strftime("%H%M%S"))
    if "DateOfSecondaryCapture" in made:
        made.DateOfSecondaryCapture = at.strftime("%Y%m%d")
        made.TimeOfSecondaryCapture = at.strftime("%H%M%S")


def _equipment(context: ResultContext, source: Dataset) -> Dataset:
    """Describe the box as Processing Equipment (PS3.3 C.12.1.1, IHE AIR 6.5.3.1)."""
    who = context.provenance
    item = ContributingEquipment(
        manufacturer=long_string(who.manufacturer),
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=long_string(who.product),
        software_versions=software_versions(who),
        institution_name=long_string(who.site_name),
        contribution_datetime=local_time(context.at, source).strftime("%Y%m%d%H%M%S"),
        contribution_description=_contribution(context),
    )
    # The encoder has no argument for it.
    item.DeviceUID = who.model_device_uid
    return item


def _contribution(context: ResultContext) -> str:
    who = context.provenance
    text = (
        f"Analysed by model {who.model_name} {who.model_version} ({who.model_digest}) on {who.engine}, "
        f"route {context.route}, run {context.run}, evidence {context.content_digest}; {NOT_PRIMARY}."
    )
    if who.stepped_down:
        text += f" Engine stepped down: {who.stepped_down}"
    return plain(text)[:1024]
