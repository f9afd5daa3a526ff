"""Plans, facts and events as short as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from provisioning.registry.rollout.events import Approved
from provisioning.registry.rollout.facts import Facts, Stand, Work
from provisioning.registry.rollout.gate import Check, Judgement, Verdict
from provisioning.registry.rollout.plan import Gates, Member, Plan
from provisioning.registry.rollout.reducer import reduce
from provisioning.registry.rollout.state import State, first

MAKER, APPROVER, OPERATOR = "mia", "ann", "otto"
# Ten o'clock of a Monday.
MONDAY = 1_784_541_600.0
HOUR, DAY = 3_600.0, 86_400.0
DIGEST = "sha256:" + "ab" * 32
FAST = (100, 400, 300, 150, 50, 0, 0, 0, 0, 0, 0, 0)


def member(name: str, gpu: str = "l4", vendor: str = "siemens", **more: Any) -> Member:
    return Member(name=name, site=more.pop("site", f"site-{name}"), gpu=gpu, vendor=vendor, **more)


def plan(rings: Sequence[Sequence[str]], **more: Any) -> Plan:
    members = {name: member(name) for ring in rings for name in ring}
    given = {"gates": Gates(), "at_once_max": 100, **more}
    return Plan(
        model="lungs",
        version="2.0.0",
        digest=DIGEST,
        rings=tuple(tuple(ring) for ring in rings),
        members=members,
        made_by=MAKER,
        **given,
    )


def begun(made: Plan, at: float = MONDAY) -> State:
    """A roll-out that was approved."""
    return reduce(made, first(made), Approved(at=at, by=APPROVER)).state


def judgement(verdict: Verdict, name: str = "studies") -> Judgement:
    return Judgement(verdict=verdict, checks=(Check(name=name, verdict=verdict),))


def fact(slot: str, stand: Stand = Stand.COMMITTED, **more: Any) -> Facts:
    """A device that did a hundred studies without a failure, after ten thousand with the version before."""
    values: dict[str, Any] = {
        "gpu": "l4",
        "vendor": "siemens",
        "reachable": True,
        "now": Work(studies=100, failed=0, positives=20, times=tuple(cell // 10 for cell in FAST)),
        "before": Work(studies=10_000, failed=20, positives=2_000, times=tuple(cell * 10 for cell in FAST)),
    }
    return Facts(slot=slot, stand=stand, **{**values, **more})
