"""Power cuts: a whole box on a disk that forgets what was not synced, and the power gone again and again.

A cut halts the disk in the middle of whatever is under way, kills every process of the box, and drops what no
sync covered: all of it, or each sector and each name by the throw of a die. Then the box starts on what is
left. Now and then the next cut comes while it still starts.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import psutil

from scripts.night.journal import Journal
from scripts.night.site import NightBox
from scripts.night.spring import Spring
from tests.lossy.disk import LossyDisk, lossy
from tests.lossy.medium import Cut
from tests.system.waiting import until

# The chance that something which was not synced is there all the same: nothing, little, half, nearly all.
SURVIVE = (0.0, 0.0, 0.1, 0.5, 0.9)
GRAIN_BYTES = (512, 4096)
# Words of a box that are no errors here: of what was never acknowledged a part may have reached the disk.
FORESEEN = frozenset({"sweep.quarantined"})
# How often a write is preceded by the write-back of an earlier one that nobody synced.
RESTLESS = 0.05
_STARTING_SECONDS = (0.1, 2.0)
_WHILE_STARTING = 0.25
_GONE_SECONDS_MAX = 30.0


@dataclass
class Power:
    """The power of one box: how it goes away and comes back; each cut is a line in a journal."""

    box: NightBox
    disk: LossyDisk
    spring: Spring
    told: Journal
    seed: int
    # How long traffic goes on before a cut, at least and at most.
    traffic_seconds: tuple[float, float] = (0.2, 3.0)
    cuts: list[Cut] = field(default_factory=list)
    back_seconds: list[float] = field(default_factory=list)
    while_starting: int = 0
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def cut_often(self, times: int) -> None:
        """Let traffic go on and take the power away, so many times; the box runs at the end."""
        for number in range(times):
            starting = number > 0 and self._dice.random() < _WHILE_STARTING
            if number > 0:
                self._start(cut_short=starting)
            if not starting:
                time.sleep(self._dice.uniform(*self.traffic_seconds))
            self._cut(starting=starting)
        self._start(cut_short=False)

    def _start(self, *, cut_short: bool) -> None:
        if cut_short:
            self.box.begin()
            time.sleep(self._dice.uniform(*_STARTING_SECONDS))
            self.while_starting += 1
            return
        began = time.monotonic()
        self.box.start()
        self.back_seconds.append(round(time.monotonic() - began, 3))

    def _cut(self, *, starting: bool) -> None:
        survive, grain = self._dice.choice(SURVIVE), self._dice.choice(GRAIN_BYTES)
        self.disk.halt()
        ended = self._kill_all()
        cut = self.disk.cut(seed=self._dice.getrandbits(32), survive=survive, grain_bytes=grain)
        self.cuts.append(cut)
        self.box.kill()
        until(lambda: not self._processes(), seconds=_GONE_SECONDS_MAX, what="every process has ended")
        self.told.note(
            at=round(time.time(), 3), starting=starting, survive=survive, grain=grain, ended=ended,
            **asdict(cut),
        )  # fmt: skip

    def _kill_all(self) -> int:
        """Kill until nobody new was started meanwhile; return how many there were."""
        killed: set[int] = set()
        while fresh := self._processes() - killed:
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= fresh
        return len(killed)

    def _processes(self) -> set[int]:
        """Return everything that comes of the spring; whoever loses its parent has that one.

        Their command lines are not read: of a process that waits for a disk without power, that waits too.
        """
        with contextlib.suppress(psutil.NoSuchProcess):
            return {one.pid for one in psutil.Process(self.spring.pid).children(recursive=True)}
        return set()


@contextmanager
def powered(box: NightBox, told: Journal, *, seed: int) -> Iterator[Power]:
    """Put a box that does not run yet on a disk that forgets; take both away at the end.

    Raises:
        NoLossyDisk: there can be none on this machine.
    """
    with lossy(box.config.storage.root, seed=seed, restless=RESTLESS) as disk:
        spring = Spring(box.command, box.log_path)
        box.spring = spring
        power = Power(box=box, disk=disk, spring=spring, told=told, seed=seed)
        try:
            yield power
        finally:
            power._kill_all()
            spring.close()
