"""The numbers of one answer: what the series was like, and what the model made of it.

Promises: numbers, and the number of a maker that is on a public list; what is not known is left out.
Never: keeps a text, a place or a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from pydicom import Dataset

from appliance.core.config import Config
from appliance.core.vendors import vendor_of
from appliance.ledger.figures import Figures
from appliance.worker.run import Analysis
from models import codes
from models.findings import Findings, Verdict
from models.tensors import Volume

LEVEL: Final = "health+drift"
# Quantiles of so many values, taken evenly, are those of all within a hair.
_VALUES_MAX: Final = 50_000
_QUANTILES: Final = {"low": 0.05, "middle": 0.5, "high": 0.95}


def figures_wanted(config: Config) -> bool:
    """Say whether the site lets such numbers be kept."""
    return config.registry.told == LEVEL


def figures_of(analysis: Analysis) -> Figures:
    """Return the numbers of an answer."""
    header = analysis.sources[0]
    numbers = {
        **dict(_header(header)),
        "spacing": float(analysis.volume.pixel_spacing_mm[0]),
        **_intensity(analysis.volume),
        **_answer(analysis.findings),
    }
    finite = {name: round(value, 6) for name, value in numbers.items() if math.isfinite(value)}
    return Figures(vendor=vendor_of(header.get("Manufacturer")), numbers=finite)


def _header(header: Dataset) -> Iterator[tuple[str, float]]:
    for name, keyword in (("thickness", "SliceThickness"), ("kvp", "KVP"), ("rows", "Rows")):
        try:
            yield name, float(header.get(keyword))
        except (TypeError, ValueError):
            continue


def _intensity(volume: Volume) -> Mapping[str, float]:
    values = volume.voxels.reshape(-1)
    step = max(1, values.size // _VALUES_MAX)
    valid = volume.valid.reshape(-1)[::step]
    taken = values[::step][valid]
    if not taken.size:
        return {}
    found: Any = np.quantile(taken, list(_QUANTILES.values()))
    return dict(zip(_QUANTILES, (float(value) for value in found), strict=True))


def _answer(findings: Findings) -> Mapping[str, float]:
    scores = [one.probability for one in findings.classifications]
    scores += [one.probability for one in findings.detections]
    # What was found, where the model finds; else what it measured.
    found = [one for lesion in findings.lesions for one in lesion.measurements]
    volumes = [
        one.value
        for one in found or findings.measurements
        if one.name == codes.VOLUME and one.unit == codes.MILLILITRE and one.derivation is None
    ]
    present = sum(one.verdict is Verdict.PRESENT for one in findings.classifications)
    return {
        "positives": float(present + len(findings.detections) + len(findings.lesions)),
        **({"score": float(max(scores))} if scores else {}),
        **({"volume": float(sum(volumes))} if volumes else {}),
    }
