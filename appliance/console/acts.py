"""What a person may do: run again, release, settle, say that no more is needed. Each is a row with a name.

The console's buttons, the API and `readside retry` / `readside settle` all end here.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.clock import Clock
from appliance.core.words import DeliveryState, InstanceState, JobState
from appliance.ledger import controls, deliveries, events, jobs, reading, studies
from appliance.ledger.engine import Ledger, Tx

_ENDED = (JobState.FAILED, JobState.HELD, JobState.DONE)
_FAILED = (JobState.FAILED, JobState.HELD)


class Refused(Exception):
    """An act makes no sense now; the text says why in a sentence."""


def run_again(ledger: Ledger, job_id: int, *, by: str, clock: Clock) -> int:
    """Ask for a job's work once more and return the new job, durable on return; its result will stand.

    Raises:
        Refused: the job is unknown, has not ended, was repeated already, or its images are gone.
    """
    with ledger.write() as tx:
        job = jobs.find(tx, job_id)
        if job is None:
            raise Refused("There is no such job.")
        return _again(tx, job, by, clock.now())


def _again(tx: Tx, job: jobs.Job, by: str, at: float) -> int:
    same = (job.route, job.input_digest, job.model_digest)
    runs = [j for j in jobs.of_study(tx, job.study_uid) if (j.route, j.input_digest, j.model_digest) == same]
    if runs[-1].state not in _ENDED:
        raise Refused(f"Job {runs[-1].id} already does this work.")
    if runs[-1].id != job.id:
        raise Refused(f"Job {job.id} was repeated already, as job {runs[-1].id}.")
    line = reading.line(tx, job.study_uid)
    if line is None or not line.instances.get(InstanceState.STUDY):
        raise Refused("The study's images are no longer on the box; send them again.")
    new_id = jobs.again(tx, job, at=at)
    events.add(tx, "console.retry", at=at, study_uid=job.study_uid, by=by, job=new_id)
    return new_id


def retry_study(ledger: Ledger, study_uid: str, *, by: str, clock: Clock) -> list[int]:
    """Run again whatever of a study failed or is held, or release it if it is held itself. Durable on return.

    Returns the new jobs; none if the study itself was released.

    Raises:
        Refused: the study is unknown, or nothing of it failed or is held.
    """
    with ledger.write() as tx:
        line = reading.line(tx, study_uid)
        if line is None:
            raise Refused("There is no such study.")
        if _release(tx, study_uid, by, clock.now()):
            return []
        failed = [jobs.find(tx, route.job_id) for route in line.routes if route.state in _FAILED]
        if not failed:
            raise Refused("Nothing of this study failed or is held.")
        return [_again(tx, job, by, clock.now()) for job in failed if job is not None]


def release(ledger: Ledger, study_uid: str, *, by: str, clock: Clock) -> None:
    """Let a held study be judged anew. Durable on return.

    Raises:
        Refused: the study is not held.
    """
    with ledger.write() as tx:
        if not _release(tx, study_uid, by, clock.now()):
            raise Refused("This study is not held.")


def _release(tx: Tx, study_uid: str, by: str, at: float) -> bool:
    released = studies.release(tx, study_uid, at=at)
    if released:
        events.add(tx, "console.release", at=at, study_uid=study_uid, by=by)
    return released


def settle(ledger: Ledger, delivery_ids: Sequence[int], *, by: str, send_again: bool, clock: Clock) -> int:
    """End dead deliveries, or send them once more; return how many were dead. Durable on return.

    Raises:
        Refused: none of them is dead any more.
    """
    with ledger.write() as tx:
        done = deliveries.settle(tx, delivery_ids, by=by, send_again=send_again, at=clock.now())
    if not done:
        raise Refused("None of these deliveries waits for a person any more.")
    return done


def dead_of(ledger: Ledger, study_uid: str) -> list[int]:
    """Return the deliveries of a study that wait for a person."""
    with ledger.read() as tx:
        return [d.id for d in deliveries.of_study(tx, study_uid) if d.state is DeliveryState.DEAD]


def consent(ledger: Ledger, model: str, version: str, *, by: str, clock: Clock) -> None:
    """Agree that a release which a registry assigned may begin to serve. Durable on return.

    Raises:
        Refused: no such release is assigned to this box any more.
    """
    try:
        with ledger.write() as tx:
            controls.consent(tx, model, version, by=by, at=clock.now())
    except controls.NothingWaits as error:
        raise Refused(str(error)) from None


def seen(ledger: Ledger, study_uid: str, *, by: str, clock: Clock) -> None:
    """Record that a person looked at what failed and needs nothing more. Durable on return."""
    with ledger.write() as tx:
        events.add(tx, reading.SEEN, at=clock.now(), study_uid=study_uid, by=by)
