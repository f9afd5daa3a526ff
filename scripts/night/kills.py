"""Kill each service again and again: at any moment, or at a named crash point."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """One killer for each service, until the storm is over."""

    box: NightBox
    told: Journal
    kills_max: int = 1_000_000
    pace: float = 1.0
    stopping: threading.Event = field(default_factory=threading.Event)
    _left: dict[str, list[str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: int = 0

    def start(self) -> list[threading.Thread]:
        """Begin; every crash point has its turn before any has its second."""
        threads = []
        for service in PAUSES:
            killer = threading.Thread(target=self._kill, args=(service,), name=f"kill-{service}", daemon=True)
            killer.start()
            threads.append(killer)
        return threads

    def _kill(self, service: str) -> None:
        dice = random.Random(service)
        while not self.stopping.wait(dice.uniform(0.2, 1.8) * PAUSES[service] * self.pace):
            points = POINTS.get(service, ())
            armed = dice.choice(["", self._point(service, dice)]) if points else ""
            if not self._once(service, armed):
                return

    def _point(self, service: str, dice: random.Random) -> str:
        """Return a crash point whose turn it is, and after how many times of passing by."""
        left = self._left.setdefault(service, [])
        if not left:
            left += dice.sample(POINTS[service], len(POINTS[service]))
        name = left.pop()
        often = name.startswith(("keep", "kept", "rows"))
        return f"{name}:{dice.randint(1, 6)}" if often else name

    def _once(self, service: str, armed: str) -> bool:
        """Kill a service, wait until it is back, and where it was armed until it died of that too."""
        pid = self._living(service)
        with self._lock:
            if pid is None or self._done >= self.kills_max:
                return pid is None and not self.stopping.is_set()
            self._done += 1
        if armed:
            self.box.order(service, armed)
        at = time.monotonic()
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        back = self._back(service, pid)
        self.told.note(
            service=service, pid=pid, armed=armed, at=round(time.time(), 3),
            back=None if back is None else round(time.monotonic() - at, 3),
        )  # fmt: skip
        if armed and back is not None:
            deadline = time.monotonic() + _POINT_SECONDS_MAX
            while self._alive(service) == back and time.monotonic() < deadline and not self.stopping.is_set():
                time.sleep(_LOOK_SECONDS)
        return True

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
