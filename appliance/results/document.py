"""The printed page: one A4 page as an Encapsulated PDF (PS3.3 A.45.1).

Promises: whose study it is, the answer or why there is none, every number or a word on how many more there
are, and what made it, on one page that can be laid into a file; the caution stands at its head.
Never: a result that is told only here; verified or final.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom import SOPClass
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from appliance.results import wording
from appliance.results.context import EncodedObject, Notice, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.headers import legible, local_time, put_references
from appliance.results.lettering import written, written_name
from appliance.results.limits import DEFAULT, Limits
from appliance.results.marks import header_of, key_slices, pictured, shapes, where
from appliance.results.picture import RgbArray, draw
from appliance.results.report import predecessors
from appliance.results.sheet import Sheet, row_height, text_height
from appliance.results.slices import slice_places
from appliance.results.windows import window_of
from models.findings import Findings
from models.tensors import Volume

LABEL = Label(output="pdf", title="pdf")
NOTICE_LABEL = Label(output="pdf", title="notice")

_TITLE = CodedConcept("18748-4", "LN", "Diagnostic imaging report")
_STATE = "PRELIMINARY - UNVERIFIED"
_NOT_GIVEN = "not given"
# In points: pictures, and what stands around them and around the words at the foot.
_PICTURES_HEIGHT = 205.0
_PICTURES_HEIGHT_MIN = 140.0
_PICTURES_FRAME = 56.0
_HEADING = 30.0
_MAKER_SIZE = 7.5
_NOTE = 14.0
_NOTE_SIZE = 7.0
_PICTURE_LIMITS = Limits(picture_pixels_min=512, picture_pixels_max=640)
# Of a picture as it stands on the page this is as large as the words around it.
_TAG_PIXELS = 26
_COLUMNS = ("Of", "Measurement", "Value", "Unit")
_WIDTHS = (0.26, 0.44, 0.16, 0.14)
_REASON_WIDTHS = (0.26, 0.74)
_SHOWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDescription", "StudyDate",
    "SeriesNumber", "SeriesDescription", "AccessionNumber",
)  # fmt: skip
Row = tuple[str, ...]
Picture = tuple[RgbArray, str]


def findings_document(
    context: ResultContext, *, sources: Sequence[Dataset], volume: Volume | None, findings: Findings
) -> EncodedObject:
    """Encode findings as a printed page; without a volume it has no pictures."""
    wanted = [] if volume is None else key_slices(findings, volume)
    pictures = [] if volume is None else _pictures(sources, volume, findings, wanted)
    sheet = _begun(context, sources)
    sheet.heading("Result")
    sheet.text(wording.conclusion(findings), size=10, bold=True)
    _write_standing(sheet, context)
    foot = _maker_height(context)
    # Numbers come before large pictures.
    below = foot + (_PICTURES_HEIGHT_MIN + _PICTURES_FRAME if pictures else 0)
    _write_table(sheet, list(_rows(findings)), below=below)
    height = min(_PICTURES_HEIGHT, sheet.room - foot - _PICTURES_FRAME)
    if pictures and height >= _PICTURES_HEIGHT_MIN:
        sheet.heading("Pictures")
        sheet.pictures(pictures, height=height)
        for line in pictured(len(pictures), wanted=len(wanted)):
            sheet.text(line, size=_NOTE_SIZE, faint=True)
    _write_maker(sheet, context)
    return _encapsulated(context, LABEL, sheet, sources=sources, name="Result")


def notice_document(context: ResultContext, *, sources: Sequence[Dataset], notice: Notice) -> EncodedObject:
    """Encode a notice as a printed page whose heading cannot be read as a negative."""
    sheet = _begun(context, sources)
    sheet.space(14)
    sheet.alarm(wording.notice_heading(notice))
    sheet.heading("Reason")
    sheet.text(wording.plain(notice.reason), size=11)
    sheet.heading("What to do")
    sheet.text(wording.plain(notice.what_to_do), size=11)
    _write_standing(sheet, context)
    _write_maker(sheet, context)
    return _encapsulated(context, NOTICE_LABEL, sheet, sources=sources, name="Not analysed")


def _begun(context: ResultContext, sources: Sequence[Dataset]) -> Sheet:
    who = context.provenance
    author = wording.plain(f"{who.product} {who.product_version}")
    sheet = Sheet(title=f"{author}, {wording.plain(who.model_name)}", author=author, at=context.at)
    top = sheet.top
    sheet.text(wording.plain(f"{who.model_name} {who.model_version}"), size=16, bold=True, width=330)
    below = sheet.top
    sheet.top = top - 4
    sheet.text(_STATE, size=10, bold=True, left=350, width=170)
    sheet.top = min(sheet.top, below) - 6
    sheet.alarm(wording.CAUTION)
    sheet.heading("Patient and study")
    pairs = _identity(context, sources)
    for left, right in zip(pairs[::2], pairs[1::2], strict=True):
        sheet.row((*left, *right), widths=(0.15, 0.38, 0.15, 0.32))
    return sheet


def _identity(context: ResultContext, sources: Sequence[Dataset]) -> list[tuple[str, str]]:
    """Say whose study it is: pairs of a name and a value, an even number of them."""
    source = legible(sources[0], *_SHOWN)
    series = written(f"{_told(source, 'SeriesNumber')} {_told(source, 'SeriesDescription')}")
    at = local_time(context.at, sources[0])
    return [
        ("Patient", written_name(source.get("PatientName")) or _NOT_GIVEN),
        ("Patient ID", _value(source, "PatientID")),
        ("Born", _date(source, "PatientBirthDate")),
        ("Sex", _value(source, "PatientSex")),
        ("Study", _value(source, "StudyDescription")),
        ("Study date", _date(source, "StudyDate")),
        ("Series", f"{series or _NOT_GIVEN} ({len(sources)} image{'s' if len(sources) > 1 else ''})"),
        ("Accession no.", _value(source, "AccessionNumber")),
        ("Site", written(context.provenance.site_name) or _NOT_GIVEN),
        ("Result of", f"{at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}"),
    ]


def _value(source: Dataset, keyword: str) -> str:
    return written(_told(source, keyword)) or _NOT_GIVEN


def _told(source: Dataset, keyword: str) -> str:
    """Read an attribute as text; of one that has many values, as those with a stray backslash have, all."""
    value = source.get(keyword)
    if isinstance(value, MultiValue):
        return "\\".join(str(item) for item in value)
    return "" if value is None else str(value)


def _date(source: Dataset, keyword: str) -> str:
    text = _value(source, keyword)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _rows(findings: Findings) -> Iterator[Row]:
    """List every number, lesion by lesion and label by label; then what was withheld, with the reason."""
    for lesion in findings.lesions[: DEFAULT.lesion_groups_max]:
        name = wording.plain(f"{lesion.finding.meaning} {lesion.label}")
        if not lesion.measurements:
            yield name, "Probability", wording.number(lesion.probability), ""
        for found in lesion.measurements:
            yield name, *wording.measurement_cells(found)
    for found in findings.measurements:
        yield wording.plain(found.segment or "Whole series"), *wording.measurement_cells(found)
    yield from _withheld_rows(findings)
    for text in wording.reservations(findings)[len(findings.withheld) :]:
        yield "Whole series", text


def _withheld_rows(findings: Findings) -> Iterator[Row]:
    """Say what was not measured and why, once for all labels that lack the same for the same reason."""
    groups: dict[str, list[str]] = {}
    for item in findings.withheld:
        reason = wording.plain(f"{wording.derived_name(item)}: not measured. {item.reason}")
        groups.setdefault(reason, []).append(wording.plain(item.segment or "Whole series"))
    for reason, labels in groups.items():
        yield ", ".join(dict.fromkeys(labels)), reason


def _write_table(sheet: Sheet, rows: Sequence[Row], *, below: float) -> None:
    """Write the rows that fit above what stands below the table, and how many more there are."""
    if not rows:
        return
    sheet.heading("Measurements")
    sheet.row(_COLUMNS, widths=_WIDTHS, bold=True)
    last = ""
    for number, row in enumerate(rows):
        widths = _WIDTHS if len(row) == len(_COLUMNS) else _REASON_WIDTHS
        cells = ("" if row[0] == last else row[0], *row[1:])
        if sheet.room < below + row_height(cells, widths=widths) + _NOTE:
            left = f"{len(rows) - number} more lines are not on this page; the structured report has them."
            sheet.text(left, size=8.5, bold=True)
            return
        if row[0] != last:
            sheet.rule()
        sheet.row(cells, widths=widths)
        last = row[0]


def _pictures(
    sources: Sequence[Dataset], volume: Volume, findings: Findings, wanted: Sequence[int]
) -> list[Picture]:
    """Draw the first key slices, without burnt-in words: the page has them as text."""
    places = slice_places(sources, volume)
    made = []
    for index in wanted[: DEFAULT.page_pictures_max]:
        outlined = shapes(findings, volume, index=index)
        pixels = draw(
            volume.voxels[index],
            window=window_of(header_of(sources, volume, index=index), volume, index=index),
            pixel_spacing_mm=volume.pixel_spacing_mm,
            shapes=outlined,
            lines=[],
            limits=_PICTURE_LIMITS,
            # Many large numbers would cover the image.
            tag_pixels=_TAG_PIXELS if len(outlined) <= DEFAULT.tagged_regions_max else None,
        )
        made.append((pixels, where(places[index], index=index, slices=len(volume.voxels))))
    return made


def _write_standing(sheet: Sheet, context: ResultContext) -> None:
    """Say what the result replaces, and of what this page takes the place."""
    for line in [*wording.standing(context), *wording.stand_in(context, "pdf")]:
        sheet.text(line, size=9, bold=True)


def _write_maker(sheet: Sheet, context: ResultContext) -> None:
    sheet.heading("Made by")
    for line in wording.made_by(context):
        sheet.text(line, size=_MAKER_SIZE)


def _maker_height(context: ResultContext) -> float:
    lines = wording.made_by(context)
    return _HEADING + sum(text_height(line, size=_MAKER_SIZE) for line in lines)


def _encapsulated(
    context: ResultContext, label: Label, sheet: Sheet, *, sources: Sequence[Dataset], name: str
) -> EncodedObject:
    """Lay a page into its DICOM object (PS3.3 C.24.2)."""
    data = sheet.finished()
    made = SOPClass(
        study_instance_uid=str(sources[0].StudyInstanceUID),
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **common(context, label),
    )
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = None
    made.BurnedInAnnotation = "YES"
    made.VerificationFlag = "UNVERIFIED"
    made.DocumentTitle = wording.long_string(f"{name}, preliminary, unverified; {wording.NOT_PRIMARY}")
    made.ConceptNameCodeSequence = [_TITLE]
    put_references(made, "SourceInstanceSequence", sources)
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(data)
    made.EncapsulatedDocument = data + b"\0" * (len(data) % 2)
    predecessors(made, context)
    return finish(made, context, label, source=sources[0])
