"""A roll-out as people are shown it: by the command line, the API and the pages alike.

Promises: every number and name behind a verdict is there, and one sentence for each check that did not pass.
Never: holds more than the rows do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from appliance.core.clock import as_text
from appliance.sync.phase import word_of
from provisioning.registry.database.rollouts import Entry, Rollout
from provisioning.registry.rollout.events import EVENT, Judged, Seen, Superseded
from provisioning.registry.rollout.gate import Check, Judgement, Verdict
from provisioning.registry.rollout.state import JUDGEMENT, Slot, Stage

_HOUR = 3_600.0
_PERCENT: Final = 100.0
_HELD: Final = (Stage.RUNNING, Stage.PAUSED)


def summary(one: Rollout) -> dict[str, Any]:
    """Return a roll-out in a few fields, for a list."""
    state = one.state
    return {
        "id": one.id,
        "model": one.plan.model,
        "version": one.plan.version,
        "stage": state.stage.value,
        "ring": state.ring,
        "rings": len(one.plan.rings),
        "verdict": None if state.verdict is None else state.verdict.value,
        "asked": state.asked,
        "why": state.why,
        "made_by": one.plan.made_by,
        "made_at": as_text(one.made_at),
        "slots": {stand.value: count for stand, count in sorted(state.counts().items())},
    }


def detail(one: Rollout) -> dict[str, Any]:
    """Return a roll-out whole: every ring and slot, and what the gate said last with its evidence."""
    return {
        **summary(one),
        "reasons": reasons(one),
        "judged_at": None if one.judged_at is None else as_text(one.judged_at),
        "judgement": None if one.judgement is None else JUDGEMENT.dump_python(one.judgement, mode="json"),
        "ring_slots": [
            {name: slot_view(one.state.slots[name]) | _strata(one, name) for name in ring}
            for ring in one.plan.rings
        ],
    }


def slot_view(slot: Slot) -> dict[str, Any]:
    """Return where one slot stands."""
    word = word_of(slot.code) if slot.code else None
    return {
        "stand": slot.stand.value,
        "phase": slot.phase.text,
        "word": "" if word is None else word.value,
        "reachable": slot.reachable,
        "assigned": slot.assigned,
        "before": slot.before,
        "since": as_text(slot.since) if slot.since else None,
        "serving": slot.serving,
    }


def entry_view(entry: Entry) -> dict[str, Any]:
    """Return one event of a roll-out's history."""
    said = EVENT.dump_python(entry.event, mode="json")
    said["at"] = as_text(entry.event.at)
    return {"seq": entry.seq, "who": entry.who, "says": entry_sentence(entry), **said}


def entry_sentence(entry: Entry) -> str:
    """Say an event in a line."""
    event = entry.event
    if isinstance(event, Judged):
        names = ", ".join(check.name for check in event.judgement.of(event.judgement.verdict))
        tail = "" if event.judgement.verdict is Verdict.PASS else f": {names}"
        return f"the gate of ring {event.ring} says {_said(event.judgement.verdict)}{tail}"
    if isinstance(event, Seen):
        return f"{len(event.sights)} slots changed" if event.sights else "time passed"
    why = f"roll-out {event.rollout}" if isinstance(event, Superseded) else event.why
    return f"{event.kind} by {entry.who}" + (f": {why}" if why else "")


def reasons(one: Rollout) -> list[str]:
    """Say why it stands where it stands, a sentence each."""
    said = [one.state.why] if one.state.why else []
    if one.judgement is not None and (one.state.stage in _HELD or one.state.verdict is Verdict.FAIL):
        said += sentences(one.judgement)
    return said


def sentences(judgement: Judgement) -> list[str]:
    """Say every check that did not pass, those that failed first."""
    return [
        sentence(check) for verdict in (Verdict.FAIL, Verdict.NOT_ENOUGH) for check in judgement.of(verdict)
    ]


def sentence(check: Check) -> str:
    """Say what a check was answered by."""
    name = check.name.partition(".")[0]
    numbers = {key: float(value) for key, value in check.numbers.items()}
    said = _few(numbers) if "studies_min" in numbers and name in _PAIRED else _SAYS[name](numbers)
    return f"{check.name}: {said}{_names(check)}"


_PAIRED = ("failures", "turnaround", "positives")


def _few(numbers: Mapping[str, float]) -> str:
    had = min((value for key, value in numbers.items() if key != "studies_min"), default=0)
    return f"{had:.0f} studies to compare with the version before, {numbers['studies_min']:.0f} are needed"


def _compared(what: str, numbers: Mapping[str, float]) -> str:
    now, before = numbers["ratio"] * _PERCENT, numbers["ratio_before"] * _PERCENT
    return (
        f"{now:.2f} % of the studies {what}, {before:.2f} % with the version before on the same devices;"
        f" the difference may be {numbers['points_max'] * _PERCENT:.1f} points"
    )


_SAYS: Final[Mapping[str, Callable[[Mapping[str, float]], str]]] = {
    "committed": lambda n: (
        f"{n['committed']:.0f} of {n['reachable']:.0f} devices that can be reached have committed,"
        f" {n['share_min'] * _PERCENT:.0f} % are needed"
    ),
    "rolled_back": lambda n: (
        f"the release failed on {n['rolled_back']:.0f} devices, {n['allowed']:.0f} are allowed"
    ),
    "vanished": lambda n: (
        f"{n['vanished']:.0f} of {n['began']:.0f} devices went silent after it served there,"
        f" {n['allowed']:.0f} may"
    ),
    "every_gpu": lambda _: "it failed on a kind of GPU of which no device has committed",
    "soak": lambda n: (
        f"{n['seconds'] / _HOUR:.1f} hours since enough had committed, {n['working_seconds'] / _HOUR:.1f} of"
        f" them at work; {n['seconds_min'] / _HOUR:.0f} and {n['working_seconds_min'] / _HOUR:.0f} are needed"
    ),
    "studies": lambda n: f"{n['studies']:.0f} studies, {n['studies_min']:.0f} are needed",
    "every_vendor": lambda n: f"fewer than {n['studies_min']:.0f} studies of a maker of scanners",
    "failures": lambda n: _compared("failed", n),
    "positives": lambda n: _compared("had a finding", n),
    "turnaround": lambda n: (
        f"{n['slower_share'] * _PERCENT:.1f} % took longer than {n['limit_seconds']:.0f} s,"
        f" {n['slower_share_max'] * _PERCENT:.0f} % may"
    ),
    "drift": lambda _: "a device's own test says that input or output moved",
}


def _names(check: Check) -> str:
    return f" ({', '.join(check.names)})" if check.names else ""


def _strata(one: Rollout, name: str) -> dict[str, str]:
    member = one.plan.members[name]
    return {"site": member.site, "gpu": member.gpu, "vendor": member.vendor}


def _said(verdict: Verdict) -> str:
    return verdict.value.replace("_", " ")
