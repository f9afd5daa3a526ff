"""Golden cases: small recorded inputs with the answer the model gave when it was packed.

Promises: a check compares what a reader would see (outcome, verdicts, every number, mask and box), within the
manifest's tolerances; a case that cannot be read counts as failed, not as absent.
Never: holds a patient. Cases are synthetic or public.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.agreement import Box, Mask, Reading, compare_readings, reading_of
from models.analysis import AnswerError, NotAccepted, analyse
from models.findings import Findings
from models.limits import GoldenLimits
from models.operations.patches import Infer
from models.package import Package
from models.tensors import FloatArray, Volume

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
    """Hold the verdict on one case; `differences` lists what did not agree, one sentence each.

    `measures` are those of `models.agreement`; a case that gave no answer has none.
    """

    name: str
    ok: bool
    differences: tuple[str, ...]
    measures: Mapping[str, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """Hold the verdict on all cases of a package."""

    ok: bool
    cases: tuple[GoldenCase, ...]


def cases(package: Package) -> Iterator[tuple[str, Volume]]:
    """Give the name and the input of every golden case, one at a time.

    Raises:
        GoldenError: a case cannot be read.
    """
    for path in package.golden_paths():
        yield path.stem, _read(path)[0]


def check(package: Package, infer: Infer) -> GoldenReport:
    """Run every golden case of `package` through `infer` and compare. A package without cases is not ok."""
    checked = tuple(_check_case(package, path, infer) for path in package.golden_paths())
    return GoldenReport(ok=bool(checked) and all(case.ok for case in checked), cases=checked)


def record(path: Path, volume: Volume, findings: Findings) -> None:
    """Write a golden case: the input, exactly, and the answer it must give again.

    Raises:
        ValueError: the voxels are not finite.
    """
    reading = reading_of(findings)
    arrays: dict[str, npt.NDArray[Any]] = {
        "voxels": _stored(volume.voxels),
        "valid": np.packbits(volume.valid),
    }
    arrays |= {name: getattr(volume, name) for name in _GEOMETRY}
    arrays |= {f"mask_{number}": mask.bits for number, mask in enumerate(reading.masks, start=1)}
    facts = {name: getattr(volume, name) for name in _FACTS}
    text = json.dumps({"volume": facts, "expected": written(reading)}, sort_keys=True)
    arrays["text"] = np.frombuffer(text.encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _stored(voxels: FloatArray) -> npt.NDArray[Any]:
    """Give the voxels as int16 where that is exact, else as they are."""
    if not np.isfinite(voxels).all():
        raise ValueError("a golden case holds finite numbers")
    whole = np.clip(voxels, -32768, 32767).astype(np.int16)
    return whole if np.array_equal(whole, voxels) else voxels


def written(reading: Reading) -> dict[str, Any]:
    """Give a reading as JSON values, without its masks' voxels."""
    return {
        "outcome": reading.outcome,
        "numbers": dict(reading.numbers),
        "segments": [mask.label for mask in reading.masks],
        "withheld": list(reading.withheld),
        "verdicts": {label: list(given) for label, given in reading.verdicts.items()},
        "boxes": [
            {"kind": one.kind, "slices": one.slices, "corners": one.corners, "probability": one.probability}
            for one in reading.boxes
        ],
    }


def _check_case(package: Package, path: Path, infer: Infer) -> GoldenCase:
    try:
        volume, expected = _read(path)
        findings = analyse(package, volume, infer)
    except (GoldenError, NotAccepted, AnswerError) as error:
        return GoldenCase(name=path.stem, ok=False, differences=(str(error),))
    agreed = compare_readings(expected, reading_of(findings), package.manifest.tolerances)
    return GoldenCase(name=path.stem, ok=agreed.ok, differences=agreed.differences, measures=agreed.measures)


def _read(path: Path) -> tuple[Volume, Reading]:
    """Read a case: its volume and the answer it must give."""
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        text = json.loads(arrays["text"].tobytes())
        volume = _volume(arrays, text["volume"])
        return volume, reading_from(text["expected"], arrays, volume.voxels.size)
    except (OSError, KeyError, TypeError, ValueError, AssertionError, EOFError, zipfile.BadZipFile) as error:
        raise GoldenError(f"is not a golden case ({type(error).__name__}: {error})") from error


def reading_from(expected: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], size: int) -> Reading:
    """Read what `written` gave; `arrays` hold the masks' bits, "mask_1" and so on, of `size` voxels each.

    Raises:
        KeyError, TypeError, ValueError: it has another form.
    """
    return Reading(
        outcome=str(expected["outcome"]),
        numbers={str(key): float(value) for key, value in expected["numbers"].items()},
        withheld=tuple(expected["withheld"]),
        masks=tuple(
            Mask(label=label, bits=arrays[f"mask_{number}"], size=size)
            for number, label in enumerate(expected["segments"], start=1)
        ),
        verdicts={
            label: (str(verdict), float(probability))
            for label, (verdict, probability) in expected.get("verdicts", {}).items()
        },
        boxes=tuple(_box(one) for one in expected.get("boxes", ())),
    )


def _box(given: Mapping[str, Any]) -> Box:
    first, last = given["slices"]
    top, left, bottom, right = (float(side) for side in given["corners"])
    return Box(
        kind=str(given["kind"]),
        slices=(int(first), int(last)),
        corners=(top, left, bottom, right),
        probability=float(given["probability"]),
    )


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
