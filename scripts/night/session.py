"""One run: a box, its PACS and its senders, the phases it goes through, and how it comes to rest."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.services.run import NAMES
from appliance.services.stage import living
from scripts.night import judge as judging
from scripts.night.cuts import Power, powered
from scripts.night.journal import Journal
from scripts.night.pacs import MoodyPacs
from scripts.night.senders import Sender, Traffic
from scripts.night.site import SUPERVISE, NightBox, made_in

_SETTLE_SECONDS_MAX = 300.0
_SAMPLE_SECONDS = 2.0


@dataclass
class Memory(threading.Thread):
    """Samples the resident memory of each service, in MiB."""

    box: NightBox
    stopping: threading.Event = field(default_factory=threading.Event)
    most: dict[str, float] = field(default_factory=dict)
    marked: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(name="memory", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.stopping.wait(_SAMPLE_SECONDS):
            for name, size in self.now().items():
                self.most[name] = max(size, self.most.get(name, 0.0))

    def mark(self) -> None:
        """Remember what each has now."""
        self.marked = self.now()

    def now(self) -> dict[str, float]:
        """Return what each has now."""
        found = {}
        for name in NAMES:
            # A disk without power cannot say who is there.
            with suppress(OSError):
                pid = living(self.box.config.run_dir, name)
                if pid is not None and (size := _resident_mib(pid)):
                    found[name] = size
        return found

    def told(self) -> dict[str, tuple[float, float, float]]:
        """Return of each service what it had when it was marked, what it has, and the most it had."""
        last = self.now()
        return {
            name: (self.marked.get(name, 0.0), size, max(size, self.most.get(name, 0.0)))
            for name, size in last.items()
        }


def _resident_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/statm").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Course:
    """One run: what takes part in it, and how long each phase takes."""

    folder: Path
    box: NightBox
    pacs: MoodyPacs
    traffic: Traffic
    memory: Memory
    power: Power | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def phase(self, name: str, seconds: float) -> None:
        """Let everything go on for a while."""
        print(f"scoreboard: {name} for {seconds:.0f} s", file=sys.stderr)
        self.traffic.phase = name
        self.seconds[name] = seconds
        time.sleep(seconds)

    def settle(self, senders: list[Sender]) -> None:
        """Let the senders end what they began, and wait until the box has nothing to do."""
        self.traffic.phase = "settling"
        self.traffic.stopping.set()
        begun = time.monotonic()
        deadline = begun + _SETTLE_SECONDS_MAX
        for sender in senders:
            sender.join(max(deadline - time.monotonic(), 1.0))
        self.traffic.given_up.set()
        while self._busy() and time.monotonic() < deadline:
            time.sleep(1.0)
        self.seconds["settling"] = round(time.monotonic() - begun, 1)

    def _busy(self) -> str:
        """Say what is still under way; nothing when the box rests."""
        studies = judging.studies_sent(self.folder / "senders.jsonl")
        if (studies.complete & studies.wanted) - self.pacs.reported:
            return "reports"
        with self.box.ledger.read() as tx:
            return "work" if judging.waiting(tx) else ""


@contextmanager
def course(
    folder: Path, *, forked: bool, traffic: Mapping[str, Any], power_seed: int | None = None,
    program: Sequence[str] = SUPERVISE, **site: Any,
) -> Iterator[Course]:  # fmt: skip
    """Start a box and its PACS in a folder of their own, and stop them at the end.

    With `power_seed` the box stands on a disk that forgets, and its power can be cut. `program` is the module
    that supervises it, with what it is told first.

    Raises:
        NoLossyDisk: this machine can have no such disk.
    """
    box, pacs = made_in(folder, forked=forked, **site)
    box.program = program
    with ExitStack() as stack:
        stack.callback(pacs.stop)
        power = None
        if power_seed is not None:
            power = stack.enter_context(powered(box, Journal(folder / "cuts.jsonl"), seed=power_seed))
        # There is one checkpoint of a trail in an hour: the first is where that point can be met.
        box.order("audit", "audit-signed")
        stack.callback(box.stop)
        box.start()
        shared = Traffic(box.config.dicom.port, Journal(folder / "senders.jsonl"), **traffic)
        shared.waiting = lambda: shared.wanted_sent - len(pacs.reported)
        memory = Memory(box)
        memory.start()
        stack.callback(memory.stopping.set)
        yield Course(folder, box, pacs, shared, memory, power)
