"""Golden cases: small recorded inputs with the answer the model gave when it was packed.

Promises: a check compares what a reader would see (outcome, every number, every mask), within the manifest's
tolerances; a case that cannot be read counts as failed, not as absent.
Never: holds a patient. Cases are synthetic or public.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.analysis import AnswerError, NotAccepted, analyse
from models.findings import Findings, Measurement, Withheld
from models.limits import GoldenLimits
from models.manifest_sections import Tolerances
from models.operations.patches import Infer
from models.package import Package
from models.tensors import BoolArray, Volume

_GEOMETRY = ("positions", "row_cosines", "column_cosines")
_FACTS = (
    "pixel_spacing_mm",
    "slice_spacing_mm",
    "regular",
    "irregularity",
    "gantry_tilt_degrees",
    "modality",
    "units",
)


class GoldenError(ValueError):
    """The file is not a golden case."""


@dataclass(frozen=True, kw_only=True)
class GoldenCase:
    """Hold the verdict on one case; `differences` lists what did not agree, one sentence each."""

    name: str
    ok: bool
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """Hold the verdict on all cases of a package."""

    ok: bool
    cases: tuple[GoldenCase, ...]


def check(package: Package, infer: Infer) -> GoldenReport:
    """Run every golden case of `package` through `infer` and compare. A package without cases is not ok."""
    cases = tuple(_check_case(package, path, infer) for path in package.golden_paths())
    return GoldenReport(ok=bool(cases) and all(case.ok for case in cases), cases=cases)


def record(path: Path, volume: Volume, findings: Findings) -> None:
    """Write a golden case: the input as int16 and the answer it must give again.

    Raises:
        ValueError: the voxels are not whole numbers that fit int16.
    """
    voxels = volume.voxels.astype(np.int16)
    if not np.array_equal(voxels, volume.voxels):
        raise ValueError("a golden case holds whole numbers between -32768 and 32767")
    arrays: dict[str, npt.NDArray[Any]] = {"voxels": voxels, "valid": np.packbits(volume.valid)}
    arrays |= {name: getattr(volume, name) for name in _GEOMETRY}
    arrays |= {f"mask_{segment.number}": np.packbits(segment.mask) for segment in findings.segments}
    facts = {name: getattr(volume, name) for name in _FACTS}
    text = json.dumps({"volume": facts, "expected": summary(findings)}, sort_keys=True)
    arrays["text"] = np.frombuffer(text.encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def summary(findings: Findings) -> dict[str, Any]:
    """Give what a case compares, as JSON values: outcome, numbers by name, segments, withheld."""
    numbers = {_key(one, one.segment or "series"): one.value for one in findings.measurements}
    for lesion in findings.lesions:
        numbers |= {_key(one, f"lesion {lesion.label}"): one.value for one in lesion.measurements}
    return {
        "outcome": findings.outcome.value,
        "numbers": numbers,
        "segments": [segment.label for segment in findings.segments],
        "withheld": sorted(_key(one, one.segment or "series") for one in findings.withheld),
    }


def _key(one: Measurement | Withheld, owner: str) -> str:
    derived = f", {one.derivation.meaning}" if one.derivation else ""
    return f"{owner}: {one.name.meaning}{derived}"


def _check_case(package: Package, path: Path, infer: Infer) -> GoldenCase:
    try:
        volume, expected, masks = _read(path)
        findings = analyse(package, volume, infer)
    except (GoldenError, NotAccepted, AnswerError) as error:
        return GoldenCase(name=path.stem, ok=False, differences=(str(error),))
    differences = tuple(_differences(findings, expected, masks, package.manifest.tolerances))
    return GoldenCase(name=path.stem, ok=not differences, differences=differences)


def _read(path: Path) -> tuple[Volume, Mapping[str, Any], dict[int, npt.NDArray[np.uint8]]]:
    """Read a case: its volume, its expected summary, its expected masks as packed bits by number."""
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        text = json.loads(arrays["text"].tobytes())
        masks = {int(name[5:]): array for name, array in arrays.items() if name.startswith("mask_")}
        return _volume(arrays, text["volume"]), text["expected"], masks
    except (OSError, KeyError, TypeError, ValueError, AssertionError, EOFError, zipfile.BadZipFile) as error:
        raise GoldenError(f"is not a golden case ({type(error).__name__}: {error})") from error


def _check_sizes(path: Path) -> None:
    with zipfile.ZipFile(path) as zipped:
        largest = max((member.file_size for member in zipped.infolist()), default=0)
    if largest > GoldenLimits().bytes_max:
        raise GoldenError(f"an array has {largest} bytes, more than {GoldenLimits().bytes_max}")


def _volume(arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> Volume:
    voxels = arrays["voxels"].astype(np.float32)
    valid = np.unpackbits(arrays["valid"], count=voxels.size).astype(np.bool_).reshape(voxels.shape)
    rows_mm, columns_mm = facts["pixel_spacing_mm"]
    others = {name: facts[name] for name in _FACTS if name != "pixel_spacing_mm"}
    given: dict[str, Any] = {name: arrays[name] for name in _GEOMETRY} | others
    return Volume(voxels=voxels, valid=valid, pixel_spacing_mm=(rows_mm, columns_mm), **given)


def _differences(
    findings: Findings,
    expected: Mapping[str, Any],
    masks: Mapping[int, npt.NDArray[np.uint8]],
    tolerances: Tolerances,
) -> Iterator[str]:
    found = summary(findings)
    for key in ("outcome", "segments", "withheld"):
        if found[key] != expected[key]:
            yield f"{key} is {found[key]}; recorded {expected[key]}"
    yield from _number_differences(found["numbers"], expected["numbers"], tolerances)
    for segment in findings.segments:
        dice = _dice(segment.mask, masks.get(segment.number))
        if dice < tolerances.dice_min:
            yield f"mask of {segment.label}: Dice {dice:.5f}; at least {tolerances.dice_min} is needed"


def _number_differences(
    found: Mapping[str, float], expected: Mapping[str, float], tolerances: Tolerances
) -> Iterator[str]:
    for key in sorted(found.keys() | expected.keys()):
        if key not in found or key not in expected:
            yield f"{key} is {'new' if key in found else 'gone'}"
            continue
        allowed = max(tolerances.absolute, tolerances.relative * abs(expected[key]))
        if not abs(found[key] - expected[key]) <= allowed:
            yield f"{key} is {found[key]:.6g}; recorded {expected[key]:.6g}, tolerance {allowed:.3g}"


def _dice(mask: BoolArray, packed: npt.NDArray[np.uint8] | None) -> float:
    """Give the overlap with the recorded mask; two empty masks agree."""
    if packed is None or len(packed) != -(-mask.size // 8):
        return 0.0
    recorded = np.unpackbits(packed, count=mask.size).astype(np.bool_).reshape(mask.shape)
    both = int(mask.sum()) + int(recorded.sum())
    return 2.0 * int((mask & recorded).sum()) / both if both else 1.0
