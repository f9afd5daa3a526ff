"""Commands by which a person acts: retry, settle."""

from __future__ import annotations

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
from appliance.core.words import DeliveryState, JobState
from appliance.ledger import deliveries, jobs, studies
from appliance.ledger.engine import Tx

_MANY = 10_000
_FAILED = (JobState.FAILED, JobState.HELD)


def retry(
    study_uid: Annotated[str | None, typer.Argument(help="Only the jobs of this study.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every failed and held job of the box.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Run failed and held jobs again, and judge a held study anew. The new result supersedes the old one."""
    if (study_uid is None) != every:
        fail("name a study, or say --all", code=BAD_USE)
    with opened_ledger(config) as (_, ledger), ledger.write() as tx:
        now = ledger.clock.now()
        released = study_uid is not None and studies.release(tx, study_uid, at=now)
        again = [jobs.again(tx, job, at=now) for job in _failed(tx, study_uid)]
    if as_json:
        print_json({"jobs": again, "study_released": released})
    else:
        out.print(f"{len(again)} jobs will run again{'; the study is judged anew' if released else ''}.")
    if not again and not released:
        raise typer.Exit(1)


def _failed(tx: Tx, study_uid: str | None) -> list[jobs.Job]:
    """Return the ended jobs without a later run, so that asking twice makes one run."""
    if study_uid is not None:
        found = [job for job in jobs.of_study(tx, study_uid) if job.state in _FAILED]
    else:
        found = [job for state in _FAILED for job in jobs.in_state(tx, state, limit=_MANY)]
    return [job for job in found if not jobs.has_later_run(tx, job)]


def settle(
    delivery_ids: Annotated[list[int] | None, typer.Argument(help="Numbers of dead deliveries.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead delivery of the box.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send them once more instead of ending them.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End deliveries that a destination refused for good, or send them once more."""
    if bool(delivery_ids) == every:
        fail("name deliveries, or say --all", code=BAD_USE)
    with opened_ledger(config) as (_, ledger), ledger.write() as tx:
        ids = delivery_ids or [d.id for d in deliveries.in_state(tx, DeliveryState.DEAD, limit=_MANY)]
        done = deliveries.settle(tx, ids, by=getpass.getuser(), send_again=again, at=ledger.clock.now())
    if as_json:
        print_json({"settled": done, "again": again})
    else:
        out.print(f"{done} deliveries {'will be sent once more' if again else 'are settled'}.")
    if not done:
        raise typer.Exit(1)
