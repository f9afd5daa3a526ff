"""Kill each service again and again: at any moment, or at a named crash point."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core.crash import POINTS
from appliance.services.stage import living
from scripts.night.journal import Journal, lines
from scripts.night.senders import Cut, Line
from scripts.night.site import NightBox

# Seconds between two kills of a service: the listener has most to lose, the worker takes longest to be back.
PAUSES: Mapping[str, float] = {
    "listener": 1.5,
    "conductor": 2.0,
    "worker": 9.0,
    "courier": 2.0,
    "audit": 4.0,
    "console": 10.0,
}
_LOOK_SECONDS = 0.05
_BACK_SECONDS_MAX = 60.0
_POINT_SECONDS_MAX = 8.0


@dataclass
class Storm:
    """One killer for each service, until the storm is over; `pace` stretches the pauses between kills."""

    box: NightBox
    told: Journal
    pace: float = 1.0
    # Few of those that have little to lose, where the storm is dense.
    pauses: Mapping[str, float] = field(default_factory=lambda: PAUSES)
    points: Mapping[str, Sequence[str]] = field(default_factory=lambda: POINTS)
    stopping: threading.Event = field(default_factory=threading.Event)
    # Crash points that no process has died at yet.
    left: dict[str, list[str]] = field(init=False)
    kills: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.left = {name: list(names) for name, names in self.points.items()}

    def start(self) -> list[threading.Thread]:
        """Begin."""
        threads = []
        for service in self.pauses:
            killer = threading.Thread(target=self._kill, args=(service,), name=f"kill-{service}", daemon=True)
            killer.start()
            threads.append(killer)
        return threads

    @property
    def over(self) -> bool:
        """Say whether every crash point was met."""
        return not any(self.left.values())

    def _kill(self, service: str) -> None:
        dice = random.Random(service)
        # This one is met at the first start of all, or in an hour.
        if "audit-signed" in self.left.get(service, ()):
            self.left[service].remove("audit-signed")
        while not self.stopping.wait(dice.uniform(0.2, 1.8) * self.pauses[service] * self.pace):
            self._once(service, self._point(service, dice))

    def _point(self, service: str, dice: random.Random) -> str:
        """Return a crash point, those that were not met first; every other time none at all."""
        points = [one for one in self.points.get(service, ()) if one != "audit-signed"]
        if not points or dice.random() < 0.5:
            return ""
        name = dice.choice(self.left[service] or points)
        often = name.startswith(("keep", "kept", "rows"))
        return f"{name}:{dice.randint(1, 6)}" if often else name

    def _once(self, service: str, armed: str) -> None:
        """Kill a service, wait until it is back, and where it was armed until it died of that too."""
        pid = self._living(service)
        if pid is None:
            return
        if armed:
            self.box.order(service, armed)
        at, deaths_before = time.monotonic(), self._deaths.stat().st_size
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        back = self._back(service, pid)
        self._count()
        self.told.note(
            service=service, pid=pid, armed=armed, at=round(time.time(), 3),
            back=None if back is None else round(time.monotonic() - at, 3),
        )  # fmt: skip
        if armed:
            self._meet(service, armed, pid, deaths_before)

    def _meet(self, service: str, armed: str, former: int, before: int) -> None:
        """Wait until the armed process died where it should; one that does not is killed another time."""
        deadline = time.monotonic() + _POINT_SECONDS_MAX
        while not self._met(armed, former, before):
            if time.monotonic() > deadline or self.stopping.wait(_LOOK_SECONDS):
                return
        self._count()
        point = armed.partition(":")[0]
        if point in self.left[service]:
            self.left[service].remove(point)

    def _met(self, armed: str, former: int, before: int) -> bool:
        """Say whether the armed process, not the former one, is among the deaths since `before` bytes."""
        with self._deaths.open("rb") as file:
            file.seek(before)
            told = [json.loads(line) for line in file]
        return any(one["armed"] == armed and one["pid"] != former for one in told)

    @property
    def _deaths(self) -> Path:
        return self.box.folder / "deaths.jsonl"

    def _count(self) -> None:
        with self._lock:
            self.kills += 1

    def _alive(self, service: str) -> int | None:
        return living(self.box.config.run_dir, service)

    def _living(self, service: str) -> int | None:
        """Return the process of a service, once there is one."""
        deadline = time.monotonic() + _BACK_SECONDS_MAX
        while (pid := self._alive(service)) is None and time.monotonic() < deadline:
            if self.stopping.wait(_LOOK_SECONDS):
                return None
        return pid

    def _back(self, service: str, old: int) -> int | None:
        """Wait until another process of a service lives, and serves if it is the listener."""
        deadline = time.monotonic() + _BACK_SECONDS_MAX
        while time.monotonic() < deadline:
            pid = self._alive(service)
            if pid is not None and pid != old and (service != "listener" or self._serves(pid)):
                return pid
            time.sleep(_LOOK_SECONDS)
        return None

    def _serves(self, pid: int) -> bool:
        """Say whether the listener takes associations, or died before it could."""
        try:
            Line(self.box.config.dicom.port).release()
        except Cut:
            return self._alive("listener") not in (pid, None)
        return True


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the storm came to; `recovery` in seconds, sorted, by service."""

    by_service: Counter[str]
    by_point: Counter[str]
    recovery: Mapping[str, list[float]]
    unforeseen: list[str]

    @property
    def kills(self) -> int:
        """Return how many processes died of SIGKILL."""
        return self.by_service.total()


def tally(box: NightBox, told: Journal) -> Tally:
    """Read from the supervisor's journal who died of what."""
    ours = {line["pid"]: line for line in lines(told.path)}
    by_service, by_point = Counter[str](), Counter[str]()
    unforeseen = []
    for death in lines(box.folder / "deaths.jsonl"):
        if death["code"] != -signal.SIGKILL:
            unforeseen.append(f"{death['service']} exited {death['code']}")
            continue
        by_service[death["service"]] += 1
        if death["pid"] not in ours and death["armed"]:
            by_point[death["armed"].partition(":")[0]] += 1
        elif death["pid"] not in ours:
            unforeseen.append(f"{death['service']} was killed by nobody known")
    recovery: dict[str, list[float]] = {}
    for line in ours.values():
        if line["back"] is not None:
            recovery.setdefault(line["service"], []).append(line["back"])
    return Tally(
        by_service=by_service,
        by_point=by_point,
        recovery={name: sorted(values) for name, values in recovery.items()},
        unforeseen=unforeseen,
    )
