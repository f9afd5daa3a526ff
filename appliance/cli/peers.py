"""The command that shows what each peer takes, and asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, opened_ledger, out, print_json
from appliance.console.taking import Taking, of_all
from appliance.core import log
from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.ledger.engine import Ledger
from appliance.outbox.asking import is_askable
from appliance.services.asker import asking

_SAID = {
    "accepts.answered": "answered",
    "accepts.busy": "is being asked by the box at this moment",
    "accepts.unreachable": "cannot be reached",
    "accepts.rejected": "rejects the association",
    "accepts.aborted": "aborted, or was silent for too long",
    "accepts.protocol_error": "does not keep to the protocol",
}


def peers(
    ask: Annotated[bool, typer.Option("--ask", help="Ask every peer that has an address now.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show which kinds of object each peer takes, what stands in for the others, and when it was asked.

    With --ask, exits with 1 when a peer did not answer.
    """
    log.silence()
    with opened_ledger(config) as (read, ledger):
        said = _ask_all(read, ledger) if ask else {}
        with ledger.read() as tx:
            found = of_all(tx, read)
    if as_json:
        print_json({"peers": [_as_dict(one, said) for one in found]})
    else:
        _print(found, said)
    if any(word != "accepts.answered" for word in said.values()):
        raise typer.Exit(1)


def _ask_all(config: Config, ledger: Ledger) -> dict[str, str]:
    """Ask one peer after the other; return the word of each."""
    asks = asking(config, ledger)
    return {peer.name: asks.ask(peer).word for peer in config.peers if is_askable(peer)}


def _as_dict(one: Taking, said: dict[str, str]) -> dict[str, Any]:
    when = None if one.asked_at is None else as_text(one.asked_at)
    return asdict(one) | {"asked_at": when, "said": said.get(one.name)}


def _print(found: Sequence[Taking], said: dict[str, str]) -> None:
    table = Table("peer", "gets", "takes", "does not take", "not known", "asked", box=None)
    for one in found:
        if not one.reachable:
            table.add_row(one.name, "nothing: it has no address here, it only sends", *4 * ("",))
            continue
        refuses = [f"{want} (instead: {goes or 'nothing'})" for want, goes in one.refuses.items()]
        when = "never answered" if one.asked_at is None else as_text(one.asked_at)
        cells = (one.outputs, one.takes, refuses, one.unknown)
        table.add_row(one.name, *(", ".join(cell) or "-" for cell in cells), when)
    out.print(table)
    for name, word in said.items():
        out.print(f"{name} {_SAID.get(word, word)}", markup=False)
