"""The way in: of the command line only what was asked for is loaded.

A service that loaded every command would carry the encoders, the benchmark and the plots with it, in time and
in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Annotated, Final

import typer

# Command -> the module of this room and the function that it is.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("box", "demo"),
    "init": ("setup", "init"),
    "check-config": ("setup", "check_config"),
    "password": ("setup", "password"),
    "token": ("setup", "token"),
    "run": ("box", "run"),
    "service": ("box", "service"),
    "status": ("show", "status"),
    "studies": ("show", "studies"),
    "why": ("show", "why"),
    "fetch": ("fetch", "fetch"),
    "peers": ("peers", "peers"),
    "retry": ("care", "retry"),
    "settle": ("care", "settle"),
    "analyse": ("analyse", "analyse"),
    "doctor": ("doctor", "doctor"),
    "conformance": ("conformance", "conformance"),
}
# Commands with commands of their own -> the module that holds them as `app`.
GROUPS: Final[Mapping[str, str]] = {
    "model": "model",
    "spool": "spool",
    "audit": "audit",
    "registry": "registry",
    "provision": "provision",
}


def main() -> None:
    """Run the command line."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    command_line(wanted if wanted in COMMANDS or wanted in GROUPS else None)()


def command_line(only: str | None = None) -> typer.Typer:
    """Make the command line, of all commands or of one."""
    made = typer.Typer(
        name="readside",
        help="Readside: DICOM studies in, model results out as DICOM, beside your PACS.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for name in [only] if only else [*COMMANDS, *GROUPS]:
        if name in GROUPS:
            made.add_typer(_module(GROUPS[name]).app, name=name)
        else:
            module, function = COMMANDS[name]
            made.command(name)(getattr(_module(module), function))
    return made


def _module(name: str) -> ModuleType:
    return import_module(f"appliance.cli.{name}")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"readside {version('readside')}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""
