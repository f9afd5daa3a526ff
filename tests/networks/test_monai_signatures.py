"""What the importer believes of MONAI's parameters is what MONAI has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.importing.limits import ImportLimits
from models.importing.monai_answer import ANSWER, INFERERS
from models.importing.monai_bundle import read_pipeline
from models.importing.monai_config import Configuration
from models.importing.monai_prepare import PREPARE
from tests.networks import environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]
# Taken away from MONAI since, but still in bundles that people have.
_OF_OLD = {"AddChannel", "AsChannelFirst"}
_NEEDED: dict[str, dict[str, Any]] = {
    "Orientation": {"axcodes": "RAS"},
    "Spacing": {"pixdim": [1.0, 2.0, 3.0]},
    "ScaleIntensityRange": {"a_min": 0, "a_max": 1},
    "ScaleIntensityRangePercentiles": {"lower": 1, "upper": 99, "b_min": 0, "b_max": 1},
    "ShiftIntensity": {"offset": 1},
    "Resize": {"spatial_size": [8, 8, 8]},
    "RepeatChannel": {"repeats": 2},
    "SlidingWindowInferer": {"roi_size": [8, 8, 8], "mode": "gaussian"},
}
_PLAIN = {"True": True, "False": False, "None": None}


def test_every_parameter_monai_has_is_known_at_its_default() -> None:
    names = sorted({*PREPARE, *ANSWER, *INFERERS})
    known = json.loads(environment.child(Path(__file__).with_name("signatures_child.py"), *names))

    assert {name for name, parameters in known.items() if parameters is None} == _OF_OLD
    for name, parameters in known.items():
        if parameters is None:
            continue
        given = {key: _value(text) for key, text in parameters.items() if text is not None}
        given |= _NEEDED.get(name, {})
        assert set(_NEEDED.get(name, {})) <= set(parameters)
        assert _missing(name, given) == [], f"{name} with everything at MONAI's own default"


def _value(text: str) -> Any:
    if text in _PLAIN:
        return _PLAIN[text]
    if text.startswith("<class"):
        return f"${text.removeprefix('<class ').strip(chr(39) + '>')}"
    try:
        return json.loads(text)
    except ValueError:
        return text


def _missing(name: str, given: dict[str, Any]) -> list[tuple[str, str]]:
    """Read a pipeline of this one part; what is left out of it, and why."""
    plain = [{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}]
    raw: dict[str, Any] = {"preprocessing": plain, "inferer": {"_target_": "SimpleInferer"}}
    if name in INFERERS:
        raw["inferer"] = {"_target_": name, **given}
    else:
        part, key = ("preprocessing", "image") if name in PREPARE else ("postprocessing", "pred")
        raw[part] = [{"_target_": f"{name}d", **given, "keys": key}]
    reading = read_pipeline(Configuration(raw=raw, limits=ImportLimits()), "image")
    return [(one.name, one.reason) for one in reading.missing]
