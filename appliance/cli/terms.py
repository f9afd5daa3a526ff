"""What the commands share: the options they repeat, how they report, how they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from appliance.core.config import DEFAULT_PATH, Config, ConfigError, load
from appliance.disk.durable import DiskFault, NoSpace
from appliance.ledger.engine import Ledger, LedgerRefused, open_ledger

ConfigOption = Annotated[Path, typer.Option("--config", help="The site's configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Forget what was held against packages, and try them once more.")
]
AnyTimeOption = Annotated[
    bool, typer.Option("--now", help="Do not wait for a window; consent and holds count all the same.")
]
DEFAULT_CONFIG = DEFAULT_PATH

_PIPE_COLUMNS = 400  # what another program reads is not cut to the width of a screen
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)

FAILED, BAD_USE = 1, 2


def fail(message: str, *, code: int = FAILED) -> NoReturn:
    """Say what is wrong and end."""
    err.print(f"readside: {message}", markup=False)
    raise typer.Exit(code)


@contextmanager
def saying(*faults: type[Exception]) -> Iterator[None]:
    """Say one of these faults, or of the disk, in one sentence and end."""
    try:
        yield
    except faults as fault:
        fail(str(fault))
    except (DiskFault, NoSpace) as error:
        fail(f"the disk failed or is full ({error})")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of standard output."""
    typer.echo(json.dumps(value, default=str))


def read_config(path: Path) -> Config:
    """Read the configuration, or end with every fault of it and exit code 2."""
    try:
        return load(path)
    except ConfigError as error:
        for fault in error.faults:
            err.print(f"{path.name}: {fault}", markup=False)
        raise typer.Exit(BAD_USE) from error


@contextmanager
def opened_ledger(path: Path) -> Iterator[tuple[Config, Ledger]]:
    """Open the ledger of the box that a configuration describes."""
    config = read_config(path)
    if not config.ledger.url and not config.storage.root.is_dir():
        fail(f"{config.storage.root} is not there: start the box with `readside run --config {path}` first")
    try:
        ledger = open_ledger(config.ledger_url)
    except LedgerRefused as error:
        fail(str(error))
    try:
        yield config, ledger
    finally:
        ledger.close()
