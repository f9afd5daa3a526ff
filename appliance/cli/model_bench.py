"""`readside model bench`: how fast each engine runs a model here, as a table, JSON and a plot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from appliance.cli.bench_plot import PlotLacking, plot
from appliance.cli.packages import no_model, packages_of
from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json, read_config
from appliance.core import log
from appliance.core.config import Config
from appliance.inference.choose import MAKERS, open_engine
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.measure import MeasureLimits, Pipeline, Speed, pipelines, speeds
from appliance.inference.settings import EngineSettings, settings_of
from appliance.worker.faults import AnalysisFailed, NotEligible
from appliance.worker.folder import instances_from_folder
from appliance.worker.run import analyse_series
from models.analysis import first_fed
from models.golden import cases
from models.manifest import ManifestError
from models.package import Package, PackageError, open_package
from models.tensors import Volume


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What was measured: the engines that ran, and why others did not."""

    package: Package
    series: str
    speeds: Sequence[Speed]
    pipelines: Sequence[Pipeline]
    absent: dict[str, str]
    texts: dict[str, str]


def bench(
    model: Annotated[str, typer.Argument(help="A model's name, or a package: a folder.")],
    engines: Annotated[str, typer.Option(help="Engines to compare, by comma; all that there are.")] = "",
    batches: Annotated[str, typer.Option(help="Batch sizes, by comma.")] = "1,2,4",
    series: Annotated[
        Path | None, typer.Option(help="A folder of DICOM files; else the model's largest golden case.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each batch size, and for the whole analyses.")] = 10.0,
    target: Annotated[
        Path | None, typer.Option("--out", help="Where bench.json, bench.png and bench.svg go.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The site's packages and engines.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency and throughput of each engine, and the share of a whole analysis that it takes."""
    log.silence()
    sizes = _sizes(batches)
    site = None if config is None else read_config(config)
    package = _package(model, site)
    settings = EngineSettings() if site is None else settings_of(site)
    wanted = engines.split(",") if engines else list(MAKERS if site is None else site.inference.engines)
    if unknown := sorted(set(wanted) - set(MAKERS)):
        fail(f"no engine is called {', '.join(unknown)}; there are: {', '.join(MAKERS)}", code=BAD_USE)
    with ExitStack() as stack:
        opened, absent = _open(package, wanted, settings, stack)
        if not opened:
            fail("; ".join(f"{name}: {why}" for name, why in absent.items()))
        limits = MeasureLimits(seconds_max=seconds)
        named, volume = _series(package, series, next(iter(opened.values())))
        made = _measured(package, opened, absent, named=named, volume=volume, sizes=sizes, limits=limits)
    _report(made, target, as_json=as_json)


def _sizes(batches: str) -> list[int]:
    try:
        sizes = [int(one) for one in batches.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1 or max(sizes) > 1024:
        fail(f"--batches is {batches!r}; it must be numbers from 1 to 1024, by comma", code=BAD_USE)
    return sizes


def _package(model: str, site: Config | None) -> Package:
    if (Path(model) / "manifest.toml").is_file():
        try:
            return open_package(Path(model))
        except (PackageError, ManifestError) as error:
            fail("; ".join(error.faults))
    packages, faults = packages_of(site)
    if model not in packages:
        no_model(model, packages, faults)
    return packages[model]


def _open(
    package: Package, wanted: Sequence[str], settings: EngineSettings, stack: ExitStack
) -> tuple[dict[str, Engine], dict[str, str]]:
    """Open every engine by itself, so that one that is not here leaves the others to be measured."""
    opened: dict[str, Engine] = {}
    absent: dict[str, str] = {}
    for name in wanted:
        with err.status(f"opening {name}"):
            try:
                opened[name], _ = open_engine(package, [name], settings=settings)
            except InferenceError as error:
                absent[name] = error.sentence.removeprefix("No engine can run the model here. ")
                continue
        stack.callback(opened[name].unload)
    return opened, absent


def _series(package: Package, folder: Path | None, engine: Engine) -> tuple[str, Volume]:
    """Give a name and the volume to measure with."""
    if folder is not None:
        return _series_of(package, folder, engine)
    held = list(cases(package))
    if not held:
        fail("the package has no golden case; name a folder of DICOM files with --series")
    name, volume = max(held, key=lambda case: case[1].voxels.size)
    return f"golden case {name}", volume


def _series_of(package: Package, folder: Path, engine: Engine) -> tuple[str, Volume]:
    """Read the first series of a folder that the model takes."""
    content = instances_from_folder(folder)
    reasons: list[str] = []
    made: tuple[str, Volume] | None = None
    for instances in content.by_series().values():
        try:
            volume = analyse_series(package, engine, instances, content.reader).volume
        except (NotEligible, AnalysisFailed) as error:
            reasons.append(str(error))
            continue
        slices, rows, columns = volume.shape
        made = (f"a series of {slices} x {rows} x {columns}", volume)
        break
    if made is None:
        fail(f"no series of {folder.name} can be analysed: {' '.join(reasons) or 'it holds none'}")
    return made


def _measured(
    package: Package,
    opened: dict[str, Engine],
    absent: dict[str, str],
    *,
    named: str,
    volume: Volume,
    sizes: Sequence[int],
    limits: MeasureLimits,
) -> Bench:
    feed = first_fed(package, volume)
    fast: list[Speed] = []
    for size in sizes:
        with err.status(f"batch {size}"):
            fast += speeds(opened, feed, batch=size, limits=limits)
    with err.status("whole analyses"):
        whole = pipelines(package, opened, volume, limits=limits)
    texts = {name: engine.provenance().text for name, engine in opened.items()}
    return Bench(package=package, series=named, speeds=fast, pipelines=whole, absent=absent, texts=texts)


def _report(made: Bench, target: Path | None, *, as_json: bool) -> None:
    told = _as_json(made)
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
        try:
            told["files"] = [str(path) for path in plot(told, target)]
        except PlotLacking as error:
            err.print(str(error), markup=False)
    if as_json:
        print_json(told)
        return
    out.print(_speed_table(made))
    out.print(_pipeline_table(made))
    for name, why in made.absent.items():
        out.print(f"{name}: not measured. {why}", markup=False)


def _as_json(made: Bench) -> dict[str, Any]:
    manifest = made.package.manifest
    return {
        "model": manifest.name,
        "version": manifest.version,
        "digest": made.package.digest,
        "series": made.series,
        "engines": made.texts,
        "speeds": [asdict(one) for one in made.speeds],
        "pipelines": [asdict(one) for one in made.pipelines],
        "absent": made.absent,
    }


def _speed_table(made: Bench) -> Table:
    table = Table("engine", "batch", "calls", "median ms", "p95 ms", "items/s", "to the first", box=None)
    first = {one.batch: one for one in reversed(made.speeds)}
    for one in made.speeds:
        if one.fault is not None:
            table.add_row(made.texts[one.engine], str(one.batch), "", one.fault)
            continue
        base = first[one.batch].items_per_second
        ratio = f"{one.items_per_second / base:.2f}x" if base else ""
        numbers = (f"{one.median_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.items_per_second:.1f}", ratio)
        table.add_row(made.texts[one.engine], str(one.batch), str(one.calls), *numbers)
    return table


def _pipeline_table(made: Bench) -> Table:
    table = Table("engine", "whole analyses", "network ms", "whole ms", "efficiency", box=None)
    table.title = f"{made.package.manifest.name} {made.package.manifest.version} over {made.series}"
    for one in made.pipelines:
        numbers = (f"{one.raw_ms:.1f}", f"{one.whole_ms:.1f}", f"{one.efficiency:.3f}")
        table.add_row(made.texts[one.engine], str(one.calls), *numbers)
    return table
