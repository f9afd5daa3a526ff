"""The state machines as data; `docs/states.md` is drawn from them and verbs assert against them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from appliance.core.words import DeliveryState, JobState, StudyState


class VersionState(StrEnum):
    """Where an installed version of a model stands."""

    FETCHED = "FETCHED"
    BUILDING = "BUILDING"
    VERIFYING = "VERIFYING"
    ACTIVE = "ACTIVE"
    REJECTED = "REJECTED"
    RETIRED = "RETIRED"


class WorkitemState(StrEnum):
    """Where a workitem of a worklist stands here; the origin server has states of its own."""

    # A row, and not claimed.
    WANTED = "WANTED"
    CLAIMED = "CLAIMED"
    # Its inputs are known and asked for.
    WORKING = "WORKING"
    # What is to become of it is settled, and the origin server may not know yet.
    COMPLETING = "COMPLETING"
    CANCELING = "CANCELING"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    # Somebody else's.
    TAKEN = "TAKEN"
    # The origin server has it no longer.
    GONE = "GONE"


STUDY: Mapping[StudyState, frozenset[StudyState]] = {
    StudyState.GATHERING: frozenset({StudyState.READY, StudyState.HELD}),
    StudyState.READY: frozenset({StudyState.DECIDED, StudyState.GATHERING, StudyState.HELD}),
    StudyState.DECIDED: frozenset({StudyState.CLOSED, StudyState.GATHERING}),
    # A late instance reopens the study.
    StudyState.CLOSED: frozenset({StudyState.GATHERING}),
    StudyState.HELD: frozenset({StudyState.GATHERING}),
}

JOB: Mapping[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.LEASED}),
    # Back to WAITING: the lease ran out, or the failure may pass.
    JobState.LEASED: frozenset({JobState.WAITING, JobState.DONE, JobState.FAILED, JobState.HELD}),
    JobState.DONE: frozenset(),
    # A person's retry makes a new run of the job; the old row stays as it ended.
    JobState.FAILED: frozenset(),
    JobState.HELD: frozenset(),
}

DELIVERY: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.SENDING}),
    # SETTLED: the peer does not take the object, and another one goes in its place.
    DeliveryState.SENDING: frozenset(
        {DeliveryState.ACCEPTED, DeliveryState.LATER, DeliveryState.DEAD, DeliveryState.SETTLED}
    ),
    DeliveryState.LATER: frozenset({DeliveryState.SENDING}),
    # Of a peer that has to commit what it took: sent again where it lost it, unless something replaced it.
    DeliveryState.ACCEPTED: frozenset(
        {DeliveryState.COMMITTED, DeliveryState.LATER, DeliveryState.DEAD, DeliveryState.SETTLED}
    ),
    DeliveryState.COMMITTED: frozenset(),
    # A person sends it again, or says that it need not be sent; or the peer has or commits it after all.
    DeliveryState.DEAD: frozenset(
        {DeliveryState.PENDING, DeliveryState.SETTLED, DeliveryState.ACCEPTED, DeliveryState.COMMITTED}
    ),
    DeliveryState.SETTLED: frozenset({DeliveryState.ACCEPTED, DeliveryState.COMMITTED}),
}

VERSION: Mapping[VersionState, frozenset[VersionState]] = {
    # A row begins here, or as REJECTED when the package itself was refused.
    VersionState.FETCHED: frozenset({VersionState.BUILDING, VersionState.RETIRED}),
    # Back to where it was, FETCHED or RETIRED: the command was interrupted, or it served before and failed.
    VersionState.BUILDING: frozenset(
        {VersionState.VERIFYING, VersionState.REJECTED, VersionState.FETCHED, VersionState.RETIRED}
    ),
    VersionState.VERIFYING: frozenset(
        {VersionState.ACTIVE, VersionState.REJECTED, VersionState.FETCHED, VersionState.RETIRED}
    ),
    VersionState.ACTIVE: frozenset({VersionState.RETIRED}),
    # Installed once more: whatever refused it may have changed.
    VersionState.REJECTED: frozenset({VersionState.FETCHED}),
    # Straight to ACTIVE: it served until the version that is sent back took its place, having passed here.
    VersionState.RETIRED: frozenset({VersionState.BUILDING, VersionState.FETCHED, VersionState.ACTIVE}),
}

_ENDS = frozenset({WorkitemState.COMPLETED, WorkitemState.CANCELED, WorkitemState.TAKEN, WorkitemState.GONE})
WORKITEM: Mapping[WorkitemState, frozenset[WorkitemState]] = {
    WorkitemState.WANTED: frozenset({WorkitemState.CLAIMED, WorkitemState.TAKEN, WorkitemState.GONE}),
    # What it asks for may be nothing that this box can do. Others may end it there at any time.
    WorkitemState.CLAIMED: frozenset({WorkitemState.WORKING, WorkitemState.CANCELING}) | _ENDS,
    WorkitemState.WORKING: frozenset({WorkitemState.COMPLETING, WorkitemState.CANCELING}) | _ENDS,
    WorkitemState.COMPLETING: _ENDS,
    WorkitemState.CANCELING: _ENDS,
} | dict.fromkeys(_ENDS, frozenset())


def diagram(
    name: str,
    table: Mapping[StudyState, frozenset[StudyState]]
    | Mapping[JobState, frozenset[JobState]]
    | Mapping[DeliveryState, frozenset[DeliveryState]]
    | Mapping[VersionState, frozenset[VersionState]]
    | Mapping[WorkitemState, frozenset[WorkitemState]],
) -> str:
    """Draw a table as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}" for source, targets in table.items() for target in sorted(targets)]
    return "\n".join([f"## {name}", "", *lines, "```", ""])
