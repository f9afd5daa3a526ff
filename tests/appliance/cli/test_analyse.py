"""A folder's results are of the kinds that were asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from typer.testing import CliRunner

from appliance.cli.app import app
from tests.appliance.worker.given import content, ct


def test_a_heat_map_and_shares_are_written_where_asked_for(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    z, y, x = np.indices((12, 48, 48))
    ball = (z - 6) ** 2 * 6.25 + (y - 24) ** 2 + (x - 24) ** 2 <= 81
    said: dict[str, Any] = {
        "RescaleIntercept": 0,
        "PixelSpacing": [1.0, 1.0],
        "FrameOfReferenceUID": "1.2.3.1.2",
    }
    values = np.where(ball, 70, 32).astype(np.int16)
    content(images, *(ct(plane, z_mm=2.5 * n, **said) for n, plane in enumerate(values)))
    command = ["analyse", str(images), "--model", "ct-phantom-lesion", "--out", str(tmp_path / "out")]
    asked = ["--output", "pmap", "--output", "seg-fractional", "--output", "sr", "--json"]
    ran = CliRunner().invoke(app, [*command, *asked])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)
    kinds = sorted(dcmread(path).SOPClassUID.name for path in (tmp_path / "out").rglob("*.dcm"))
    assert kinds == ["Comprehensive 3D SR Storage", "Parametric Map Storage", "Segmentation Storage"]


def test_a_kind_that_there_is_not_is_bad_usage(tmp_path: Path) -> None:
    command = ["analyse", str(tmp_path), "--model", "ct-phantom-lesion", "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, [*command, "--output", "hologram"])
    assert ran.exit_code == 2
    assert "hologram: no kind of object; there are sr, " in ran.stderr
