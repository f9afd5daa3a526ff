"""Read out of the database what is known of each slot of a roll-out.

Promises: what no device said is None; a device that was replaced speaks for itself alone.
Never: writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from appliance.health.codes import Kind
from appliance.health.fields import at_least
from appliance.ledger.engine import Tx
from appliance.sync.phase import Phase
from appliance.sync.release import reference
from provisioning.registry.database import devices, telemetry
from provisioning.registry.database.devices import Device
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.rollout.facts import Facts, Sight, Work
from provisioning.registry.rollout.plan import Plan
from provisioning.registry.rollout.state import Slot

_SERVES: Final = (Phase.SOAK, Phase.COMMITTED)
_DRIFT_WINDOWS: Final = 3
_HARDWARE_CHARACTERS: Final = 12
_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What one look reads; `now` in epoch seconds, `digests` of every version of the model."""

    tx: Tx
    plan: Plan
    now: float
    digests: Mapping[str, str]

    def sights(self, assigned: Mapping[str, str | None]) -> dict[str, Sight]:
        """Return what there is to see of each slot; `assigned` is what the director's list gives it."""
        here, told = self._devices(), self._newest(Kind.STATE, self.plan.digest)
        given = {version for name, version in assigned.items() if version and name in self.plan.members}
        bases = {
            version: self._newest(Kind.STATE, self.digests[version]) for version in given & set(self.digests)
        }
        seen = {}
        for name in self.plan.members:
            # A slot that the director does not know cannot be assigned anything.
            known = name in assigned
            device = here.get(name)
            sight = (
                Sight(reachable=False)
                if device is None
                else self._sight(device, told.get(device.id, _NOTHING))
            )
            version = assigned.get(name)
            base = bases.get(version or "", {}).get("" if device is None else device.id, _NOTHING)
            seen[name] = replace(
                sight, reachable=known and sight.reachable, assigned=version, base=work_of(base)
            )
        return seen

    def facts(self, rollout: Rollout, names: Sequence[str]) -> list[Facts]:
        """Return what a gate judges slots by."""
        here, slots = self._devices(), rollout.state.slots
        states, inputs = (
            self._newest(Kind.STATE, self.plan.digest),
            self._newest(Kind.INPUT, self.plan.digest),
        )
        failed = self._failed(rollout.made_at)
        planned = {
            one.name
            for one in devices.every_slot(self.tx)
            if one.offline_until is not None and one.offline_until > self.now
        }
        found = []
        for name in names:
            device = here[name].id if name in here else ""
            now = work_of(states.get(device, _NOTHING)) or Work()
            at_the_least = failed[telemetry.number(device)] if device else 0
            found.append(
                _fact(
                    self.plan,
                    name,
                    slots[name],
                    now=replace(now, failed=max(now.failed, at_the_least)),
                    planned=name in planned,
                    drifts=_drifts(inputs.get(device)),
                )
            )
        return found

    def _sight(self, device: Device, numbers: Mapping[str, Any]) -> Sight:
        seen_at = device.last_seen_at
        phase, serving = phase_of(numbers.get("phase")), numbers.get("serving")
        if serving is False and phase in _SERVES:
            # It did, some time before.
            phase = None
        return Sight(
            reachable=seen_at is not None and self.now - seen_at <= self.plan.silent_seconds_max,
            phase=phase,
            code=int(numbers.get("reason") or 0),
            serving=serving,
            hardware=device.id[:_HARDWARE_CHARACTERS],
        )

    def _devices(self) -> dict[str, Device]:
        return {device.slot: device for device in devices.every(self.tx)}

    def _newest(self, kind: Kind, digest: str) -> dict[str, Mapping[str, Any]]:
        """Return what each device last said of a release."""
        told = telemetry.newest(self.tx, kind, release=reference(digest))
        return {device: reported.numbers for device, reported in told.items()}

    def _failed(self, since: float) -> Counter[int]:
        """Count failures hour by hour: a total in fives hides four of a device, an hour with one does not."""
        counted: Counter[int] = Counter()
        for device, numbers in telemetry.since(self.tx, Kind.WORK, reference(self.plan.digest), at=since):
            cells = [*(numbers.get("failed") or ()), numbers.get("held") or 0]
            counted[device] += sum(at_least(cell) for cell in cells)
        return counted


def work_of(numbers: Mapping[str, Any]) -> Work | None:
    """Return what a release did on a device, as its STATE record says; None when that says nothing of it."""
    if numbers.get("studies") is None:
        return None
    return Work(
        studies=int(numbers["studies"]),
        failed=int(numbers.get("failures") or 0),
        positives=numbers.get("positives"),
        times=tuple(numbers.get("turnaround") or ()),
    )


def phase_of(number: Any) -> Phase | None:
    """Return the phase of a number; none where a newer device knows one that this program does not."""
    try:
        return None if number is None else Phase(number)
    except ValueError:
        return None


def _fact(plan: Plan, name: str, slot: Slot, *, now: Work, planned: bool, drifts: bool | None) -> Facts:
    member = plan.members[name]
    return Facts(
        slot=name,
        gpu=member.gpu,
        vendor=member.vendor,
        reachable=slot.reachable,
        stand=slot.stand,
        code=slot.code,
        now=now,
        before=slot.base,
        planned=planned,
        drifts=drifts,
    )


def _drifts(numbers: Mapping[str, Any] | None) -> bool | None:
    if numbers is None or not numbers.get("enough"):
        return None
    return any(value >= _DRIFT_WINDOWS for name, value in numbers.items() if name.endswith("_windows"))
