"""A parametric map read back is the probabilities that went in, slice by slice, and every judge takes it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import highdicom
import numpy as np
import pytest
from pydicom import Dataset

from appliance.results.context import EncodedObject
from appliance.results.encode import encode
from appliance.results.limits import Limits
from appliance.results.parametric import parametric_maps, too_large
from appliance.results.segmentation import seg_forms, segmentation
from models.findings import LEVELS, Findings, Outcome
from tests.appliance.results.given import (
    PRIVATE,
    Series,
    bands,
    context,
    mapped,
    multiframe,
    nothing,
    only,
    radiograph,
    read,
    series,
)
from tests.appliance.results.test_segmentation import GEOMETRIES
from tests.appliance.results.test_validators import assert_valid

SERIES: dict[str, Callable[[], Series]] = {
    **{name: partial(series, **said) for name, said in GEOMETRIES.items()},
    "multi-frame": lambda: multiframe(series()),
    "one": partial(series, slices=1),
}


def findings_on(made: Series) -> Findings:
    """Segments with a map each, on as many slices as there are."""
    return mapped(bands(made.volume)) if len(made.volume.voxels) > 1 else mapped(flat(made))


def flat(made: Series) -> Findings:
    """The segments of `bands`, with all of their depth on one slice."""
    deep = bands(series().volume)
    masks = [np.asarray(segment.mask.any(axis=0))[None] for segment in deep.segments]
    assert masks[0].shape == made.volume.shape
    return replace(
        deep, segments=tuple(replace(s, mask=mask) for s, mask in zip(deep.segments, masks, strict=True))
    )


def encoded(findings: Findings, made: Series) -> list[EncodedObject]:
    outputs = frozenset({"sr", "pmap"})
    return encode(context(), sources=made.sources, volume=made.volume, findings=findings, outputs=outputs)


def planes_of(maps: Dataset, made: Series, stored: np.ndarray) -> dict[int, np.ndarray]:
    """Give each frame by the slice at whose place it lies."""
    found = {}
    for group, plane in zip(maps.PerFrameFunctionalGroupsSequence, stored, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        distance = np.linalg.norm(made.volume.positions - place, axis=1)
        assert distance.min() < 1e-3
        found[int(distance.argmin())] = plane
    return found


@pytest.mark.parametrize("name", list(SERIES))
def test_probabilities_read_back_where_their_slices_lie(name, tmp_path):
    made = SERIES[name]()
    findings = findings_on(made)
    objects = only(encoded(findings, made), "pmap")
    assert_valid(objects, tmp_path)
    assert len(objects) == len(findings.maps) == 2
    for item, one in zip(objects, findings.maps, strict=True):
        maps = read(item)
        stored = maps.pixel_array.reshape(-1, maps.Rows, maps.Columns)
        found = planes_of(maps, made, stored)
        assert sorted(found) == list(one.slice_range)
        _, rows, columns = made.volume.shape
        for z, plane in found.items():
            assert (plane == (one.plane(z, rows=rows, columns=columns) / LEVELS).astype(np.float32)).all()
        shared = maps.SharedFunctionalGroupsSequence[0]
        assert np.allclose(
            shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            [*made.volume.row_cosines, *made.volume.column_cosines],
        )
        assert [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == [0.75, 0.5]


@pytest.mark.parametrize("name", ["axial", "multi-frame"])
def test_another_reader_finds_the_same_probabilities_and_images(name):
    made = SERIES[name]()
    findings = findings_on(made)
    item, _ = only(encoded(findings, made), "pmap")
    (one, _), (_, rows, columns) = findings.maps, made.volume.shape
    opened = highdicom.pm.ParametricMap.from_dataset(read(item))
    real = opened.get_frames(apply_real_world_transform=True, dtype=np.float64)
    for z, plane in planes_of(opened, made, real).items():
        wanted = one.plane(z, rows=rows, columns=columns) / LEVELS
        assert np.abs(plane - wanted).max() < 1e-7
    for group in opened.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        if name == "axial":
            (image,) = [s for s in made.sources if s.SOPInstanceUID == source.ReferencedSOPInstanceUID]
            assert np.allclose(np.array(image.ImagePositionPatient, dtype=float), place)
        else:
            header = made.sources[0]
            frame = header.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
            assert np.allclose(
                np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float), place
            )


def test_a_map_says_what_it_is_and_is_of_one_series():
    made = series()
    objects = only(encoded(findings_on(made), made), "pmap")
    first, second = (read(item) for item in objects)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert [first.InstanceNumber, second.InstanceNumber] == [1, 2]
    assert first.ContentQualification == "RESEARCH"
    assert second.ContentDescription == "Probability of spongy; not for primary diagnosis"
    (mapping,) = first.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "122157"
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == 0
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == 1
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert first.BitsAllocated == 32
    assert "PixelData" not in first
    (window,) = first.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth, window.VOILUTFunction) == (0.5, 1, "LINEAR_EXACT")


@pytest.mark.parametrize("name", ["axial", "multi-frame"])
def test_a_slice_without_any_probability_has_no_frame(name, tmp_path):
    made = SERIES[name]()
    findings = findings_on(made)
    _, spongy = findings.maps
    empty = spongy.slice_range.start + 1
    levels = spongy.levels.copy()
    levels[1] = 0
    assert levels[0].any()
    assert levels[2].any()
    findings = replace(findings, maps=(replace(spongy, levels=levels),))
    objects = only(encoded(findings, made), "pmap")
    assert_valid(objects, tmp_path)
    maps = read(objects[0])
    found = planes_of(maps, made, maps.pixel_array)
    assert sorted(found) == [z for z in spongy.slice_range if z != empty]
    assert all(plane.any() for plane in found.values())


def test_a_long_label_never_cuts_the_caution():
    made = series()
    findings = findings_on(made)
    label = "a label of so many words that it fits nowhere, at least not here \\ today"
    maps = tuple(replace(one, label=label, type=PRIVATE) for one in findings.maps[:1])
    (item,) = only(encoded(replace(findings, maps=maps), made), "pmap")
    assert read(item).ContentDescription.endswith("; not for primary diagnosis")


def test_equal_findings_give_equal_bytes():
    made = series()
    first, second = ([item.data for item in only(encoded(findings_on(made), made), "pmap")] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("make", [lambda: (series(), nothing()), lambda: (radiograph(), nothing())])
def test_without_a_map_there_is_no_object_and_the_text_says_so(make):
    made, findings = make()
    objects = encoded(findings, made)
    assert only(objects, "pmap") == []
    assert any(b"heat map" in item.data for item in objects)


def test_a_map_that_is_too_large_is_left_out_in_words():
    made = series()
    findings = findings_on(made)
    bone, spongy = findings.maps
    findings = replace(findings, maps=(bone, replace(spongy, levels=spongy.levels[:2])))
    small = Limits(map_bytes_max=2 * 48 * 40 * 4)
    (said,) = too_large(findings, made.volume, limits=small)
    assert said.startswith("The heat map of bone is left out")
    with_small = parametric_maps(
        context(), sources=made.sources, volume=made.volume, findings=findings, limits=small
    )
    assert [item.sop_instance_uid for item in with_small] == [
        item.sop_instance_uid for item in only(encoded(findings, made), "pmap")[1:]
    ]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("output", ["pmap", "seg-fractional"])
def test_a_full_map_of_300_mib_or_150_costs_a_few_times_its_bytes(output):
    slices = 300 if output == "pmap" else 600
    made = series(slices=slices, rows=512, columns=512)
    levels = np.full(made.volume.shape, 77, dtype=np.uint8)
    mask = np.zeros(made.volume.shape, dtype=np.bool_)
    mask[:, 200:210] = True
    (whole, *_), (one, *_) = bands(series().volume).segments, mapped(bands(series().volume)).maps
    findings = Findings(
        outcome=Outcome.MEASURED,
        statement="Outlined.",
        segments=(replace(whole, mask=mask),),
        maps=(replace(one, origin=(0, 0, 0), levels=levels),),
    )
    tracemalloc.start()
    try:
        if output == "pmap":
            (item,) = parametric_maps(context(), sources=made.sources, volume=made.volume, findings=findings)
        else:
            (form,) = seg_forms(findings, made.volume, source=made.sources[0], outputs={output})
            item = segmentation(context(), form, sources=made.sources, volume=made.volume)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    pixels = slices * 512 * 512 * (4 if output == "pmap" else 1)
    assert pixels < len(item.data) < pixels + (2 << 20)
    # The pixels, what the writer holds of them, and the encoded object; no copy of them in another type.
    assert peak_bytes < 4.5 * pixels + (64 << 20)
