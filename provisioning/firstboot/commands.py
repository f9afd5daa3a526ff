"""`readside provision first-boot`: from a bare machine to a configuration, by page, terminal or file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import BAD_USE, DEFAULT_CONFIG, FAILED, ConfigOption, err, fail, out
from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace
from provisioning.firstboot import file, terminal
from provisioning.firstboot.answers import StateFault
from provisioning.firstboot.finish import Finished, FinishFault, finish
from provisioning.firstboot.sitting import Sitting
from provisioning.firstboot.values import AnswerFault
from provisioning.identity.code import CodeFault

STATE_NAME = "first-boot.json"


def first_boot(
    answers: Annotated[
        Path | None, typer.Option("--file", help="Take the answers of this TOML file, and ask nothing.")
    ] = None,
    at: Annotated[
        str, typer.Option("--web", help="Ask on a page at HOST:PORT, opened by the claim code of the label.")
    ] = "",
    code_file: Annotated[
        Path | None, typer.Option(help="The file with the claim code of the label; made if not given.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where answers are kept; first-boot.json beside the configuration.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    over: Annotated[bool, typer.Option("--over", help="Write over another configuration.")] = False,
) -> None:
    """Ask what a box must know, write its configuration and enrol it; goes on where it was left."""
    log.silence()
    if answers is not None and at:
        fail("give --file or --web, and not both", code=BAD_USE)
    with _saying():
        sitting = Sitting(state=state or config.parent / STATE_NAME, config=config)
        if at:
            # A web server costs every other command its time to load.
            from provisioning.firstboot import web

            web.answer_on(sitting, at, code_file=code_file, over=over, out=out)
            return
        if answers is not None:
            if secrets := file.answer_from(sitting, answers):
                out.print(f"{answers} holds secrets ({', '.join(secrets)}): delete it.", markup=False)
            _show(finish(sitting, over=over))
        elif terminal.answer_at(sitting, out):
            _show(finish(sitting, over=over))
        else:
            out.print("Nothing was written. The answers are kept: run it again to go on.")


def _show(done: Finished) -> None:
    """Say what was done and what is next; a failed enrolment ends with exit code 1."""
    out.print(f"{done.config} is written.", markup=False)
    if done.address:
        out.print(f"The PACS sends to {done.address}.", markup=False)
    for warning in done.warnings:
        out.print(warning, markup=False)
    if done.enrolled:
        out.print(f"Enrolled: {done.enrolled}.", markup=False)
    if done.enrol_fault:
        err.print(f"Not enrolled: {done.enrol_fault}", markup=False)
    out.print("Next:")
    for command in done.commands:
        out.print(f"  {command}", markup=False)
    if done.enrol_fault:
        raise typer.Exit(FAILED)


@contextmanager
def _saying() -> Iterator[None]:
    """Say what went wrong in sentences."""
    try:
        yield
    except AnswerFault as fault:
        for sentence in fault.faults:
            err.print(sentence, markup=False)
        raise typer.Exit(BAD_USE) from fault
    except (StateFault, FinishFault, CodeFault) as fault:
        fail(str(fault))
    except (DiskFault, NoSpace, OSError) as fault:
        fail(f"the answers cannot be kept ({type(fault).__name__}): {fault}")


def add_to(app: typer.Typer) -> None:
    """Add this command to the group that the command line has for provisioning."""
    app.command("first-boot")(first_boot)
