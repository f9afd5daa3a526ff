"""A parametric map read back is the probabilities that went in, slice by slice, and every judge takes it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

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

SERIES = {name: lambda said=said: series(**said) for name, said in GEOMETRIES.items()}
SERIES |= {"multi-frame": lambda: multiframe(series()), "one": lambda: series(slices=1)}


def findings_on(made: Series) -> Findings:
    """Segments with a map each, on as many slices as there are."""
    return mapped(bands(made.volume)) if len(made.volume.voxels) > 1 else mapped(flat(made))


def flat(made: Series) -> Findings:
    """The segments of `bands`, with all of their depth on one slice."""
    deep = bands(series().volume)
    masks = [segment.mask.any(axis=0)[None] for segment in deep.segments]
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
        # All slices between the first and the last, and none beyond.
        assert sorted(found) == list(one.slice_range)
        _, rows, columns = made.volume.shape
        for z, plane in found.items():
            assert (plane == one.plane(z, rows=rows, columns=columns)).all()
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
        assert np.abs(plane - wanted).max() < 1e-9
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
    assert (mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped) == (0, LEVELS)
    assert (first.BitsAllocated, first.PixelRepresentation) == (16, 0)


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
    small = Limits(map_bytes_max=2 * 48 * 40 * 2)
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
def test_a_full_map_of_600_slices_costs_a_few_times_its_bytes(output):
    made = series(slices=600, rows=512, columns=512)
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
    pixels = 600 * 512 * 512 * (2 if output == "pmap" else 1)
    assert pixels < len(item.data) < pixels + (2 << 20)
    # The pixels, what the writer holds of them, and the encoded object; no floating point numbers.
    assert peak_bytes < 4.5 * pixels + (64 << 20)
