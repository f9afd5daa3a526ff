"""Run a model on a folder of DICOM files, without any PACS: the worker's own code on files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydicom.dataset import Dataset
from rich.progress import Progress

from appliance.assemble.gather import digest_of
from appliance.cli.packages import no_model, packages_of, settings_here
from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json, read_config
from appliance.core import log
from appliance.core.config import Config
from appliance.core.geometry import facts_for_routes
from appliance.core.instance import Instance
from appliance.core.outputs import OUTPUTS
from appliance.core.words import Outcome
from appliance.disk.durable import make_folder
from appliance.inference.choose import MAKERS, open_engine
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.process import hosted
from appliance.results.context import EncodedObject, Notice, NoticeKind, ResultContext
from appliance.results.encode import encode, encode_notice
from appliance.results.parametric import FROM_MAPS
from appliance.routes.expression import compile_condition
from appliance.routes.match import Candidate, Match, match
from appliance.spool.record import as_file
from appliance.worker.folder import FolderContent, instances_from_folder
from appliance.worker.provenance import Maker, provenance_for
from appliance.worker.run import AnalysisFailed, NotEligible, analyse_series, read_header
from appliance.worker.summary import rows_of
from models.analysis import check_geometry
from models.package import Package

_OUTPUTS = ("sr", "seg", "sc", "text-sr")
_UNLESS_SAID = ", ".join(_OUTPUTS)
_EVERYTHING = compile_condition("true")
_ROUTE = "analyse"
# No box made these results: the same files give the same UIDs on every machine.
_NO_BOX = "2.25.0"
_NO_ENGINE = "none: the model did not run"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a folder is analysed with."""

    package: Package
    engine: Engine
    stepped_down: str | None
    content: FolderContent
    target: Path
    outputs: frozenset[str]


def analyse(
    folder: Annotated[Path, typer.Argument(help="A folder of DICOM files; sub-folders count.")],
    model: Annotated[str, typer.Option(help="The model's name, see `readside model list`.")],
    target: Annotated[Path, typer.Option("--out", help="Where the results go.")],
    config: Annotated[Path | None, typer.Option("--config", help="Also the packages of this site.")] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output", help=f"A kind of object to write; many times. Unless said: {_UNLESS_SAID}."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a model on a folder of DICOM files and write its results as DICOM files."""
    log.silence()
    site = None if config is None else read_config(config)
    packages, faults = packages_of(site)
    if model not in packages:
        no_model(model, packages, faults)
    if not folder.is_dir():
        fail(f"{folder} is not a folder", code=BAD_USE)
    if unknown := set(outputs or ()) - set(OUTPUTS):
        fail(f"{', '.join(sorted(unknown))}: no kind of object; there are {', '.join(OUTPUTS)}", code=BAD_USE)
    content = instances_from_folder(folder)
    for file in content.unreadable:
        err.print(f"{file.name}: passed over: {file.reason}", markup=False)
    if not content.instances:
        fail(f"{folder} holds no readable DICOM instance")
    try:
        engine, stepped_down = _opened(packages[model], site)
    except InferenceError as error:
        fail(error.sentence)
    bench = Bench(
        package=packages[model],
        engine=engine,
        stepped_down=stepped_down,
        content=content,
        target=make_folder(target),
        outputs=frozenset(outputs or _OUTPUTS),
    )
    try:
        studies = sorted({instance.study_uid for instance in content.instances})
        reports = [_study(bench, study_uid) for study_uid in studies]
    finally:
        engine.unload()
    _show(reports, as_json=as_json)
    if any(report["outcome"] == Outcome.FAILED for report in reports):
        raise typer.Exit(1)


def _opened(package: Package, site: Config | None) -> tuple[Engine, str | None]:
    """Open an engine as the worker would, but wait for one that must be built first.

    Raises:
        InferenceError: none of the site's engines can run the model.
    """
    if site is None:
        return open_engine(package, ["cpu"])
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("building the engine", total=1.0, visible=False)
        return open_engine(
            package,
            site.inference.engines,
            settings=settings_here(site),
            makers=hosted(MAKERS),
            progress=lambda share, stage: progress.update(
                task, description=f"building: {stage}", completed=share, visible=True
            ),
        )


def _study(bench: Bench, study_uid: str) -> dict[str, Any]:
    """Choose the series as a route would, analyse it, write the objects."""
    series = {
        uid: found for uid, found in bench.content.by_series().items() if found[0].study_uid == study_uid
    }
    made = _match(bench, series)
    report: dict[str, Any] = {
        "study_uid": study_uid,
        "series": [{"series_uid": s.candidate.series_uid, "sentence": s.text} for s in made.sentences],
    }
    if made.chosen is None:
        return report | {"outcome": "no match", "statement": made.reason, "files": []}
    instances = series[made.chosen.series_uid]
    if made.refusal is not None:
        return report | _notice(bench, instances, Outcome.NOT_ELIGIBLE, made.refusal)
    try:
        return report | _analysed(bench, instances)
    except NotEligible as refusal:
        return report | _notice(bench, instances, Outcome.NOT_ELIGIBLE, " ".join(refusal.reasons))
    except AnalysisFailed as failure:
        return report | _notice(bench, instances, Outcome.FAILED, failure.sentence)


def _match(bench: Bench, series: dict[str, list[Instance]]) -> Match:
    def header_of(instance: Instance) -> Dataset:
        return read_header(instance, bench.content.reader)

    candidates = [
        Candidate(series_uid=uid, facts={**found[0].facts, **facts_for_routes(found, header_of=header_of)})
        for uid, found in series.items()
    ]
    manifest = bench.package.manifest
    accepts = compile_condition(manifest.accepts.when) if manifest.accepts.when else None
    return match(_EVERYTHING, accepts, lambda facts: check_geometry(manifest, facts), candidates)


def _analysed(bench: Bench, instances: Sequence[Instance]) -> dict[str, Any]:
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("reading")
        analysis = analyse_series(
            bench.package,
            bench.engine,
            instances,
            bench.content.reader,
            progress=lambda stage, done, total: progress.update(
                task, description=stage, completed=done, total=total
            ),
            maps=not FROM_MAPS.isdisjoint(bench.outputs),
        )
    made = encode(
        _context(bench, instances, bench.engine.provenance().text),
        sources=analysis.sources,
        volume=analysis.volume,
        findings=analysis.findings,
        outputs=bench.outputs,
    )
    return {
        "outcome": analysis.findings.outcome.value,
        "statement": analysis.findings.statement,
        "measurements": rows_of(analysis.findings),
        "seconds": {stage: round(taken, 3) for stage, taken in analysis.seconds.items()},
        "files": _write(bench.target, made),
    }


def _notice(bench: Bench, instances: Sequence[Instance], outcome: Outcome, reason: str) -> dict[str, Any]:
    kind: NoticeKind = "not eligible" if outcome is Outcome.NOT_ELIGIBLE else "failed"
    made = encode_notice(
        _context(bench, instances, _NO_ENGINE),
        sources=[read_header(instances[0], bench.content.reader)],
        notice=Notice(kind=kind, reason=reason, what_to_do="Read the study without this model."),
        outputs=bench.outputs,
    )
    return {"outcome": outcome.value, "statement": reason, "files": _write(bench.target, made)}


def _context(bench: Bench, instances: Sequence[Instance], engine: str) -> ResultContext:
    maker = Maker(engine=engine, stepped_down=bench.stepped_down, device_uid=_NO_BOX, site_name="")
    return ResultContext(
        provenance=provenance_for(bench.package, maker),
        route=_ROUTE,
        study_uid=instances[0].study_uid,
        content_digest=digest_of(instances),
        run=1,
        at=datetime.now(UTC),
    )


def _write(target: Path, made: Sequence[EncodedObject]) -> list[dict[str, str]]:
    written: list[dict[str, str]] = []
    for item in made:
        path = target / f"{item.output}-{item.sop_instance_uid.rsplit('.', 1)[-1][-12:]}.dcm"
        file = as_file(
            item.data,
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            calling_ae="READSIDE",
            at=0.0,
        )
        path.write_bytes(file)
        written.append(
            {
                "path": str(path),
                "modality": item.modality,
                "sop_class_uid": item.sop_class_uid,
                "series_description": item.series_description,
            }
        )
    return written


def _show(reports: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({"studies": list(reports)})
        return
    for report in reports:
        out.print(f"{report['outcome']}: {report['statement']}", markup=False)
        for row in report.get("measurements", ()):
            value = row.get("withheld") or f"{row['value']:.6g} {row['unit']}"
            out.print(f"  {row['segment'] or '':<12} {row['name']:<40} {value}", markup=False)
        for file in report["files"]:
            out.print(f"  {file['path']}", markup=False)
