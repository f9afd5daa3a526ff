"""A segmentation read back is the masks that went in, slice by slice."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels.utils import unpack_bits

from appliance.results.encode import encode
from models.findings import Findings
from tests.appliance.results.given import (
    BONE,
    PRIVATE,
    ball,
    bands,
    context,
    multiframe,
    read,
    segment,
    series,
)


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
