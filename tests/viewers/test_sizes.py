"""Results of the sizes that hospitals have open in OHIF: one, fifty, five hundred lesions, and 600 slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from appliance.demo.study import MadeStudy
from appliance.results.encode import encode
from appliance.results.limits import DEFAULT
from models.findings import Findings, Lesion, Outcome
from models.tensors import BoolArray, Volume
from tests.appliance.results import given
from tests.viewers import studies
from tests.viewers.browser import Seen
from tests.viewers.conftest import MEASUREMENTS, SEGMENTS, SHOTS, require_viewer, seen_in
from tests.viewers.studies import ORDINARY, Study

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
COUNTS = (1, 50, 500)
_SPACING_MM = (2.5, 0.9, 0.9)
_HU_OF_A_MARK = 90
_PANELS = (("sr", MEASUREMENTS), ("seg", SEGMENTS))
# So many lesions lie on the first slice that holds any.
_ON_A_SLICE = 11 * 11
_SEG_BYTES_MAX = 600 * 1024


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The studies, and what a browser saw of their series."""

    made: Mapping[str, Study]
    seen: Mapping[str, Seen]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Sizes:
    """Encode results of every size, store them in Orthanc, open them in OHIF."""
    require_viewer()
    folder = tmp_path_factory.mktemp("sizes")
    made: dict[str, Study] = {
        f"lesions{count}": _scattered(folder / str(count), count, number=100 + count) for count in COUNTS
    }
    made["slices600"] = _long_series(folder / "slices", number=700)
    panels = {f"{name} result {kind}": panel for name in made for kind, panel in _PANELS}
    shots = SHOTS.with_name("viewers-sizes")
    seen = seen_in(made, tmp_path_factory.mktemp("pacs"), shots, panels=panels)
    return Sizes(made=made, seen=seen)


def _scattered(folder: Path, count: int, *, number: int) -> Study:
    """Scatter lesions of two by three by three voxels over a grid of places."""
    places = [(z, y, x) for z in range(1, 37, 4) for y in range(4, 92, 8) for x in range(4, 92, 8)][:count]
    return _study(folder, (40, 96, 96), [(z, 2, y, x) for z, y, x in places], number=number)


def _long_series(folder: Path, *, number: int) -> Study:
    """Mark four places in a series of 600 slices."""
    places = [(z, 9, 20 + z // 10, 30) for z in (40, 200, 380, 560)]
    return _study(folder, (600, 128, 128), places, number=number)


def _study(
    folder: Path, shape: tuple[int, int, int], places: list[tuple[int, int, int, int]], *, number: int
) -> Study:
    hu = np.zeros(shape, dtype=np.int16)
    masks: list[Lesion] = []
    for z, deep, y, x in places:
        hu[z : z + deep, y : y + 3, x : x + 3] = _HU_OF_A_MARK
        mask = np.zeros(shape, dtype=np.bool_)
        mask[z : z + deep, y : y + 3, x : x + 3] = True
        masks.append(given.lesion(str(len(masks) + 1), mask))
    made = MadeStudy(hu=hu, spacing_mm=_SPACING_MM, number=number)
    studies.store(folder, made.instances())
    study = Study(folder=folder, study_uid=made.study_uid)
    marked = hu == _HU_OF_A_MARK
    findings = Findings(
        outcome=Outcome.FINDING,
        statement=f"{len(masks)} lesions were marked.",
        segments=(given.segment("lesion", 1, marked, given.LESION, (255, 80, 60), category=given.ABNORMAL),),
        lesions=tuple(masks),
    )
    sources = studies.headers(study)
    context = studies.context_of(study, "sizes")
    objects = encode(
        context, sources=sources, volume=_volume(hu, marked), findings=findings, outputs=ORDINARY
    )
    studies.add(study, "result", objects)
    return study


def _volume(hu: npt.NDArray[np.int16], valid: BoolArray) -> Volume:
    z, y, x = _SPACING_MM
    slices, rows, columns = hu.shape
    corner = np.array([-x * (columns - 1) / 2, -y * (rows - 1) / 2, 0.0])
    return Volume(
        voxels=hu.astype(np.float32),
        valid=np.ones_like(valid),
        positions=corner + np.arange(slices)[:, None] * np.array([0.0, 0.0, z]),
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=(y, x),
        slice_spacing_mm=z,
        regular=True,
    )


@pytest.mark.parametrize("count", COUNTS)
def test_a_report_opens_and_all_it_lists_become_measurements(sizes: Sizes, count: int):
    seen = sizes.seen[f"lesions{count} result sr"]
    assert not seen.fault
    assert not seen.open.toasts
    framed = {shape for shape in seen.open.shapes if shape.kind == "polyline"}
    assert len(framed) == len(seen.open.words) == min(count, _ON_A_SLICE)
    assert seen.loaded is not None
    assert seen.loaded.measured == min(count, DEFAULT.lesion_groups_max)


def test_a_report_on_600_slices_opens_and_all_it_lists_become_measurements(sizes: Sizes):
    seen = sizes.seen["slices600 result sr"]
    assert not seen.fault
    assert not seen.open.toasts
    assert len({shape for shape in seen.open.shapes if shape.kind == "polyline"}) == 1
    assert seen.loaded is not None
    assert seen.loaded.measured == 4


@pytest.mark.parametrize("name", [*(f"lesions{count}" for count in COUNTS), "slices600"])
def test_a_segmentation_opens_and_is_listed(sizes: Sizes, name: str):
    seen = sizes.seen[f"{name} result seg"]
    assert not seen.fault
    assert not seen.open.toasts
    assert seen.loaded is not None
    assert seen.loaded.segments == ("lesion",)
    assert seen.loaded.canvas is not None
    spread = seen.loaded.canvas.astype(int).max(axis=-1) - seen.loaded.canvas.min(axis=-1)
    assert (spread > 20).any(), "the overlay is drawn"


@pytest.mark.parametrize("count", COUNTS)
def test_pictures_and_the_page_open(sizes: Sizes, count: int):
    assert f"{count} lesions were marked." in sizes.seen[f"lesions{count} result text-sr"].open.page
    look = sizes.seen[f"lesions{count} result sc"].open
    assert look.canvas is not None
    assert look.canvas.max() > 100


def test_a_segmentation_of_600_slices_is_small(sizes: Sizes):
    (path,) = (sizes.made["slices600"].folder / "result").glob("seg.*")
    assert path.stat().st_size < _SEG_BYTES_MAX
