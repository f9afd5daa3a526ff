"""Commands that run something: run, service, demo."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, read_config
from appliance.core import log
from appliance.core.config import Config, ConfigError
from appliance.ledger.engine import LedgerRefused
from appliance.services.stage import FAULT_EXIT


class ServiceName(StrEnum):
    """The services of the box."""

    LISTENER = "listener"
    CONDUCTOR = "conductor"
    WORKER = "worker"
    COURIER = "courier"
    CONSOLE = "console"
    AUDIT = "audit"
    SYNC = "sync"
    HEALTH = "health"
    TELEMETRY = "telemetry"


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the whole box in the foreground. SIGTERM lets it finish what it holds."""
    from appliance.routes.table import compile_routes
    from appliance.services.run import run_box

    read = read_config(config)
    try:
        compile_routes(read)
        code = run_box(read, config.absolute())
    except ConfigError as error:
        fail("the configuration cannot be used:\n" + "\n".join(error.faults), code=2)
    except LedgerRefused as error:
        fail(str(error))
    raise typer.Exit(code)


def service(name: ServiceName, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run one service of the box, as the systemd units do."""
    read = read_config(config)
    try:
        code = _run_service(name, read)
    except LedgerRefused as error:
        fail(str(error))
    except ConfigError as error:
        fail("\n".join(error.faults), code=2)
    raise typer.Exit(code)


def _run_service(name: ServiceName, config: Config) -> int:
    """Import only the one service: the listener needs no engine, the worker no web server."""
    log.configure(name.value)
    run_it: Callable[[Config], int] = importlib.import_module(f"appliance.services.{name.value}").run
    try:
        return run_it(config)
    except (LedgerRefused, ConfigError):
        raise
    # A traceback may quote what was being handled; the log gets the kind and the places, never the message.
    except Exception as error:  # noqa: BLE001 - the service's last line of defence
        # What the system says (address in use, no space, no permission) is its own fixed text.
        said = error.strerror if isinstance(error, OSError) else None
        log.get("services").critical(
            "service.fault", error=type(error).__name__, reason=said, where=log.where(error)
        )
        return FAULT_EXIT


def demo(
    as_json: JsonOption = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything the demonstration made in this folder.")
    ] = None,
    stay: Annotated[
        float | None,
        typer.Option(help="Seconds to keep the console up afterwards. On a terminal: until Ctrl-C."),
    ] = None,
) -> None:
    """Show the whole way of a study on this machine: a box, a small stand-in PACS, results that come back."""
    from appliance.demo.play import play

    raise typer.Exit(play(as_json=as_json, keep=keep, stay_seconds=stay))
