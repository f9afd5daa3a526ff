"""The kill storm (F42): 300 SIGKILLs over all services, every named crash point among them, in traffic.

Services are forked from a supervisor that has everything loaded, so that each start costs little; from there
on they run what the box runs. The judges are the journals of the senders and of the PACS.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from appliance.core.crash import COMMITMENT_POINTS, POINTS
from appliance.demo.box import Box, free_ports
from appliance.ledger import commitments, counts, promises
from appliance.ledger.tables import uncommitted
from scripts.night.archive import Asking, Book, Telling, listening
from scripts.night.journal import Journal
from scripts.night.judge import Verdict, judge
from scripts.night.kills import Storm, tally
from scripts.night.pacs import Moods
from scripts.night.senders import CALLING_AE, Sender, Template, digest_of
from scripts.night.session import Course, course
from scripts.night.site import PACS_AE
from tests.system.waiting import until

KILLS = 300
# A request that waits longer than this for its report, which nobody owes any more, is asked again.
HURRIED_SECONDS = 60.0
# Seconds between two kills of a service. Those that have much to lose are killed most.
PAUSES = {
    "listener": 0.9,
    "conductor": 0.5,
    "worker": 3.0,
    "courier": 0.3,
    "audit": 0.6,
    "console": 1.0,
}


def stormed(
    going: Course, *, kills: int, seconds_max: float, points: Mapping[str, Sequence[str]] = POINTS
) -> Storm:
    """Send, kill until it is enough, and let everything come to rest."""
    storm = Storm(going.box, Journal(going.folder / "kills.jsonl"), pauses=PAUSES, points=points)
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


def traffic() -> dict[str, Any]:
    """What is sent meanwhile: studies that the route wants, and others."""
    return {
        "templates": [Template(5, 32, wanted=True), Template(8, 48, wanted=False)],
        "pause_seconds": 0.2,
        "odd": 0.15,
        "waiting_max": 4,
        "late_seconds": 2.0,
    }


@pytest.mark.timeout(400)
def test_f42_a_storm_of_kills_at_every_crash_point_loses_nothing(tmp_path: Path) -> None:
    with course(tmp_path, forked=True, retain_seconds=20, quiet_seconds=0.4, traffic=traffic()) as going:
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


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_f42_a_storm_with_storage_commitment_forgets_no_promise(tmp_path: Path) -> None:
    """The PACS has to commit what it accepted, and a modality asks the box; both roles die at each point."""
    points = {name: (*POINTS.get(name, ()), *COMMITMENT_POINTS.get(name, ())) for name in PAUSES}
    modality = Book(Journal(tmp_path / "promised.jsonl"), commits=False)
    quiet, stopping = threading.Event(), threading.Event()
    (port,) = free_ports(1)
    site: dict[str, Any] = {"retain_seconds": 600.0, "quiet_seconds": 0.4, "modality_port": port}
    with (
        listening(modality, CALLING_AE, port),
        course(tmp_path, forked=True, traffic=traffic(), **site) as going,
    ):
        archive = going.pacs.steward
        assert isinstance(archive, Book)
        asking = Asking(modality, going.box, CALLING_AE, tmp_path / "senders.jsonl", quiet)
        telling = Telling(archive, going.box, PACS_AE, stopping)
        for thread in (asking, telling):
            thread.start()
        try:
            storm = stormed(going, kills=KILLS, seconds_max=1_200, points=points)
            found = tally(going.box, storm.told)
            assert set(found.by_point) >= {name for names in points.values() for name in names}
            assert found.unforeseen == []
            quiet.set()
            asking.join(60)
            until(lambda: _nothing_is_owed(going.box), seconds=300, what="everything is committed and told")
        finally:
            for event in (quiet, stopping):
                event.set()
            telling.join(60)
        verdict = judge(going.box, folder=tmp_path)
        assert verdict.examples == {}
        assert modality.heard
        with going.box.ledger.read() as tx:
            states = counts.count(tx).deliveries
        assert set(states) == {"COMMITTED"}


def _nothing_is_owed(box: Box) -> bool:
    """Whether nothing waits for a report; a request that died before it was made waits no ten minutes."""
    with box.ledger.write() as tx:
        waits = (uncommitted.c.ended_at.is_(None), uncommitted.c.commitment_id.is_not(None))
        late = uncommitted.c.due_at > box.ledger.clock.now() + HURRIED_SECONDS
        tx.execute(sa.update(uncommitted).where(*waits, late).values(due_at=0.0))
        return not commitments.standing(tx) and not promises.standing(tx).get("OWED")


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
