"""The encoder has its own header of a source; what is spread over slices is what it makes of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from appliance.results import frames, parametric, segmentation
from appliance.results.encode import encode
from appliance.results.frames import Frame, Presence, placed, plane_positions
from models.findings import Findings
from models.tensors import Volume
from tests.appliance.results.given import (
    Series,
    bands,
    context,
    ct_header,
    lesions,
    mapped,
    multiframe,
    series,
)

SPREAD = frozenset({"seg", "seg-fractional", "seg-labelmap", "pmap"})


@pytest.mark.parametrize("make", [series, lambda: multiframe(series())])
def test_a_header_of_one_pixel_leaves_the_source_as_it_was(make):
    made = make()
    source = made.sources[0]
    header = placed(source, made.volume)
    assert (header.Rows, header.Columns) == (1, 1)
    assert (source.Rows, source.Columns) == (48, 40)
    assert header.SOPInstanceUID == source.SOPInstanceUID


def test_a_slice_distance_stands_in_for_a_thickness_that_is_not_told():
    bare = ct_header()
    del bare.SliceThickness
    made = series(header=bare)
    assert placed(made.sources[0], made.volume).SliceThickness == 2.5
    assert "SliceThickness" not in made.sources[0]


def test_only_frames_of_one_object_need_places_from_the_volume():
    made = series()
    assert plane_positions(made.sources[0], made.volume, range(6)) is None
    folded = multiframe(made)
    places = plane_positions(folded.sources[0], made.volume, range(2, 4))
    assert places is not None
    assert [list(place[0].ImagePositionPatient) for place in places] == [
        [float(v) for v in position] for position in made.volume.positions[2:4]
    ]


def precise() -> Series:
    """Make a series whose positions are longer than the encoder writes them (PS3.5 6.2)."""
    made = series("oblique", steps_mm=[2.5, 2.5, 2.5, 2.5, 2.5])
    for source, position in zip(made.sources, made.volume.positions, strict=True):
        source.ImagePositionPatient = [f"{v + 1 / 3:.12f}"[:16] for v in position]
    places = np.array([source.ImagePositionPatient for source in made.sources], dtype=np.float64)
    return Series(sources=made.sources, volume=replace(made.volume, positions=places))


def holed(made: Volume) -> Findings:
    """Make findings with slices in between that hold nothing, and one segment that holds nothing at all."""
    found = bands(made)
    bone, spongy = (segment.mask.copy() for segment in found.segments)
    bone[:], spongy[2:4] = False, False
    spongy[1, 5:8, 5:8] = spongy[5, 9:12, 5:8] = True
    masks = [replace(s, mask=m) for s, m in zip(found.segments, (bone, spongy), strict=True)]
    return replace(found, segments=tuple(masks), maps=mapped(replace(found, segments=tuple(masks[1:]))).maps)


GEOMETRIES: dict[str, Callable[[], Series]] = {
    "axial": series,
    "sagittal": lambda: series("sagittal"),
    "oblique": precise,
    "tilted": lambda: series(shear_mm=0.7),
    "irregular": lambda: series(steps_mm=[2.5, 2.5, 4.0, 2.5, 2.5]),
    "odd size": lambda: series(rows=41, columns=37),
}
FINDINGS: dict[str, Callable[[Volume], Findings]] = {
    "two segments": lambda made: mapped(bands(made)),
    "one segment": lambda made: mapped(lesions(made)),
    "holes": holed,
}


@pytest.mark.parametrize("found", FINDINGS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_what_is_spread_is_what_the_encoder_makes_of_all_slices(
    geometry: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = GEOMETRIES[geometry]()
    findings = FINDINGS[found](made.volume)
    ours = objects(made, findings)
    place_by_encoder(monkeypatch)
    theirs = objects(made, findings)
    assert len(ours) >= len(SPREAD) - (found == "holes")
    assert [output for output, data in ours.items() if data != theirs[output]] == []


@pytest.mark.parametrize("empty", [0, 1])
def test_of_one_slice_too(empty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = series(slices=5)
    volume = replace(
        made.volume,
        voxels=made.volume.voxels[:1],
        valid=made.volume.valid[:1],
        positions=made.volume.positions[:1],
    )
    found = mapped(bands(made.volume))
    masks = [np.zeros_like(s.mask[:1]) if n == empty else s.mask[2:3] for n, s in enumerate(found.segments)]
    masks[1 - empty][0, 3:6, 4:9] = True
    segments = tuple(replace(s, mask=m) for s, m in zip(found.segments, masks, strict=True))
    findings = replace(found, segments=segments, maps=())
    one = Series(sources=made.sources[:1], volume=volume)
    ours = objects(one, findings)
    place_by_encoder(monkeypatch)
    assert ours == objects(one, findings)
    assert len(ours) == 3


def objects(made: Series, findings: Findings) -> dict[str, bytes]:
    encoded = encode(context(), sources=made.sources, volume=made.volume, findings=findings, outputs=SPREAD)
    return {item.output + item.sop_instance_uid: item.data for item in encoded if item.output in SPREAD}


def place_by_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the encoder make every frame itself, as it does for a multi-frame image; it is told the spacing."""

    def told(sources: Sequence[Dataset], volume: Volume, slices: Sequence[int]) -> list[Dataset]:
        headers = frames.placed_all(sources, volume, slices)
        distance_mm = frames.spacing_mm(volume, range(len(volume.positions)))
        if distance_mm is not None:
            headers[0].SpacingBetweenSlices = format_number_as_ds(distance_mm)
        return headers

    def all_frames(
        made: Dataset,
        sources: Sequence[Dataset],
        volume: Volume,
        *,
        slices: Sequence[int],
        present: Presence,
        distance_mm: float | None,
    ) -> list[Frame]:
        groups = made.PerFrameFunctionalGroupsSequence
        return [
            (frames._layer(group), z) for group, z in zip(groups, frames._slices(made, volume), strict=True)
        ]

    monkeypatch.setattr(segmentation, "placed_all", told)
    monkeypatch.setattr(segmentation, "is_multiframe", lambda source: True)
    for module in (segmentation, parametric):
        monkeypatch.setattr(module, "shown", lambda source, slices: slices)
        monkeypatch.setattr(module, "frames", all_frames)
