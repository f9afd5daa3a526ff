"""The command by which a person has the running box fetch a study."""

from __future__ import annotations

import getpass
import time
from typing import Annotated

import typer

from appliance.cli.terms import (
    BAD_USE,
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    fail,
    opened_ledger,
    out,
    print_json,
)
from appliance.core.config import Config
from appliance.ledger import fetches
from appliance.ledger.engine import Ledger
from appliance.ledger.fetches import Fetch, FetchState
from dicom_node.values import Uid

_LOOK_SECONDS = 0.5
_SAID = {
    "fetch.whole": "all of it is here",
    "fetch.was_here": "all of it was here already",
    "fetch.not_there": "the peer does not have it",
    "fetch.no_answer": "the peer did not say what it has",
    "move.unknown_destination": "the peer does not know this box as a destination",
}


def fetch(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    peer: Annotated[str, typer.Option("--from", help="The peer that has it, by its name in the file.")],
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the end; 0: only ask.")
    ] = 0.0,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Have the running box fetch a study, or what of it is not here, from a peer.

    With --wait, exits with 1 when it failed or did not end in time; the box goes on with it either way.
    """
    with opened_ledger(config) as (read, ledger):
        if (fault := _fault(read, study_uid, peer)) is not None:
            fail(fault, code=BAD_USE)
        with ledger.write() as tx:
            is_new = fetches.ask(tx, study_uid, peer, by=getpass.getuser(), at=ledger.clock.now())
        row = _ended(ledger, study_uid, peer, seconds=wait)
    if as_json:
        print_json(
            {"study_uid": study_uid, "peer": peer, "new": is_new, "state": row.state, "word": row.word}
        )
    else:
        out.print(_sentence(row, is_new=is_new), markup=False)
    if wait and row.state is not FetchState.FETCHED:
        raise typer.Exit(1)


def _fault(config: Config, study_uid: str, name: str) -> str | None:
    """Return why such a request cannot be."""
    try:
        Uid.parse(study_uid)
    except ValueError:
        return "the Study Instance UID is malformed"
    peer = next((one for one in config.peers if one.name == name), None)
    if peer is None:
        return f"no peer is called {name!r}"
    if not peer.fetchable:
        return f'peer {name!r} needs host, port and "store" and "query" in its `may` to be fetched from'
    return None


def _ended(ledger: Ledger, study_uid: str, peer: str, *, seconds: float) -> Fetch:
    """Return the newest request for the study, once it ended or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        with ledger.read() as tx:
            row = [one for one in fetches.of_study(tx, study_uid) if one.peer == peer][-1]
        if row.ended_at is not None or time.monotonic() >= deadline:
            return row
        time.sleep(_LOOK_SECONDS)


def _sentence(row: Fetch, *, is_new: bool) -> str:
    said = _SAID.get(row.word or "", row.word)
    match row.state:
        case FetchState.FETCHED:
            return f"The study is here: {said}."
        case FetchState.FAILED:
            return f"The study could not be fetched: {said}."
    asked = "The box is asked" if is_new else "The box was asked already"
    return f"{asked} to fetch the study from {row.peer}. `readside studies` shows how it goes."
