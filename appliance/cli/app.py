"""All commands under one name."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from appliance.cli import analyse, audit, box, care, doctor, model, peers, setup, show, spool

app = typer.Typer(
    name="readside",
    help="Readside: DICOM studies in, model results out as DICOM, beside your PACS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(box.demo)
app.command("init")(setup.init)
app.command("check-config")(setup.check_config)
app.command("password")(setup.password)
app.command("run")(box.run)
app.command("service")(box.service)
app.command("status")(show.status)
app.command("studies")(show.studies)
app.command("why")(show.why)
app.command("peers")(peers.peers)
app.command("retry")(care.retry)
app.command("settle")(care.settle)
app.command("analyse")(analyse.analyse)
app.command("doctor")(doctor.doctor)
app.add_typer(model.app, name="model")
app.add_typer(spool.app, name="spool")
app.add_typer(audit.app, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"readside {version('readside')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    app()
