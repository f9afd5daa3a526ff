"""Write the scoreboard: what was run, the lines that must be zero, and the figures beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.core.crash import POINTS
from scripts.night.cuts import Power
from scripts.night.judge import Verdict
from scripts.night.kills import Tally


@dataclass(kw_only=True)
class Night:
    """Everything that one run came to; seconds and MiB."""

    kind: str
    machine: str
    forked: bool
    seconds: Mapping[str, float]
    verdict: Verdict
    tally: Tally | None = None
    supervisor_kills: int = 0
    power: Power | None = None
    attacks: Mapping[str, int] = field(default_factory=dict)
    moods: Mapping[str, int] = field(default_factory=dict)
    # Milliseconds of each acknowledged store, by phase.
    stores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    # MiB of each service: at the end of the first phase, at the end, the most that any of its processes had.
    memory: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(tz=UTC))

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain values."""
        told: dict[str, Any] = {
            "kind": self.kind,
            "at": self.at.isoformat(timespec="seconds"),
            "machine": self.machine,
            "forked": self.forked,
            "seconds": dict(self.seconds),
            "lines": dict(self.verdict.lines),
            "balance": self.verdict.balance,
            "examples": dict(self.verdict.examples),
            "figures": dict(self.verdict.figures),
            "attacks": dict(self.attacks),
            "pacs_moods": dict(self.moods),
            "store_ms": {phase: quantiles(found) for phase, found in self.stores.items()},
            "memory_mib": {name: list(sizes) for name, sizes in self.memory.items()},
        }
        if self.tally is not None:
            told["kills"] = {
                "by_service": dict(self.tally.by_service),
                "by_point": dict(self.tally.by_point),
                "supervisor": self.supervisor_kills,
                "recovery_seconds": {name: quantiles(found) for name, found in self.tally.recovery.items()},
                "unforeseen": self.tally.unforeseen,
            }
        if self.power is not None:
            told["power_cuts"] = {
                "seed": self.power.seed,
                "cuts": [asdict(cut) for cut in self.power.cuts],
                "while_starting": self.power.while_starting,
                "back_seconds": quantiles(self.power.back_seconds),
            }
        return told


_STARTED = {False: "started as on an installed box", True: "forked from a supervisor that has them loaded"}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return how many there are, the median, the 99th percentile and the largest."""
    found = sorted(values)
    if not found:
        return {"count": 0}
    return {
        "count": len(found),
        "p50": found[len(found) // 2],
        "p99": found[min(math.ceil(len(found) * 0.99), len(found)) - 1],
        "max": found[-1],
    }


def markdown(night: Night) -> str:
    """Return one run as a section of the page."""
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in night.seconds.items())
    parts = [
        f"## {night.kind}, {night.at:%Y-%m-%d %H:%M} UTC",
        f"Machine: {night.machine}. Services were {_STARTED[night.forked]}. Phases: {took}.",
        _table(("line that must be 0", ""), night.verdict.lines.items()),
    ]
    if night.verdict.examples:
        parts.append(
            "\n".join(f"- {name}: {', '.join(some)}" for name, some in night.verdict.examples.items())
        )
    parts.append(_table(("what went through", ""), _flat(night.verdict.figures)))
    if night.tally is not None:
        parts += _storm(night, night.tally)
    if night.power is not None:
        parts += _power(night.power)
    if night.attacks:
        parts.append(_table(("attack", "times"), sorted(night.attacks.items())))
    if night.moods:
        parts.append(_table(("mood of the PACS", "times"), night.moods.items()))
    rows = [
        (phase, q["count"], *(f"{q[name]:.0f}" for name in ("p50", "p99", "max")))
        for phase, found in night.stores.items()
        if (q := quantiles(found))["count"]
    ]
    parts.append(_table(("store of a good peer, ms", "count", "p50", "p99", "max"), rows))
    memory = [(name, *(f"{size:.0f}" for size in sizes)) for name, sizes in night.memory.items()]
    if memory:
        parts.append(_table(("resident memory, MiB", "after the first phase", "at the end", "most"), memory))
    return "\n\n".join(parts) + "\n"


def _storm(night: Night, tally: Tally) -> list[str]:
    rows = []
    for name in sorted(tally.by_service):
        q = quantiles(tally.recovery.get(name, []))
        back = (f"{q['p50']:.1f}", f"{q['p99']:.1f}") if q["count"] else ("", "")
        rows.append((name, tally.by_service[name], *back))
    rows.append(("supervisor", night.supervisor_kills, "", ""))
    points = [(name, service, tally.by_point[name]) for service, names in POINTS.items() for name in names]
    return [
        f"SIGKILL ended {tally.kills} processes of services and {night.supervisor_kills} of the supervisor.",
        _table(("service", "killed", "back after, s: p50", "p99"), rows),
        _table(("crash point", "service", "killed there"), points),
    ]


def _power(power: Power) -> list[str]:
    cuts = power.cuts
    q = quantiles(power.back_seconds)
    lost = [
        (name, sum(found), sum(gone))
        for name, found, gone in (
            ("sectors of 512 bytes", [cut.sectors for cut in cuts], [cut.sectors_lost for cut in cuts]),
            ("names given or taken", [cut.names for cut in cuts], [cut.names_lost for cut in cuts]),
        )
    ]
    return [
        f"The power was cut {len(cuts)} times, {power.while_starting} of them while the box still started"
        f" (seed {power.seed}). Nothing that waited for a sync survived"
        f" {sum(not cut.kept for cut in cuts)} of them."
        f" Back after {q['p50']:.1f} s (p50), {q['max']:.1f} s at most.",
        _table(("not synced at a cut", "in all", "lost"), lost),
    ]


def _flat(figures: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in figures.items():
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        rows.append((name, told))
    return rows


def _table(head: Sequence[str], rows: Any) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


PAGE = """\
# Scoreboard

Written by `scripts/scoreboard`; do not edit. A run takes the place of the last one of its kind.

What is run: one whole box on loopback, with its supervisor. Several modalities send studies over bare
sockets and write down each answer before they go on. A stand-in PACS writes down each object that it
accepts before it answers, and is now and then away, slow, refusing, or loses every association. Services
are killed at any moment and at the named crash points of `appliance/core/crash.py`. Attackers from other
addresses keep connections half open, lie about lengths (W1 to W8), and send malformed data sets, PDUs and
commands: `scripts/night/attacks.py`. The judge holds the journals of the modalities and of the PACS
against the ledger, read as a plain file, and against the spool, digested anew.

A killed process loses what it had in memory and nothing else: the page cache survives it. Power cuts are
another matter: `tests/faults/test_disk.py` goes through every state that a recorded disk can leave behind.

With `--cuts` the box stands on a file system that forgets what was not synced: `tests/lossy`, in the manner
of LazyFS, which no package registry offers. It is stricter than ext4: names need the sync of their folder,
and a durable write makes nothing safe but itself. Each cut halts it in mid-act, kills every process of the
box, and drops what no sync covered: all of it, or each sector and each name by the throw of a die. Then the
box starts on what is left.

With `--day` there are no faults: twenty modalities send small images, most of which no route wants, as fast
as the box takes them. The machine is shared with other work, so times are only as good as that.

"""


def page(sections: Mapping[str, str]) -> str:
    """Return the whole page."""
    return PAGE + "\n".join(sections.values())


def sections_of(text: str) -> dict[str, str]:
    """Return the sections of a page by the kind of run that they tell of."""
    found = {}
    for part in text.split("\n## ")[1:]:
        found[part.split(",", 1)[0]] = f"## {part.rstrip()}\n"
    return found
