"""Commands by which a person acts: retry, settle. They end in the same acts as the console's buttons."""

from __future__ import annotations

import contextlib
import getpass
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
from appliance.console import acts
from appliance.core.words import DeliveryState, JobState
from appliance.ledger import deliveries, jobs
from appliance.ledger.engine import Ledger

_MANY = 10_000


def retry(
    study_uid: Annotated[str | None, typer.Argument(help="Study Instance UID.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every failed and held job of the box.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run failed and held jobs again, or judge a held study anew. The new result supersedes the old one."""
    if (study_uid is None) != every:
        fail("name a study, or say --all", code=BAD_USE)
    with opened_ledger(config) as (_, ledger):
        try:
            again = _retry_all(ledger) if study_uid is None else _retry(ledger, study_uid)
        except acts.Refused as refused:
            fail(str(refused))
    if as_json:
        print_json({"jobs": again})
    else:
        out.print(f"{len(again)} jobs will run again." if again else "The study is judged anew.")


def _retry(ledger: Ledger, study_uid: str) -> list[int]:
    return acts.retry_study(ledger, study_uid, by=getpass.getuser(), clock=ledger.clock)


def _retry_all(ledger: Ledger) -> list[int]:
    with ledger.read() as tx:
        ended = [j for s in (JobState.FAILED, JobState.HELD) for j in jobs.in_state(tx, s, limit=_MANY)]
    again: list[int] = []
    for job in ended:
        # One that was repeated already, or whose images are gone, is no reason to leave out the rest.
        with contextlib.suppress(acts.Refused):
            again.append(acts.run_again(ledger, job.id, by=getpass.getuser(), clock=ledger.clock))
    if not again:
        raise acts.Refused("No job of this box failed or is held.")
    return again


def settle(
    delivery_ids: Annotated[list[int] | None, typer.Argument(help="Numbers of dead deliveries.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead delivery of the box.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send them once more instead.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End deliveries that a destination refused for good, or send them once more."""
    if bool(delivery_ids) == every:
        fail("name deliveries, or say --all", code=BAD_USE)
    with opened_ledger(config) as (_, ledger):
        ids = delivery_ids or _dead(ledger)
        try:
            done = acts.settle(ledger, ids, by=getpass.getuser(), send_again=again, clock=ledger.clock)
        except acts.Refused as refused:
            fail(str(refused))
    if as_json:
        print_json({"settled": done, "again": again})
    else:
        out.print(f"{done} deliveries {'will be sent once more' if again else 'are settled'}.")


def _dead(ledger: Ledger) -> list[int]:
    with ledger.read() as tx:
        return [d.id for d in deliveries.in_state(tx, DeliveryState.DEAD, limit=_MANY)]
