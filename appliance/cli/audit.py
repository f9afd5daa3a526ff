"""Commands on the audit trail: verify it, write it out."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from appliance.audit import checkpoint
from appliance.audit.checkpoint import Checkpoint, KeyFault
from appliance.audit.limits import DEFAULT
from appliance.audit.verify import Report, verify
from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, read_config
from appliance.core.config import Config
from appliance.ledger import audit as rows
from appliance.ledger import events
from appliance.ledger.engine import Ledger, LedgerRefused, open_ledger

app = typer.Typer(help="The audit trail: who did what with which study.", no_args_is_help=True)


@app.command("verify")
def verify_trail(
    config: ConfigOption = DEFAULT_CONFIG,
    key: Annotated[
        Path | None, typer.Option(help="Public key that was kept elsewhere; default: the box's own.")
    ] = None,
    held: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="Checkpoint that was kept elsewhere; may be given often."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the whole trail against its hashes and signed checkpoints; name the first bad row."""
    read = read_config(config)
    ledger = _ledger(read)
    try:
        folder = checkpoint.folder_of(read.storage.root)
        public = checkpoint.read_public_key(key or checkpoint.public_key_path(folder))
        report = verify(ledger, public, folder=folder, held=[_held(path) for path in held or ()])
    except KeyFault as error:
        fail(str(error))
    _note(ledger, report)
    typer.echo(json.dumps(asdict(report)) if as_json else _sentence(report))
    raise typer.Exit(0 if report.ok else 1)


@app.command("export")
def export(config: ConfigOption = DEFAULT_CONFIG, after: Annotated[int, typer.Option(min=0)] = 0) -> None:
    """Write the trail as JSON lines, oldest row first: seq, event_id, at, body (PS3.15 A.5 XML), hash."""
    ledger = _ledger(read_config(config))
    with ledger.read() as tx:
        while part := rows.rows_after(tx, after, limit=DEFAULT.verify_rows):
            for row in part:
                typer.echo(json.dumps(dict(row._mapping)))
            after = part[-1].seq


def _ledger(config: Config) -> Ledger:
    try:
        return open_ledger(config.ledger_url)
    except LedgerRefused as error:
        fail(str(error))


def _held(path: Path) -> Checkpoint:
    try:
        return checkpoint.parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}", code=2)
    except ValueError as error:
        fail(f"{path}: {error}", code=2)


def _note(ledger: Ledger, report: Report) -> None:
    """Looking at the trail is told in the trail (PS3.15 A.5.3.2)."""
    with ledger.write() as tx:
        at = ledger.clock.now()
        events.add(tx, "audit.verified", at=at, by=getpass.getuser(), ok=report.ok, row=report.row)


def _sentence(report: Report) -> str:
    if not report.ok:
        return f"The audit trail is BROKEN: {report.fault}. {report.rows} rows before it hold."
    return (
        f"The audit trail holds: {report.rows} rows, {report.checkpoints} signed checkpoints, "
        f"{report.unsigned} rows behind the newest."
    )
