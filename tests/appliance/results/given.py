"""Series, findings and contexts for the tests of results: real headers from pydicom, geometry made here."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, EnhancedCTImageStorage
from scipy import ndimage

from appliance.results.context import EncodedObject, Provenance, ResultContext
from models.findings import (
    Classification,
    Code,
    Detection,
    Findings,
    Lesion,
    Measurement,
    Outcome,
    ProbabilityMap,
    Segment,
    Verdict,
    Withheld,
)
from models.tensors import BoolArray, Volume

TISSUE = Code(value="85756007", scheme="SCT", meaning="Tissue")
BONE = Code(value="3138006", scheme="SCT", meaning="Bone")
FAT = Code(value="55603005", scheme="SCT", meaning="Fat")
ABNORMAL = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
FOREIGN = Code(value="19227008", scheme="SCT", meaning="Foreign body")
LESION = Code(value="52988006", scheme="SCT", meaning="Lesion")
PRIVATE = Code(value="spongy", scheme="99READSIDE", meaning="Spongy tissue")
VOLUME = Code(value="118565006", scheme="SCT", meaning="Volume")
LONG_AXIS = Code(value="103339001", scheme="SCT", meaning="Long Axis")
PROBABILITY = Code(value="122157", scheme="DCM", meaning="Probability")
ATTENUATION = Code(value="112031", scheme="DCM", meaning="Attenuation Coefficient")
MEAN = Code(value="373098007", scheme="SCT", meaning="Mean")
MILLILITRE = Code(value="mL", scheme="UCUM", meaning="milliliter")
MILLIMETRE = Code(value="mm", scheme="UCUM", meaning="mm")
HU = Code(value="[hnsf'U]", scheme="UCUM", meaning="Hounsfield unit")
NO_UNITS = Code(value="1", scheme="UCUM", meaning="no units")

_COSINES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "oblique": ((0.8, 0.6, 0), (-0.36, 0.48, -0.8)),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Hold a series as `encode` gets it."""

    sources: list[Dataset]
    volume: Volume


def ct_header() -> Dataset:
    """Read the header of the small real CT that ships inside pydicom."""
    path = get_testdata_file("CT_small.dcm")
    assert path is not None
    header = dcmread(str(path), stop_before_pixels=True)
    # Its own private and trailing elements carry nothing the results may use.
    header.remove_private_tags()
    return header


def series(
    orientation: str = "axial",
    *,
    slices: int = 6,
    rows: int = 48,
    columns: int = 40,
    spacing_mm: tuple[float, float] = (0.75, 0.5),
    steps_mm: Sequence[float] | None = None,
    shear_mm: float = 0.0,
    header: Dataset | None = None,
) -> Series:
    """Make a series of single-frame CT images with a given geometry.

    `steps_mm` are the distances between slices (an irregular series), `shear_mm` moves each slice along its
    columns (a tilted gantry).
    """
    row, column = (np.array(c, dtype=np.float64) for c in _COSINES[orientation])
    normal = np.cross(row, column)
    along = np.concatenate([[0.0], np.cumsum(steps_mm if steps_mm is not None else [2.5] * (slices - 1))])
    positions = np.array([[-10.0, 20.0, -30.0]]) + along[:, np.newaxis] * normal
    positions = positions + np.arange(slices)[:, np.newaxis] * shear_mm * column
    template = ct_header() if header is None else header
    sources = []
    for index, position in enumerate(positions):
        source = deepcopy(template)
        source.SOPInstanceUID = UID(f"1.2.826.0.1.3680043.10.99999.{index + 1}")
        # Counted against the stack, so that a result which sorts by it is caught.
        source.InstanceNumber = slices - index
        source.Rows, source.Columns = rows, columns
        source.PixelSpacing = list(spacing_mm)
        source.ImagePositionPatient = [f"{v:.6g}" for v in position]
        source.ImageOrientationPatient = [*row, *column]
        sources.append(source)
    stored = np.array([source.ImagePositionPatient for source in sources], dtype=np.float64)
    noise = np.random.default_rng(5).normal(40, 15, (slices, rows, columns))
    volume = Volume(
        voxels=noise.astype(np.float32),
        valid=np.ones((slices, rows, columns), dtype=np.bool_),
        positions=stored,
        row_cosines=row,
        column_cosines=column,
        pixel_spacing_mm=spacing_mm,
        slice_spacing_mm=float(np.median(np.diff(along))) if slices > 1 else 0.0,
        regular=steps_mm is None,
    )
    return Series(sources=sources, volume=volume)


def context(**changes: object) -> ResultContext:
    """Make the context of a result; `study_uid` fits `ct_header`."""
    who = Provenance(
        product="Readside",
        product_version="0.1.0",
        manufacturer="Readside project",
        model_name="ct-tissue-bands",
        model_version="1.0.0",
        model_digest="sha256:" + "5a" * 32,
        engine="ONNX Runtime 1.31.1 CPU",
        device_uid="2.25.271828182845904523536",
        site_name="Test site",
        intended_use="For tests.",
        regulatory_status="Not a medical device.",
        stepped_down=None,
    )
    base = ResultContext(
        provenance=who,
        route="bands",
        study_uid=str(ct_header().StudyInstanceUID),
        content_digest="sha256:" + "c3" * 32,
        run=1,
        at=datetime(2026, 11, 21, 9, 30, 15, tzinfo=UTC),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def ball(shape: tuple[int, ...], centre: tuple[float, float, float], radius: float) -> BoolArray:
    """Mark the voxels within a distance, in voxels, of a place."""
    z, y, x = np.indices(shape, sparse=True)
    inside: BoolArray = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2
    return inside


def bands(volume: Volume) -> Findings:
    """Make findings as ct-tissue-bands does: two labels with masks, one without, one number withheld."""
    shape = volume.shape
    bone = ball(shape, (2, 15, 12), 6) & ~ball(shape, (2, 15, 12), 3)
    spongy = ball(shape, (3, 33, 26), 4)
    return Findings(
        outcome=Outcome.MEASURED,
        statement="Volumes of three tissue bands were measured.",
        segments=(segment("bone", 1, bone, BONE), segment("spongy", 2, spongy, PRIVATE, (220, 60, 120))),
        measurements=(
            number(VOLUME, 12.25, MILLILITRE, "fat", FAT),
            number(VOLUME, 123.456789, MILLILITRE, "bone", BONE),
            number(ATTENUATION, 700.5, HU, "bone", BONE, derivation=MEAN),
            number(VOLUME, 3.5, MILLILITRE, "spongy", PRIVATE),
        ),
        withheld=(Withheld(name=VOLUME, segment="air", reason="No voxel of it lies in the series."),),
    )


def lesions(volume: Volume) -> Findings:
    """Make findings as a lesion model does: two lesions, the larger first."""
    shape = volume.shape
    parts = [ball(shape, (2, 14, 12), 5), ball(shape, (4, 36, 28), 2)]
    whole = parts[0] | parts[1]
    return Findings(
        outcome=Outcome.FINDING,
        statement="2 dense lesions were marked.",
        segments=(segment("lesion", 1, whole, LESION, (255, 80, 60), category=ABNORMAL),),
        lesions=tuple(lesion(str(i), part) for i, part in enumerate(parts, start=1)),
    )


def mapped(findings: Findings) -> Findings:
    """Give each segment of some findings a map: high inside it, less around it the further away."""
    return replace(findings, maps=tuple(_map(segment) for segment in findings.segments))


def _map(segment: Segment) -> ProbabilityMap:
    away = ndimage.distance_transform_edt(~segment.mask)
    levels = np.where(segment.mask, 250 - segment.number, np.clip(120 - 30 * away, 0, None)).astype(np.uint8)
    (box,) = ndimage.find_objects((levels > 0).astype(np.uint8))
    return ProbabilityMap(
        label=segment.label,
        category=segment.category,
        type=segment.type,
        origin=(box[0].start, box[1].start, box[2].start),
        levels=levels[box],
    )


def radiograph(*, spacing: bool = True) -> Series:
    """Make a radiograph as `encode` gets it: one image without a place in the patient."""
    header = ct_header()
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing",
        "PositionReferenceIndicator", "SliceThickness", "SliceLocation", "RescaleSlope", "RescaleIntercept",
    ):  # fmt: skip
        header.pop(keyword, None)
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    header.SOPInstanceUID = UID("1.2.826.0.1.3680043.10.99999.900")
    header.Modality, header.Rows, header.Columns, header.InstanceNumber = "DX", 60, 50, 1
    header.PatientOrientation = ["L", "F"]
    if spacing:
        header.ImagerPixelSpacing = [0.2, 0.2]
    noise = np.random.default_rng(7).normal(1000, 90, (1, 60, 50))
    volume = Volume(
        voxels=noise.astype(np.float32),
        valid=np.ones((1, 60, 50), dtype=np.bool_),
        positions=np.zeros((1, 3)),
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=(0.2, 0.2) if spacing else (1.0, 1.0),
        slice_spacing_mm=0.0,
        regular=True,
        modality="DX",
        units="",
    )
    return Series(sources=[header], volume=volume)


def boxes(index: int = 0) -> Findings:
    """Make findings as a detection model does: two boxes, the likelier first."""
    edges = [(10.25, 20.5, 22.75, 31.0), (40.0, 5.4, 47.2, 9.9)]
    return Findings(
        outcome=Outcome.FINDING,
        statement="2 nodules were marked.",
        detections=tuple(
            Detection(
                label=str(number),
                kind="nodule",
                finding=LESION,
                probability=probability,
                slice_index=index,
                slice_range=range(index, index + 1),
                box=edge,
            )
            for number, (edge, probability) in enumerate(zip(edges, (0.91, 0.62), strict=True), start=1)
        ),
    )


def points(index: int = 0) -> Findings:
    """Make findings as a detection model does that only says where: one point."""
    found = boxes(index)
    first = replace(found.detections[0], box=(10.25, 20.5, 10.25, 20.5))
    return replace(found, statement="1 nodule was marked.", detections=(first,))


def answers() -> Findings:
    """Make findings as a classification model does: one label present, one absent, one undecided."""
    said = [
        ("marker", 0.97, Verdict.PRESENT),
        ("tube", 0.02, Verdict.ABSENT),
        ("clip", 0.5, Verdict.ABSTAINED),
    ]
    return Findings(
        outcome=Outcome.FINDING,
        statement="A marker is present.",
        classifications=tuple(
            Classification(label=label, finding=FOREIGN, probability=p, threshold=0.5, verdict=verdict)
            for label, p, verdict in said
        ),
    )


def nothing() -> Findings:
    """Make a negative answer of a real inference."""
    return Findings(outcome=Outcome.NO_FINDING, statement="No dense lesion was marked.")


def segment(
    label: str,
    number: int,
    mask: BoolArray,
    type_code: Code,
    colour_rgb: tuple[int, int, int] = (240, 235, 120),
    *,
    category: Code = TISSUE,
) -> Segment:
    return Segment(
        label=label, number=number, category=category, type=type_code, colour_rgb=colour_rgb, mask=mask
    )


def number(
    name: Code,
    value: float,
    unit: Code,
    label: str | None = None,
    finding: Code | None = None,
    *,
    derivation: Code | None = None,
) -> Measurement:
    return Measurement(
        name=name, value=value, unit=unit, segment=label, finding=finding, derivation=derivation
    )


def lesion(label: str, mask: BoolArray) -> Lesion:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return Lesion(
        label=label,
        segment="lesion",
        finding=LESION,
        probability=0.875,
        origin=(box[0].start, box[1].start, box[2].start),
        component=mask[box],
        slice_index=int(mask.sum(axis=(1, 2)).argmax()),
        measurements=(
            number(VOLUME, float(mask.sum()) / 1000, MILLILITRE),
            number(LONG_AXIS, 11.5, MILLIMETRE),
            number(PROBABILITY, 0.875, NO_UNITS),
        ),
    )


def read(made: EncodedObject) -> Dataset:
    """Decode an object's bytes, with a file meta information so that libraries take it for a file."""
    dataset = read_dataset(BytesIO(made.data), is_implicit_VR=False, is_little_endian=True)
    dataset.file_meta = _meta(made)
    return dataset


def write(made: EncodedObject, folder: Path, name: str) -> Path:
    """Write an object as a Part 10 file (PS3.10 7.1)."""
    path = folder / f"{name}.dcm"
    with path.open("wb") as stream:
        stream.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(DicomFileLike(stream), _meta(made))
        stream.write(made.data)
    return path


def only(objects: Sequence[EncodedObject], output: str) -> list[EncodedObject]:
    """Pick the objects of one kind."""
    return [made for made in objects if made.output == output]


def _meta(made: EncodedObject) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(made.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(made.sop_instance_uid)
    meta.TransferSyntaxUID = UID(made.transfer_syntax_uid)
    meta.ImplementationClassUID = UID("2.25.1")
    return meta


def multiframe(made: Series) -> Series:
    """Fold a series into one Enhanced CT header whose frames lie in the opposite order of the volume."""
    first = made.sources[0]
    header = deepcopy(first)
    for keyword in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"):
        del header[keyword]
    header.SOPClassUID = EnhancedCTImageStorage
    header.SOPInstanceUID = UID("1.2.826.0.1.3680043.10.99999.500")
    header.NumberOfFrames = len(made.sources)
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, 2.5
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [
        _frame(source, number) for number, source in enumerate(reversed(made.sources), start=1)
    ]
    return Series(sources=[header], volume=made.volume)


def _frame(source: Dataset, number: int) -> Dataset:
    position, content, group = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = source.ImagePositionPatient
    content.DimensionIndexValues = [number]
    group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
    return group
