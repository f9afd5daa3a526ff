"""Carry roll-outs out: look, judge, write down, sign what is due. One of the server's processes does it.

Promises: each decision is a row with its evidence before anything is signed; what was decided and not signed,
because a process died between the two, is signed at the next look; a newer roll-out of a model waits until
the older ones have taken back what they must; a fault in one roll-out does not hold up the others. Two that
do it at once by mistake do nothing that one would not.
Never: signs with another key than the server's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace
from appliance.sync.release import Release
from provisioning.registry.book import Book
from provisioning.registry.database import alerts, audit, rollouts
from provisioning.registry.database.audit import CONTROLLER
from provisioning.registry.database.engine import Database
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.database.words import Alarm
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import promote, withdraw
from provisioning.registry.publish import releases
from provisioning.registry.rollout.decide import assigned, found, happened, subject_of
from provisioning.registry.rollout.events import Judged, Recalled, Seen
from provisioning.registry.rollout.facts import Sight, Work
from provisioning.registry.rollout.gate import Check, Judgement, Verdict, judge
from provisioning.registry.rollout.reader import Reader
from provisioning.registry.rollout.state import Slot, Stage, Want, due

_log: structlog.typing.FilteringBoundLogger = log.get("registry")


@dataclass(frozen=True, kw_only=True)
class Controller:
    """What carries out the roll-outs of one registry; between two judgements of a ring is `judge_seconds`."""

    database: Database
    book: Book
    judge_seconds: float

    def turn(self) -> None:
        """Take one look at every roll-out that is open, the oldest first."""
        with self.database.read() as tx:
            open_ones = rollouts.every(tx, only_open=True)
        waits: set[str] = set()
        for one in reversed(open_ones):
            if one.plan.model not in waits and not self._carried_out(one.id):
                waits.add(one.plan.model)
        self._alert()

    def _alert(self) -> None:
        """Open an alert where a gate failed or asks a person, and close it when that is over."""
        with self.database.read() as tx:
            open_ones = rollouts.every(tx, only_open=True)
        failed = {
            one.id: one for one in open_ones if one.state.verdict is Verdict.FAIL and not one.state.superseded
        }
        held = {one.id: one for one in open_ones if one.state.asked and one.state.stage is Stage.RUNNING}
        now = self.database.clock.now()
        with self.database.write() as tx:
            for kind, found_ones in ((Alarm.ROLLOUT_FAILED, failed), (Alarm.ROLLOUT_HELD, held)):
                wrong = {subject_of(number): {"ring": one.state.ring} for number, one in found_ones.items()}
                alerts.settle(tx, kind.value, wrong, at=now)

    def _carried_out(self, number: int) -> bool:
        """Look at one roll-out and do what is due; false when something of it could not be signed."""
        try:
            held = self._looked(number)
            if held.state.stage is Stage.RUNNING:
                self._judged(held)
            self._signed(number)
        except (RegistryFault, DiskFault, NoSpace) as fault:
            _log.error("rollout.not_signed", rollout=number, reason=str(fault))
            return False
        return True

    def _looked(self, number: int) -> Rollout:
        """Write down what changed since the last look."""
        now = self.database.clock.now()
        # Read first: a transaction that writes keeps every device's batch waiting.
        with self.database.read() as tx:
            held = found(tx, number)
            listed = self._releases(held.plan.model)
            reader = Reader(tx=tx, plan=held.plan, now=now, digests=_digests(listed))
            seen = reader.sights(assigned(self.book, held.plan.model))
        with self.database.write() as tx:
            held = found(tx, number, to_change=True)
            if recalled := _listed(listed, held.plan.version).recalled:
                happened(tx, held, Recalled(at=now, why=recalled), who=CONTROLLER)
                held = found(tx, number)
            changed = {name: one for name, one in seen.items() if _differs(held.state.slots[name], one)}
            happened(tx, held, Seen(at=now, sights=changed), who=CONTROLLER)
            return found(tx, number)

    def _judged(self, held: Rollout) -> None:
        """Ask the gate, when it is time, and write down what follows with its evidence."""
        now, state = self.database.clock.now(), held.state
        last = held.judged_at if held.judged_at is not None and state.verdict is not None else 0.0
        if now - last < self.judge_seconds:
            return
        digests = _digests(self._releases(held.plan.model))
        with self.database.read() as tx:
            judgement = _judgement(Reader(tx=tx, plan=held.plan, now=now, digests=digests), held)
        event = Judged(at=now, ring=state.ring, judgement=judgement)
        with self.database.write() as tx:
            held = found(tx, held.id, to_change=True)
            rollouts.judged(tx, held.id, judgement, at=now)
            after = happened(tx, held, event, who=CONTROLLER)
        if (after.stage, after.ring) != (state.stage, state.ring):
            _log.info("rollout.went_on", rollout=held.id, stage=after.stage.value, ring=after.ring)

    def _signed(self, number: int) -> None:
        """Sign what is due in the state as it is now: a person may have stopped it a moment ago."""
        with self.database.read() as tx:
            held = found(tx, number)
        model, actions = held.plan.model, due(held.state)
        for version, slots in actions.back.items():
            self._back(model, version, slots)
            self._note(held, f"{version or 'nothing'} to {', '.join(slots)}", "rollout.back")
        if actions.assign:
            promote(self.book, model, held.plan.version, actions.assign)
            self._note(held, f"{held.plan.version} to {', '.join(actions.assign)}", "rollout.assign")
        if actions:
            self._looked(number)

    def _back(self, model: str, version: str | None, slots: Sequence[str]) -> None:
        if version is not None and not _listed(self._releases(model), version).recalled:
            promote(self.book, model, version, slots)
        else:
            # There is nothing to go back to; what must not run is at least not assigned any more.
            withdraw(self.book, model, slots)

    def _note(self, held: Rollout, after: str, act: str) -> None:
        with self.database.write() as tx:
            audit.note(
                tx,
                at=self.database.clock.now(),
                who=CONTROLLER,
                act=act,
                subject=subject_of(held.id),
                after=f"{held.plan.model} {after}",
                why=held.state.why,
            )

    def _releases(self, model: str) -> dict[str, Release]:
        return {one.version: one for one in releases(self.book) if one.name == model}


def _judgement(reader: Reader, held: Rollout) -> Judgement:
    """Judge the ring that is under way; what failed in it and those before it together fails it as well."""
    plan, state = held.plan, held.state

    def judged(names: Sequence[str]) -> Judgement:
        return judge(
            plan.gates,
            reader.facts(held, names),
            soaking_since=state.soaking_since,
            now=reader.now,
        )

    ring = judged(plan.rings[state.ring])
    if state.ring == 0 or ring.verdict is Verdict.FAIL:
        return ring
    so_far = judged([name for ring in plan.rings[: state.ring + 1] for name in ring])
    failed = tuple(_so_far(check) for check in so_far.of(Verdict.FAIL))
    verdict = Verdict.FAIL if failed else ring.verdict
    return Judgement(verdict=verdict, checks=(*ring.checks, *failed))


def _so_far(check: Check) -> Check:
    return replace(check, name=f"{check.name}.all_rings")


def _differs(slot: Slot, sight: Sight) -> bool:
    """Say whether a look shows anything else than what is remembered."""
    return (slot.reachable, slot.assigned) != (sight.reachable, sight.assigned) or any(
        (
            sight.phase is not None and (sight.phase, sight.code) != (slot.phase, slot.code),
            sight.serving is not None and sight.serving != slot.serving,
            bool(sight.hardware) and sight.hardware != slot.hardware,
            slot.want is Want.NOTHING and _is_more(sight.base, slot.base),
        )
    )


def _is_more(base: Work | None, known: Work | None) -> bool:
    """Say whether much more is known of the version before: twice as much, or each study would be a row."""
    return base is not None and (known is None or base.studies >= 2 * known.studies + 5)


def _listed(listed: Mapping[str, Release], version: str) -> Release:
    if version not in listed:
        raise RegistryFault(f"the list of releases has no {version} any more")
    return listed[version]


def _digests(listed: Mapping[str, Release]) -> dict[str, str]:
    return {version: release.digest for version, release in listed.items()}
