"""A segmentation read back is the masks that went in, slice by slice."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.pixels.utils import unpack_bits

from appliance.results.encode import encode
from appliance.results.limits import Limits
from appliance.results.segmentation import seg_forms, segmentation
from models.findings import Findings, Outcome
from tests.appliance.results.given import (
    BONE,
    PRIVATE,
    ball,
    bands,
    context,
    mapped,
    multiframe,
    only,
    read,
    segment,
    series,
    write,
)
from tests.appliance.results.test_validators import assert_valid, run


def encoded(findings: Findings, made) -> Dataset:
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"seg", "sr"}),
    )
    (found,) = [item for item in objects if item.output == "seg"]
    return read(found)


def frames(seg: Dataset) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Give (segment number, position, mask) of each frame."""
    bits = np.asarray(unpack_bits(seg.PixelData))[: seg.NumberOfFrames * seg.Rows * seg.Columns]
    masks = bits.reshape(seg.NumberOfFrames, seg.Rows, seg.Columns).astype(bool)
    found = []
    for group, mask in zip(seg.PerFrameFunctionalGroupsSequence, masks, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        found.append((number, position, mask))
    return found


def assert_reads_back(seg: Dataset, findings: Findings, made) -> None:
    """Rebuild each mask by position alone, and compare."""
    rebuilt = {s.number: np.zeros_like(s.mask) for s in findings.segments}
    for number, position, mask in frames(seg):
        distance = np.linalg.norm(made.volume.positions - position, axis=1)
        assert distance.min() < 1e-3
        rebuilt[number][int(distance.argmin())] |= mask
    for one in findings.segments:
        assert (rebuilt[one.number] == one.mask).all()


GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "sagittal": {"orientation": "sagittal"},
    "oblique": {"orientation": "oblique"},
    "tilted": {"shear_mm": 0.9},
    "irregular": {"steps_mm": [4.2, 7.4, 1.1, 5.0, 5.0]},
    "odd sized": {"rows": 47, "columns": 39},
}


@pytest.mark.parametrize("geometry", list(GEOMETRIES))
def test_masks_read_back_where_their_slices_lie(geometry):
    made = series(**GEOMETRIES[geometry])
    findings = bands(made.volume)
    seg = encoded(findings, made)
    assert_reads_back(seg, findings, made)
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert np.allclose(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, made.sources[0].ImageOrientationPatient
    )
    assert [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == [0.75, 0.5]


def test_multiframe_sources_keep_their_frames_apart():
    made = multiframe(series())
    findings = bands(made.volume)
    seg = encoded(findings, made)
    assert_reads_back(seg, findings, made)
    for (_, position, _), group in zip(frames(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        stored = made.sources[0].PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
        assert np.allclose(stored.PlanePositionSequence[0].ImagePositionPatient, position)


def _without(*keywords: str):
    def change(header: Dataset) -> None:
        groups = [*header.PerFrameFunctionalGroupsSequence, *header.SharedFunctionalGroupsSequence]
        for group in (header, *groups):
            for keyword in keywords:
                group.pop(keyword, None)

    return change


def _of_one_frame(header: Dataset) -> None:
    del header.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence


def _emptied(header: Dataset) -> None:
    for group in header.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence = []


# Each has a Frame of Reference UID all the same.
NOWHERE = {
    "no position": _without("PlanePositionSequence"),
    "one frame without": _of_one_frame,
    "empty positions": _emptied,
    "no orientation": _without("PlaneOrientationSequence"),
    "no spacing": _without("PixelMeasuresSequence"),
    "no groups": _without("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"),
    "no shared groups": _without("SharedFunctionalGroupsSequence"),
}


@pytest.mark.parametrize("change", NOWHERE.values(), ids=NOWHERE)
def test_frames_without_a_place_get_a_report_that_says_why_there_is_no_segmentation(change, tmp_path):
    made = multiframe(series())
    change(made.sources[0])
    outputs = frozenset({"sr", "seg", "seg-fractional", "seg-labelmap", "pmap", "sc"})
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=mapped(bands(made.volume)),
        outputs=outputs,
    )
    assert {one.output for one in objects} == {"sr", "sc"}
    (report,) = only(objects, "sr")
    said = b"for the images do not say where in the patient they lie: segmentation, fractional segmentation"
    assert said in report.data
    assert_valid(objects, tmp_path)


@pytest.mark.parametrize("keyword", ["PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_what_each_frame_says_by_itself_is_what_all_share(keyword, tmp_path):
    """Many scanners write the orientation of each frame, though all are turned alike."""
    made, apart = multiframe(series()), multiframe(series())
    shared = apart.sources[0].SharedFunctionalGroupsSequence[0]
    for group in apart.sources[0].PerFrameFunctionalGroupsSequence:
        setattr(group, keyword, shared[keyword].value)
    del shared[keyword]
    before = str(apart.sources[0])
    findings = bands(made.volume)
    assert encoded(findings, apart) == encoded(findings, made)
    assert str(apart.sources[0]) == before, "the source stays as it was"


def test_a_slice_that_says_it_has_one_frame_is_a_slice():
    made, said = series(), series()
    for source in said.sources:
        source.NumberOfFrames = 1
    assert encoded(bands(said.volume), said) == encoded(bands(made.volume), made)


def test_overlapping_segments_keep_all_their_voxels():
    made = series()
    shape = made.volume.shape
    findings = replace(
        bands(made.volume),
        segments=(
            segment("bone", 1, ball(shape, (2, 20, 20), 8), BONE),
            segment("spongy", 2, ball(shape, (2, 24, 20), 8), PRIVATE),
        ),
    )
    seg = encoded(findings, made)
    assert seg.SegmentsOverlap == "YES"
    assert_reads_back(seg, findings, made)


def test_empty_frames_are_left_out_and_sources_are_named():
    made = series()
    findings = bands(made.volume)
    seg = encoded(findings, made)
    filled = sum(int(s.mask.any(axis=(1, 2)).sum()) for s in findings.segments)
    assert seg.NumberOfFrames == filled
    (referenced,) = seg.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == made.sources[0].SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == len(made.sources)
    assert seg.FrameOfReferenceUID == made.sources[0].FrameOfReferenceUID


def test_an_empty_segment_keeps_its_number_and_has_no_frame():
    made = series()
    findings = bands(made.volume)
    first = replace(findings.segments[0], mask=np.zeros_like(findings.segments[0].mask))
    findings = replace(findings, segments=(first, findings.segments[1]))
    seg = encoded(findings, made)
    assert [s.SegmentNumber for s in seg.SegmentSequence] == [1, 2]
    assert {number for number, _, _ in frames(seg)} == {2}
    assert_reads_back(seg, findings, made)


def test_segments_say_what_they_are_who_found_them_and_in_which_colour():
    made = series()
    seg = encoded(bands(made.volume), made)
    assert (seg.SegmentationType, seg.BitsAllocated, seg.Modality) == ("BINARY", 1, "SEG")
    bone, spongy = seg.SegmentSequence
    assert (bone.SegmentLabel, bone.SegmentAlgorithmType) == ("bone", "AUTOMATIC")
    assert bone.SegmentedPropertyTypeCodeSequence[0].CodeValue == BONE.value
    assert bone.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "ct-tissue-bands"
    assert bone.TrackingUID == context().uid("tracking", "segment", "bone")
    assert bone.RecommendedDisplayCIELabValue != spongy.RecommendedDisplayCIELabValue


def test_four_hundred_slices_take_seconds_not_minutes():
    made = series(slices=400, rows=512, columns=512)
    mask = np.zeros(made.volume.shape, dtype=bool)
    mask[:, 100:400, 100:400] = True
    other = np.zeros_like(mask)
    other[50:350, 420:500, :] = True
    findings = replace(
        bands(series().volume),
        segments=(segment("bone", 1, mask, BONE), segment("spongy", 2, other, PRIVATE)),
    )
    start = time.process_time()
    seg = encoded(findings, made)
    # About two seconds of processor time; a construction that is not linear in the slices takes minutes.
    assert time.process_time() - start < 30
    assert seg.NumberOfFrames == 700


def forms(findings: Findings, made, *outputs: str) -> dict[str, Dataset]:
    """Encode these segmentations, with the report that goes before them."""
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"sr", *outputs}),
    )
    return {item.output: read(item) for item in objects}


MANY_FRAMES = {"multi-frame": lambda: multiframe(series())}
ALL_SERIES = {name: lambda said=said: series(**said) for name, said in GEOMETRIES.items()} | MANY_FRAMES


@pytest.mark.parametrize("name", list(ALL_SERIES))
def test_shares_read_back_where_their_slices_lie(name):
    made = ALL_SERIES[name]()
    findings = mapped(bands(made.volume))
    seg = forms(findings, made, "seg-fractional")["seg-fractional"]
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert (seg.MaximumFractionalValue, seg.BitsAllocated) == (255, 8)
    _, rows, columns = made.volume.shape
    seen = set()
    stored = seg.pixel_array.reshape(-1, rows, columns)
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, stored, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        z = int(np.linalg.norm(made.volume.positions - place, axis=1).argmin())
        assert (plane == findings.maps[number - 1].plane(z, rows=rows, columns=columns)).all()
        seen.add((number, z))
    assert seen == {(number, z) for number, one in enumerate(findings.maps, start=1) for z in one.slice_range}


@pytest.mark.parametrize("name", list(ALL_SERIES))
def test_a_label_map_reads_back_where_its_slices_lie(name):
    made = ALL_SERIES[name]()
    findings = bands(made.volume)
    seg = forms(findings, made, "seg-labelmap")["seg-labelmap"]
    assert (seg.SegmentationType, seg.SOPClassUID) == ("LABELMAP", "1.2.840.10008.5.1.4.1.1.66.7")
    assert (seg.PixelPaddingValue, seg.SegmentsOverlap) == (0, "NO")
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [0, 1, 2]
    _, rows, columns = made.volume.shape
    wanted = np.zeros(made.volume.shape, dtype=np.uint8)
    for one in findings.segments:
        wanted[one.mask] = one.number
    rebuilt = np.zeros_like(wanted)
    stored = seg.pixel_array.reshape(-1, rows, columns)
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, stored, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        assert plane.any()
        rebuilt[int(np.linalg.norm(made.volume.positions - place, axis=1).argmin())] = plane
    assert (rebuilt == wanted).all()


def test_another_reader_finds_the_same_shares_and_labels():
    made = series()
    findings = mapped(bands(made.volume))
    found = forms(findings, made, "seg-fractional", "seg-labelmap")
    uids = [str(source.SOPInstanceUID) for source in made.sources]
    shares = Segmentation.from_dataset(found["seg-fractional"]).get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True
    )
    labels = Segmentation.from_dataset(found["seg-labelmap"]).get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    _, rows, columns = made.volume.shape
    for number, (one, segment_) in enumerate(zip(findings.maps, findings.segments, strict=True)):
        wanted = np.stack([one.plane(z, rows=rows, columns=columns) for z in range(len(uids))])
        assert np.abs(shares[..., number] - wanted / 255).max() < 1e-6
        assert ((labels == segment_.number) == segment_.mask).all()


@pytest.mark.parametrize("kind", ["axial", "irregular", "odd sized", "multi-frame"])
def test_fractional_is_valid_and_of_a_label_map_the_judge_knows_too_little(kind, tmp_path):
    made = ALL_SERIES[kind]()
    findings = mapped(bands(made.volume))
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"seg-fractional", "seg-labelmap"}),
    )
    assert_valid(only(objects, "seg-fractional"), tmp_path)
    (labels,) = only(objects, "seg-labelmap")
    judged = run("dciodvfy", "-new", str(write(labels, tmp_path, "labels")))
    errors = [line for line in (judged.stderr + judged.stdout).splitlines() if "Error" in line]
    # It is older than label maps: the class is unknown to it, and number 0, the background, is new.
    assert len(errors) == 2
    assert any("Information Object Not found" in line for line in errors)
    assert any("SegmentNumber of 0" in line for line in errors)


def test_what_cannot_be_as_asked_is_binary_and_every_object_says_so():
    made = series()
    shape = made.volume.shape
    overlapping = replace(
        bands(made.volume),
        segments=(
            segment("bone", 1, ball(shape, (2, 20, 20), 8), BONE),
            segment("spongy", 2, ball(shape, (2, 24, 20), 8), PRIVATE),
        ),
    )
    found = forms(overlapping, made, "seg-fractional", "seg-labelmap")
    for output, reason in (
        ("seg-fractional", "not all probabilities known"),
        ("seg-labelmap", "segments overlap"),
    ):
        assert found[output].SegmentationType == "BINARY"
        assert found[output].ContentDescription == f"Binary, {reason}; not for primary diagnosis"
        assert_reads_back(found[output], overlapping, made)
    # One map of two is not enough: the other segment would be lost.
    half = mapped(bands(made.volume))
    half = replace(half, maps=half.maps[:1])
    assert forms(half, made, "seg-fractional")["seg-fractional"].SegmentationType == "BINARY"
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=half,
        outputs=frozenset({"text-sr", "seg-fractional"}),
    )
    (page,) = only(objects, "text-sr")
    assert b"The fractional segmentation is a binary one: not all probabilities known." in page.data


def test_shares_beyond_the_bound_are_binary():
    made = series()
    findings = mapped(bands(made.volume))
    frames_ = sum(len(one.slice_range) for one in findings.maps)
    for slack, kind in ((0, "fractional"), (-1, "binary")):
        (form,) = seg_forms(
            findings,
            made.volume,
            source=made.sources[0],
            outputs={"seg-fractional"},
            limits=Limits(seg_bytes_max=frames_ * 48 * 40 + slack),
        )
        assert form.kind == kind


def test_the_report_refers_to_the_segmentation_that_there_is():
    made = series()
    findings = mapped(bands(made.volume))
    for output in ("seg", "seg-fractional", "seg-labelmap"):
        found = forms(findings, made, output)
        assert found[output].SOPInstanceUID.encode() in pack(found["sr"])
    both = forms(findings, made, "seg-labelmap", "seg")
    assert both["seg"].SOPInstanceUID.encode() in pack(both["sr"])
    assert both["seg-labelmap"].SOPInstanceUID.encode() not in pack(both["sr"])


def pack(dataset: Dataset) -> bytes:
    """Give an object's bytes."""
    return dataset.to_json().encode()


def test_forms_of_one_result_are_objects_of_their_own_and_always_the_same_bytes():
    made = series()
    findings = mapped(bands(made.volume))
    outputs = ("seg", "seg-fractional", "seg-labelmap")
    first, second = (forms(findings, made, *outputs) for _ in range(2))
    assert len({first[output].SOPInstanceUID for output in outputs}) == 3
    assert len({first[output].SeriesInstanceUID for output in outputs}) == 3
    for output in outputs:
        assert pack(first[output]) == pack(second[output])
        assert first[output].PixelData == second[output].PixelData


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("overlap", [False, True])
def test_600_full_slices_of_three_segments_cost_little_more_than_their_bytes(overlap):
    made = series(slices=600, rows=512, columns=512)
    masks = [np.zeros(made.volume.shape, dtype=np.bool_) for _ in range(3)]
    for number, mask in enumerate(masks):
        mask[:, 100:300, 150 * number : 150 * number + (170 if overlap else 150)] = True
    findings = Findings(
        outcome=Outcome.MEASURED,
        statement="Outlined.",
        segments=tuple(
            segment(str(number), number, mask, BONE) for number, mask in enumerate(masks, start=1)
        ),
    )
    (form,) = seg_forms(findings, made.volume, source=made.sources[0], outputs={"seg"})
    tracemalloc.start()
    try:
        item = segmentation(context(), form, sources=made.sources, volume=made.volume)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(item.data) < 64 << 20
    # The pixels, the encoded object, and the headers; the masks alone are 472 MB.
    assert peak_bytes < 4 * len(item.data) + (64 << 20)
