"""A report that quotes earlier numbers looks in OHIF as one that does not: nothing old is drawn as new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.demo.study import MadeStudy
from appliance.results.context import ResultContext
from appliance.results.encode import encode
from models.findings import Findings, Outcome
from models.tensors import Volume
from tests.appliance.results import given
from tests.appliance.results.test_earlier import then
from tests.viewers import studies
from tests.viewers.browser import Seen
from tests.viewers.conftest import MEASUREMENTS, SHOTS, require_viewer, seen_in
from tests.viewers.studies import Study

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
_SPACING_MM = (2.5, 0.9, 0.9)
_SHAPE = (12, 64, 64)
_OUTPUTS = frozenset({"sr", "text-sr"})
_THEN = {("bone", "Volume", "mL"): 98.5, ("bone", "Mean Attenuation Coefficient", "[hnsf'U]"): 641.0}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    """Store a report with earlier numbers and one without, and open both."""
    require_viewer()
    folder = tmp_path_factory.mktemp("earlier")
    made = {name: _study(folder / name, number) for name, number in (("alone", 810), ("compared", 811))}
    panels = {f"{name} result sr": MEASUREMENTS for name in made}
    shots = SHOTS.with_name("viewers-earlier")
    return seen_in(made, tmp_path_factory.mktemp("pacs"), shots, panels=panels)


def _study(folder: Path, number: int) -> Study:
    hu = np.zeros(_SHAPE, dtype=np.int16)
    hu[4:8, 20:40, 20:44] = 700
    made = MadeStudy(hu=hu, spacing_mm=_SPACING_MM, number=number)
    studies.store(folder, made.instances())
    study = Study(folder=folder, study_uid=made.study_uid)
    context: ResultContext = studies.context_of(study, "bands")
    if number == 811:
        context = replace(context, earlier=(then(values=_THEN),))
    findings = Findings(
        outcome=Outcome.MEASURED,
        statement="One band was measured.",
        segments=(given.segment("bone", 1, hu == 700, given.BONE),),
        measurements=(
            given.number(given.VOLUME, 123.5, given.MILLILITRE, "bone", given.BONE),
            given.number(given.ATTENUATION, 700.5, given.HU, "bone", given.BONE, derivation=given.MEAN),
        ),
    )
    sources = studies.headers(study)
    volume = _volume(hu)
    objects = encode(context, sources=sources, volume=volume, findings=findings, outputs=_OUTPUTS)
    studies.add(study, "result", objects)
    return study


def _volume(hu: np.ndarray) -> Volume:
    z, y, x = _SPACING_MM
    slices, rows, columns = hu.shape
    corner = np.array([-x * (columns - 1) / 2, -y * (rows - 1) / 2, 0.0])
    return Volume(
        voxels=hu.astype(np.float32),
        valid=np.ones(hu.shape, dtype=np.bool_),
        positions=corner + np.arange(slices)[:, None] * np.array([0.0, 0.0, z]),
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=(y, x),
        slice_spacing_mm=z,
        regular=True,
    )


def test_the_same_is_drawn_and_taken_over(seen: Mapping[str, Seen]):
    alone, compared = seen["alone result sr"], seen["compared result sr"]
    assert not compared.fault
    assert not compared.open.toasts
    assert len(compared.open.shapes) == len(alone.open.shapes) > 0
    assert [word for word in compared.open.words if "98.5" in str(word) or "641" in str(word)] == []
    assert len(compared.open.words) == len(alone.open.words) > 0
    assert alone.loaded is not None
    assert compared.loaded is not None
    assert compared.loaded.measured == alone.loaded.measured


def test_the_page_has_the_earlier_numbers_with_their_day(seen: Mapping[str, Seen]):
    assert "On 2025-11-02, bone: Volume: 98.50 mL" in seen["compared result text-sr"].open.page
    assert "On 2025-11-02" not in seen["alone result text-sr"].open.page
