"""Commands about versions that run beside others: `readside model shadow [show|start|stop]`."""

from __future__ import annotations

import typer
from rich.table import Table

from appliance.cli.model_versions import NameArgument, VersionArgument, progress_of, the_box
from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, opened_ledger, out, print_json
from appliance.console import agreement
from appliance.core import log
from appliance.sync import shadow as changes

app = typer.Typer(help="Versions that run beside those that serve, and how far they agree.")


@app.callback(invoke_without_command=True)
def show(context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show which versions run beside others, and how far each two agree."""
    if context.invoked_subcommand is not None:
        return
    log.silence()
    with opened_ledger(config) as (_, ledger), ledger.read() as tx:
        report = agreement.report(tx)
    if as_json:
        print_json(report.as_json())
        return
    _say(report)


@app.command("start")
def start(
    name: NameArgument,
    version: VersionArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Prove an installed version on this box, and let it run beside the one that serves; nothing is sent."""
    with the_box(config, as_json=as_json) as box, progress_of(f"Proving {name} {version}") as progress:
        begun = changes.start(box, name, version, progress=progress)
    if as_json:
        print_json({"ok": True, "name": begun.name, "version": begun.version, "digest": begun.digest})
        return
    out.print(f"{name} {version} runs beside the version that serves; nothing of it is sent.", markup=False)


@app.command("stop")
def stop(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """End the shadow of a model; what it compared stays."""
    with the_box(config, as_json=as_json) as box:
        ended = changes.stop(box, name)
    if as_json:
        print_json({"ok": True, "name": ended.name, "version": ended.version})
        return
    out.print(f"{name} {ended.version} runs as a shadow no more.", markup=False)


def _say(report: agreement.Report) -> None:
    if not report.shadows:
        out.print("No version ran beside another on this box.")
    for line in report.shadows:
        name = f"{line.shadow.name} {line.shadow.version}"
        counted = ", ".join(f"{count} {state.lower()}" for state, count in sorted(line.counts.items()))
        stands = "runs" if line.runs else f"ended: {line.ended}"
        out.print(f"{name} {stands}; {counted or 'nothing to compare yet'}", markup=False)
    for one in report.agreements:
        between = one.between
        title = f"{between.name} {between.new_version} beside {between.old_version}"
        table = Table("what", "value", box=None, title=title, title_justify="left")
        for what, value in agreement.lines(one):
            table.add_row(what, value)
        out.print(table)
