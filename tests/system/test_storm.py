"""The kill storm (F42): 300 SIGKILLs over all services, every named crash point among them, in traffic.

Services are forked from a supervisor that has everything loaded, so that each start costs little; from there
on they run what the box runs. The judges are the journals of the senders and of the PACS.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.core.crash import POINTS
from scripts.night.journal import Journal
from scripts.night.judge import Verdict, judge
from scripts.night.kills import Storm, tally
from scripts.night.pacs import Moods
from scripts.night.senders import Sender, Template, digest_of
from scripts.night.session import Course, course
from tests.system.waiting import until

KILLS = 300
# Seconds between two kills of a service. Those that have much to lose are killed most.
PAUSES = {
    "listener": 0.9,
    "conductor": 0.5,
    "worker": 3.0,
    "courier": 0.3,
    "audit": 0.6,
    "console": 1.0,
}


def stormed(going: Course, *, kills: int, seconds_max: float) -> Storm:
    """Send, kill until it is enough, and let everything come to rest."""
    storm = Storm(going.box, Journal(going.folder / "kills.jsonl"), pauses=PAUSES)
    # No worse: a courier that is killed in mid-sending has tried, and waits the longer for a PACS that fails.
    moods = Moods(going.pacs, Journal(going.folder / "moods.jsonl"), storm.stopping, ("slow",))
    sending = [Sender(going.traffic, number) for number in range(4)]
    for thread in (*sending, moods):
        thread.start()
    killers = storm.start()
    until(
        lambda: storm.kills >= kills and storm.over, seconds=seconds_max, what=f"{kills} kills, {storm.left}"
    )
    storm.stopping.set()
    for thread in (*killers, moods):
        thread.join(90)
    going.settle(sending)
    return storm


@pytest.mark.timeout(400)
def test_f42_a_storm_of_kills_at_every_crash_point_loses_nothing(tmp_path: Path) -> None:
    templates = [Template(5, 32, wanted=True), Template(8, 48, wanted=False)]
    traffic = {
        "templates": templates,
        "pause_seconds": 0.2,
        "odd": 0.15,
        "waiting_max": 4,
        "late_seconds": 2.0,
    }
    with course(tmp_path, forked=True, retain_seconds=20, quiet_seconds=0.4, traffic=traffic) as going:
        storm = stormed(going, kills=KILLS, seconds_max=300)
        found = tally(going.box, storm.told)
        assert found.kills >= KILLS
        assert set(found.by_service) == set(PAUSES)
        assert set(found.by_point) == {name for names in POINTS.values() for name in names}
        assert found.unforeseen == []
        verdict = judge(going.box, folder=tmp_path)
        assert verdict.examples == {}
        assert verdict.figures["studies"] > 10
        assert verdict.figures["jobs"]["DONE"] > 3
        _the_judge_is_not_blind(verdict, lambda: judge(going.box, folder=tmp_path), tmp_path)


def _the_judge_is_not_blind(before: Verdict, again: Callable[[], Verdict], folder: Path) -> None:
    """Lies in the journals must show, each in its own line."""
    made_up = {"uid": "1.2.3", "digest": digest_of(b"never sent")}
    lies = {
        "senders.jsonl": [
            {**made_up, "status": 0, "ms": 1, "phase": "lie"},
            {"study": "1.2", "instances": 3, "wanted": True, "at": time.time()},
            {"study": "1.2", "complete": True, "at": time.time()},
        ],
        "pacs/accepted.jsonl": [{**made_up, "study": "1.2", "sop_class": "1.2", "at": time.time()}],
    }
    for name, some in lies.items():
        with (folder / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + os.linesep for line in some)
    shown = {name for name, number in again().lines.items() if number != before.lines[name]}
    assert shown == {
        "acknowledged and not in the box, byte for byte",
        "complete studies without a decision",
        "complete studies without a report on all of it at the PACS",
        "objects the PACS accepted and the ledger lacks",
    }
