"""Run the fault night, a large department's day, or power cuts, and write the scoreboard."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from appliance.core import log
from scripts.night import judge as judging
from scripts.night.attacks import Attacks
from scripts.night.cuts import FORESEEN
from scripts.night.journal import Journal, lines
from scripts.night.kills import Storm, tally
from scripts.night.pacs import Moods
from scripts.night.report import Night, markdown, page, sections_of
from scripts.night.senders import Sender, Template
from scripts.night.session import Course, course
from tests.lossy.disk import NoLossyDisk

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scoreboard.md"
# Shares of the time: undisturbed, under attack, everything at once. The rest of a night is the settling.
_CALM, _ATTACKED = 0.1, 0.2


def fault_night(folder: Path, seconds: float, *, senders: int, forked: bool) -> Night:
    """Run the night in a folder of its own."""
    templates = [Template(6, 48, wanted=True), Template(12, 96, wanted=False), Template(3, 32, wanted=False)]
    with course(
        folder,
        forked=forked,
        retain_seconds=60,
        traffic={"templates": templates, "pause_seconds": 0.5, "odd": 0.1},
    ) as going:
        box = going.box
        journal = Journal(folder / "attackers.jsonl")
        tls = box.config.dicom.tls
        assert tls is not None
        attacks = Attacks(box.config.dicom.port, tls.port, journal)
        storm = Storm(box, Journal(folder / "kills.jsonl"))
        moods = Moods(going.pacs, Journal(folder / "moods.jsonl"), storm.stopping)
        sending = [Sender(going.traffic, number) for number in range(senders)]
        for sender in sending:
            sender.start()
        going.phase("calm", max(seconds * _CALM, 10))
        going.memory.mark()
        attackers = attacks.start()
        going.phase("attacked", max(seconds * _ATTACKED, 10))
        killers = storm.start()
        moods.start()
        supervisor_kills = 0
        rest = max(seconds * (1 - _CALM - _ATTACKED), 20)
        for part in range(parts := 3):
            going.phase(f"everything {part + 1}/{parts}", rest / parts)
            if part < parts - 1:
                box.kill()
                box.start()
                supervisor_kills += 1
        for each in (storm.stopping, attacks.stopping):
            each.set()
        for thread in (*killers, *attackers, moods):
            thread.join(90)
        going.settle(sending)
        return _told(
            going, "Fault night", tally=tally(box, storm.told), attacks=attacks.done, moods=moods.had,
            supervisor_kills=supervisor_kills,
        )  # fmt: skip


def department_day(folder: Path, seconds: float, *, senders: int, forked: bool) -> Night:
    """Send a large department's day in so many seconds, undisturbed."""
    templates = [Template(6, 48, wanted=True), *[Template(n, 32, wanted=False) for n in (40, 120, 300)]]
    with course(folder, forked=forked, retain_seconds=86_400, traffic={"templates": templates}) as going:
        sending = [Sender(going.traffic, number) for number in range(senders)]
        for sender in sending:
            sender.start()
        going.phase("beginning", seconds / 5)
        going.memory.mark()
        going.phase("rest", seconds * 4 / 5)
        going.settle(sending)
        return _told(going, "Department day")


def power_cuts(folder: Path, cuts: int, *, senders: int, seed: int) -> Night:
    """Take the power from a box in traffic so many times."""
    templates = [
        Template(6, 48, wanted=True),
        Template(12, 96, wanted=False),
        # Longer than what is written at once.
        Template(2, 1024, wanted=False),
    ]
    with course(
        folder, forked=True, retain_seconds=15, quiet_seconds=0.4, power_seed=seed,
        traffic={"templates": templates, "pause_seconds": 0.5, "odd": 0.1, "waiting_max": 4},
    ) as going:  # fmt: skip
        power = going.power
        assert power is not None
        power.traffic_seconds = (0.2, 6.0)
        moods = Moods(going.pacs, Journal(folder / "moods.jsonl"), threading.Event(), ("slow", "losing"))
        sending = [Sender(going.traffic, number) for number in range(senders)]
        for thread in (*sending, moods):
            thread.start()
        print(f"scoreboard: {cuts} power cuts, seed {seed}", file=sys.stderr)
        going.traffic.phase, began = "cuts", time.monotonic()
        power.cut_often(cuts)
        going.seconds["cuts"] = round(time.monotonic() - began, 1)
        moods.stop()
        going.settle(sending)
        return _told(going, "Power cuts", power=power, moods=moods.had)


def _told(going: Course, kind: str, **more: object) -> Night:
    # A box that is started again every few seconds tells nothing of growth.
    memory = {} if going.power else going.memory.told()
    print("scoreboard: judging", file=sys.stderr)
    stores: dict[str, list[float]] = {}
    for line in lines(going.folder / "senders.jsonl"):
        if line.get("status") == 0:
            stores.setdefault(line["phase"].partition(" ")[0], []).append(line["ms"])
    return Night(
        kind=kind,
        machine=_machine(),
        forked=going.box.forked,
        seconds=going.seconds,
        verdict=judging.judge(
            going.box, folder=going.folder, foreseen=FORESEEN if going.power else frozenset()
        ),
        memory=memory,
        stores=stores,
        **more,  # type: ignore[arg-type]
    )


def _machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} shared cores, {gib:.0f} GiB of memory"


def _run(asked: argparse.Namespace, folder: Path) -> Night:
    if asked.cuts:
        seed = int(time.time()) if asked.seed is None else asked.seed
        return power_cuts(folder, asked.cuts, senders=asked.senders or 4, seed=seed)
    seconds = asked.hours * 3600 if asked.hours else asked.minutes * 60
    run = department_day if asked.day else fault_night
    return run(folder, seconds, senders=asked.senders or (20 if asked.day else 6), forked=asked.forked)


def main() -> int:
    """Run what was asked for, and stop by itself."""
    parser = argparse.ArgumentParser(prog="scripts/scoreboard", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, without the settling (10)")
    parser.add_argument("--hours", type=float, help="how long, for a long night")
    parser.add_argument(
        "--day", action="store_true", help="a large department's day instead: 20 senders, no faults"
    )
    parser.add_argument(
        "--cuts",
        type=int,
        metavar="N",
        help="so many power cuts instead, on a disk that forgets (needs root)",
    )
    parser.add_argument("--seed", type=int, help="the seed of the power cuts; else the clock's")
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
    with ExitStack() as stack:
        folder = asked.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="readside-night-"))
        )
        try:
            night = _run(asked, folder)
        except NoLossyDisk as fault:
            parser.error(f"--cuts: {fault}")
    sections = sections_of(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {}
    sections[night.kind] = markdown(night)
    asked.out.write_text(page(sections), encoding="utf-8")
    print(json.dumps(night.as_json(), indent=2) if asked.json else markdown(night))
    return 0 if night.verdict.balance == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
