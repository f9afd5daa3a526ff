"""What needs a person: nothing on this list goes away by itself, and nothing else is on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from appliance.console.heading import Heading, heading
from appliance.console.limits import Limits
from appliance.console.snapshot import Snapshot
from appliance.core.alarming import AlarmKind, sentence
from appliance.core.words import DeliveryState, StudyState
from appliance.ledger import deliveries, reading, studies
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.jobs import Job

# What each broken promise means, by the name the ledger counts it under.
FAULTS: Mapping[str, str] = {
    "instances_nowhere": "images are in no known place (P2)",
    "instances_without_study": "images belong to no study (P2)",
    "instances_gone": "rows of images are gone (P2)",
    "routes_without_decision": "decisions are missing or doubled (P3)",
    "matches_without_job": "matches have no job (P3)",
    "ended_without_result": "ended jobs have no result (P8)",
    "results_of_unended": "results belong to jobs that have not ended (P4)",
    "uncommitted_astray": "what is to be committed was not accepted (P6)",
    "comparisons_astray": "comparisons of two versions were not counted once",
}

# The page has silent services and what waits at a peer with more detail.
_SHOWN_ELSEWHERE = (AlarmKind.SERVICE_SILENT, AlarmKind.NOT_DELIVERED)


@dataclass(frozen=True, kw_only=True)
class DeadGroup:
    """Deliveries of one study that one peer refused for good."""

    study_uid: str
    peer: str
    status: int | None
    word: str
    ids: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The whole page; `headings` names the studies that it speaks of."""

    held: Sequence[studies.Study]
    failing: Sequence[Job]
    dead: Sequence[DeadGroup]
    waiting: Sequence[reading.Waiting]
    snapshot: Snapshot
    headings: Mapping[str, Heading]
    zone: tzinfo = UTC

    @property
    def alarms(self) -> list[tuple[float, str]]:
        """Return what the box says is wrong with itself, each since when; not what the page shows anyway."""
        return [
            (one.raised_at, sentence(one.kind, one.subject, one.numbers, zone=self.zone))
            for one in self.snapshot.alarms
            if one.kind not in _SHOWN_ELSEWHERE
        ]

    @property
    def faults(self) -> list[tuple[int, str]]:
        """Return the broken promises, each with its number."""
        found = self.snapshot.counts.faults.items()
        return [(count, FAULTS.get(name, name.replace("_", " "))) for name, count in found if count]

    @property
    def count(self) -> int:
        """Return how many things need a person."""
        box = bool(self.snapshot.silent) + (self.snapshot.disk.state != "ok") + bool(self.faults)
        rows = len(self.held) + len(self.failing) + len(self.dead) + len(self.waiting)
        return rows + box + len(self.alarms)


def collect(ledger: Ledger, snapshot: Snapshot, limits: Limits, *, zone: tzinfo = UTC) -> Attention:
    """Read what needs a person."""
    with ledger.read() as tx:
        held = studies.in_state(tx, StudyState.HELD)[: limits.rows_in_attention_max]
        failing = reading.failing_jobs(tx, limit=limits.rows_in_attention_max)
        dead = _dead(tx, limits)
        uids = {study.study_uid for study in held} | {job.study_uid for job in failing}
        uids |= {group.study_uid for group in dead}
        return Attention(
            held=held,
            failing=failing,
            dead=dead,
            waiting=reading.waiting_deliveries(tx, before=snapshot.at - limits.delivery_waits_seconds),
            snapshot=snapshot,
            headings={uid: heading(line) for uid, line in reading.named(tx, sorted(uids)).items()},
            zone=zone,
        )


def count(ledger: Ledger, snapshot: Snapshot, limits: Limits) -> int:
    """Count what needs a person, for the number beside the page's name."""
    return collect(ledger, snapshot, limits).count


def _dead(tx: Tx, limits: Limits) -> list[DeadGroup]:
    groups: dict[tuple[str, str], list[deliveries.Delivery]] = {}
    for delivery in deliveries.in_state(tx, DeliveryState.DEAD, limit=limits.settle_at_once_max):
        groups.setdefault((delivery.study_uid, delivery.peer), []).append(delivery)
    return [
        DeadGroup(
            study_uid=study_uid,
            peer=peer,
            status=group[0].status,
            word=group[0].word or "",
            ids=[delivery.id for delivery in group],
        )
        for (study_uid, peer), group in list(groups.items())[: limits.rows_in_attention_max]
    ]
