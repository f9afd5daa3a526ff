"""Maps are made for who asks for them, and for nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.ledger.engine import Ledger
from appliance.worker import attempt as attempt_module
from appliance.worker.run import analyse_series
from tests.appliance.worker.given import content, ct, package
from tests.appliance.worker.test_attempt import Bench, site


@pytest.mark.parametrize(
    ("outputs", "mode", "wanted"),
    [
        (["sr", "seg", "sc"], "release", False),
        (["sr", "pmap"], "release", True),
        (["seg-fractional"], "release", True),
        (["sr", "pmap"], "shadow", False),
    ],
)
def test_an_attempt_makes_maps_where_a_destination_gets_what_is_made_of_them(
    outputs: list[str], mode: str, wanted: bool, ledger: Ledger, tmp_path: Path, monkeypatch
) -> None:
    asked = []

    def watched(*given, maps: bool, **named):
        asked.append(maps)
        return analyse_series(*given, maps=maps, **named)

    monkeypatch.setattr(attempt_module, "analyse_series", watched)
    root = tmp_path / "root"
    bench = Bench(ledger, root, site(root, outputs=outputs, mode=mode))
    try:
        assert bench.attempter.attempt(bench.job())
    finally:
        bench.attempter.close()
    assert asked == [wanted]


def test_a_series_has_the_maps_of_its_package_or_none(tmp_path: Path) -> None:
    lesion = package("ct-phantom-lesion")
    # A dense ball in softer tissue: what the network was made for, and small.
    z, y, x = np.indices((12, 48, 48))
    ball = (z - 6) ** 2 * 6.25 + (y - 24) ** 2 + (x - 24) ** 2 <= 81
    values = np.where(ball, 70, 32).astype(np.int16)
    said: dict[str, Any] = {"RescaleIntercept": 0, "PixelSpacing": [1.0, 1.0]}
    found = content(tmp_path, *(ct(plane, z_mm=2.5 * n, **said) for n, plane in enumerate(values)))
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(lesion))
    try:
        plain, mapped = (
            analyse_series(lesion, engine, found.instances, found.reader, maps=maps).findings
            for maps in (False, True)
        )
    finally:
        engine.unload()
    assert plain.maps == ()
    assert plain.statement == mapped.statement
    (one,) = mapped.maps
    assert one.label == "lesion"
    assert one.levels.max() > 0
