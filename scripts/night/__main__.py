"""Run the fault night, or a large department's day, and write the scoreboard."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core import log
from appliance.services.run import NAMES
from appliance.services.stage import living
from scripts.night import judge as judging
from scripts.night.attacks import Attacks
from scripts.night.journal import Journal, lines
from scripts.night.kills import Storm, tally
from scripts.night.pacs import Moods, MoodyPacs
from scripts.night.report import Night, markdown, page, sections_of
from scripts.night.senders import Sender, Template, Traffic
from scripts.night.site import NightBox, made_in

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scoreboard.md"
_SETTLE_SECONDS_MAX = 300.0
_SAMPLE_SECONDS = 2.0
# Shares of the time: undisturbed, under attack, everything at once. The rest of a night is the settling.
_CALM, _ATTACKED = 0.1, 0.2


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
def _course(
    folder: Path, *, forked: bool, retain_seconds: float, traffic: dict[str, object]
) -> Iterator[Course]:
    box, pacs = made_in(folder, forked=forked, retain_seconds=retain_seconds)
    with ExitStack() as stack:
        stack.callback(pacs.stop)
        # There is one checkpoint of a trail in an hour: the first is where that point can be met.
        box.order("audit", "audit-signed")
        stack.callback(box.stop)
        box.start()
        shared = Traffic(box.config.dicom.port, Journal(folder / "senders.jsonl"), **traffic)  # type: ignore[arg-type]
        shared.waiting = lambda: shared.wanted_sent - len(pacs.reported)
        memory = Memory(box)
        memory.start()
        stack.callback(memory.stopping.set)
        yield Course(folder, box, pacs, shared, memory)


def fault_night(folder: Path, seconds: float, *, senders: int, forked: bool) -> Night:
    """Run the night in a folder of its own."""
    templates = [Template(6, 48, wanted=True), Template(12, 96, wanted=False), Template(3, 32, wanted=False)]
    with _course(
        folder, forked=forked, retain_seconds=60, traffic={"templates": templates, "pause_seconds": 0.5}
    ) as course:
        box = course.box
        journal = Journal(folder / "attackers.jsonl")
        tls = box.config.dicom.tls
        assert tls is not None
        attacks = Attacks(box.config.dicom.port, tls.port, journal)
        storm = Storm(box, Journal(folder / "kills.jsonl"))
        moods = Moods(course.pacs, Journal(folder / "moods.jsonl"), storm.stopping)
        sending = [Sender(course.traffic, number) for number in range(senders)]
        for sender in sending:
            sender.start()
        course.phase("calm", max(seconds * _CALM, 10))
        course.memory.mark()
        attackers = attacks.start()
        course.phase("attacked", max(seconds * _ATTACKED, 10))
        killers = storm.start()
        moods.start()
        supervisor_kills = 0
        rest = max(seconds * (1 - _CALM - _ATTACKED), 20)
        for part in range(parts := 3):
            course.phase(f"everything {part + 1}/{parts}", rest / parts)
            if part < parts - 1:
                box.kill()
                box.start()
                supervisor_kills += 1
        for each in (storm.stopping, attacks.stopping):
            each.set()
        for thread in (*killers, *attackers, moods):
            thread.join(90)
        course.settle(sending)
        return _told(
            course, "Fault night", tally=tally(box, storm.told), attacks=attacks.done, moods=moods.had,
            supervisor_kills=supervisor_kills,
        )  # fmt: skip


def department_day(folder: Path, seconds: float, *, senders: int, forked: bool) -> Night:
    """Send a large department's day in so many seconds, undisturbed."""
    templates = [Template(6, 48, wanted=True), *[Template(n, 32, wanted=False) for n in (40, 120, 300)]]
    with _course(folder, forked=forked, retain_seconds=86_400, traffic={"templates": templates}) as course:
        sending = [Sender(course.traffic, number) for number in range(senders)]
        for sender in sending:
            sender.start()
        course.phase("first fifth", seconds / 5)
        course.memory.mark()
        course.phase("the rest", seconds * 4 / 5)
        course.settle(sending)
        return _told(course, "Department day")


def _told(course: Course, kind: str, **more: object) -> Night:
    memory = course.memory.told()
    print("scoreboard: judging", file=sys.stderr)
    stores: dict[str, list[float]] = {}
    for line in lines(course.folder / "senders.jsonl"):
        if line.get("status") == 0:
            stores.setdefault(line["phase"].partition(" ")[0], []).append(line["ms"])
    return Night(
        kind=kind,
        machine=_machine(),
        seconds=course.seconds,
        verdict=judging.judge(course.box, folder=course.folder),
        memory=memory,
        stores=stores,
        **more,  # type: ignore[arg-type]
    )


def _machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} shared cores, {gib:.0f} GiB of memory"


def main() -> int:
    """Run what was asked for, and stop by itself."""
    parser = argparse.ArgumentParser(prog="scripts/scoreboard", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, without the settling (10)")
    parser.add_argument("--hours", type=float, help="how long, for a long night")
    parser.add_argument(
        "--day", action="store_true", help="a large department's day instead: 20 senders, no faults"
    )
    parser.add_argument("--senders", type=int, help="modalities at once (6; 20 for a day)")
    parser.add_argument(
        "--forked", action="store_true", help="fork services instead of starting them: more kills"
    )
    parser.add_argument("--json", action="store_true", help="print the run as one JSON object")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write (docs/scoreboard.md)")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the box and the journals; else they are removed"
    )
    asked = parser.parse_args()
    log.silence()
    seconds = asked.hours * 3600 if asked.hours else asked.minutes * 60
    with ExitStack() as stack:
        folder = asked.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="readside-night-"))
        )
        run = department_day if asked.day else fault_night
        night = run(folder, seconds, senders=asked.senders or (20 if asked.day else 6), forked=asked.forked)
    sections = sections_of(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    sections[night.kind] = markdown(night)
    asked.out.write_text(page(sections), encoding="utf-8")
    print(json.dumps(night.as_json(), indent=2) if asked.json else markdown(night))
    return 0 if night.verdict.balance == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
