"""`readside model quantise`: a variant of reduced precision, as a package of its own with its own verdict."""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json
from appliance.core import log
from appliance.inference.choose import open_engine
from appliance.inference.engine import Engine, InferenceError, Tensors
from appliance.inference.parity import Verdict, judge
from appliance.inference.reduce import PRECISIONS, Precision, reduced, tool
from appliance.inference.tolerance import for_variant
from models.analysis import AnswerError, NotAccepted, analyse
from models.golden import cases
from models.importing.toml_text import written
from models.manifest import ManifestError
from models.package import MANIFEST, MODEL_CARD, Package, PackageError, open_package

PARITY = "parity.json"
_CALL_SECONDS_MAX = 120.0
_CALIBRATION_CALLS_MAX = 64
_CALIBRATION_BYTES_MAX = 512 * 2**20


def quantise(
    folder: Annotated[Path, typer.Argument(help="The package of full precision: a folder.")],
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")],
    target: Annotated[Path, typer.Option("--out", help="The folder of the new package; must not be there.")],
    as_json: JsonOption = False,
) -> None:
    """Make a package of reduced precision; one that no longer answers as the full one does is not kept."""
    log.silence()
    wanted = next((one for one in PRECISIONS if one == precision), None)
    if wanted is None:
        fail(f"--precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}", code=BAD_USE)
    if target.exists():
        fail(f"{target} is there already", code=BAD_USE)
    try:
        package = open_package(folder)
        if package.manifest.variant is not None:
            fail(f"{folder} is a variant itself; name the package of full precision", code=BAD_USE)
        verdict = _make(package, wanted, target)
    except (PackageError, ManifestError) as error:
        fail("; ".join(error.faults))
    except (InferenceError, NotAccepted, AnswerError) as error:
        fail(str(getattr(error, "sentence", error)))
    _report(verdict, wanted, target, as_json=as_json)


def _make(package: Package, precision: Precision, target: Path) -> Verdict:
    """Write the variant beside its final place, judge it, and give it its name only when it holds."""
    engine, _ = open_engine(package, ["cpu"])
    target.parent.mkdir(parents=True, exist_ok=True)
    with err.status(f"making {precision}"), tempfile.TemporaryDirectory(dir=target.parent) as name:
        whole = Path(name) / "package"
        network = reduced(package.onnx_path(), precision, calibration=_calibration(package, engine))
        _write(package, precision, network, whole)
        verdict = _judged(open_package(whole), engine)
        if verdict.ok:
            _add_verdict(whole, precision, verdict)
            whole.rename(target)
    return verdict


def _calibration(package: Package, engine: Engine) -> list[Tensors]:
    """Collect what the model feeds its network for the golden cases, spread over all of them."""
    seen: list[Tensors] = []

    def infer(batch: Tensors) -> Tensors:
        seen.append({name: np.array(array) for name, array in batch.items()})
        return engine.infer(batch, deadline_seconds=_CALL_SECONDS_MAX)

    for _, volume in cases(package):
        analyse(package, volume, infer)
    each = max((sum(array.nbytes for array in batch.values()) for batch in seen), default=1)
    most = max(1, min(_CALIBRATION_CALLS_MAX, _CALIBRATION_BYTES_MAX // each))
    return [seen[int(place)] for place in np.linspace(0, len(seen) - 1, min(most, len(seen)))]


def _write(package: Package, precision: Precision, network: bytes, whole: Path) -> None:
    shutil.copytree(package.root, whole)
    (whole / package.manifest.network).write_bytes(network)
    raw = tomllib.loads((package.root / MANIFEST).read_text(encoding="utf-8"))
    version = package.manifest.version
    raw["version"] = f"{version}{'.' if '-' in version else '-'}{precision}"
    raw["tolerances"] = for_variant(package.manifest.tolerances, precision)
    raw["variant"] = {"of": package.digest, "precision": precision, "tool": tool()}
    (whole / MANIFEST).write_text(written(raw), encoding="utf-8")


def _judged(variant: Package, reference: Engine) -> Verdict:
    from appliance.inference.cpu import OnnxRuntimeCpu

    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(variant))

    def asking(one: Engine) -> Any:
        return lambda batch: one.infer(batch, deadline_seconds=_CALL_SECONDS_MAX)

    text = f"the full network on {reference.provenance().text}"
    return judge(variant, asking(engine), asking(reference), reference_text=text)


def _add_verdict(whole: Path, precision: Precision, verdict: Verdict) -> None:
    (whole / PARITY).write_text(json.dumps(verdict.as_json(), indent=1) + "\n", encoding="utf-8")
    card = whole / MODEL_CARD
    words = (
        f"\n## Variant of reduced precision\n\nThis package is a {precision} variant, made with {tool()}. "
        f"On its golden cases it was compared with {verdict.reference}; `{PARITY}` holds what was measured. "
        "All else on this card was measured on the full network.\n"
    )
    card.write_text(card.read_text(encoding="utf-8") + words, encoding="utf-8")


def _allowed(variant: Package) -> str:
    """Say what the variant may differ by: it is more than the full network may."""
    held = variant.manifest.tolerances.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in held.items())


def _report(verdict: Verdict, precision: Precision, target: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": verdict.ok, "precision": precision, "verdict": verdict.as_json()})
    elif verdict.ok:
        out.print(f"{target} holds the {precision} variant; it agrees in {len(verdict.cases)} golden cases.")
        out.print(f"  within {_allowed(open_package(target))}", markup=False)
        for case in verdict.cases:
            measures = ", ".join(f"{name} {value:.4g}" for name, value in case.measures.items())
            out.print(f"  {case.name}: {measures}" if measures else f"  {case.name}", markup=False)
    else:
        err.print(f"readside: the {precision} variant is not kept. {verdict.sentence}", markup=False)
    if not verdict.ok:
        raise typer.Exit(1)
