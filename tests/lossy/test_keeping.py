"""The spool and the ledger on a disk that forgets: kept, purged and swept again, cut after cut (F43).

A child keeps images and purges them, and tells of each through a pipe, as the listener tells a sender.
The power goes at any moment; what is left is swept, and the next child goes on with it.
With a sync of ours left out, the same must fail.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.core.words import StudyState
from appliance.disk import durable
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.ledger import counts, engine, studies, tables
from appliance.ledger.engine import Ledger
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import Row
from appliance.spool.limits import SpoolLimits
from appliance.spool.retain import purge_old
from appliance.spool.store import Spool
from appliance.spool.sweep import sweep
from dicom_node.limits import Limits
from dicom_node.memory import Held
from tests.faults.boxes import STUDY, Rows, _empty_ledger, image_of
from tests.lossy.disk import LossyDisk, lossy_or_skip
from tests.lossy.mutants import MUTANTS

# Segments so small that each child fills, seals and empties several, and finds spares ready.
SMALL = SpoolLimits(
    staging_bytes=16 * 1024,
    lane_bytes_min=48 * 1024,
    growth_bytes=16 * 1024,
    disk=DiskLimits(
        segment_bytes_min=64 * 1024,
        segment_bytes_max=64 * 1024,
        spare_bytes_max=256 * 1024,
        fill_bytes=16 * 1024,
    ),
)
SURVIVE = (0.0, 0.0, 0.1, 0.5, 0.9)


@dataclass
class Witness:
    """What the children told: what they acknowledged, and what a purge was to take."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    going: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    def hear(self, word: str, uid: str, digest: str) -> None:
        """Take down one thing that was told."""
        if word == "kept":
            self.acknowledged[uid] = digest
        elif word == "purging":
            self.going = set(self.acknowledged) - self.gone
        elif word == "purged":
            self.gone |= self.going
            self.going = set()

    def judge(self, held: Mapping[str, str]) -> None:
        """Hold what the box has against it."""
        there = {uid: digest for uid, digest in held.items() if uid in self.acknowledged}
        must = set(self.acknowledged) - self.going - self.gone
        assert must <= set(there), f"{len(must - set(there))} acknowledged images are gone"
        assert all(self.acknowledged[uid] == digest for uid, digest in there.items())
        assert not self.gone & set(there), "what was purged is back"


def ledger_in(root: Path, clock: HeldClock) -> Ledger:
    """Open the ledger as the box does, but for the look whether its schema is the newest: it is."""
    return Ledger(engine._engine(f"sqlite:///{root / 'ledger.sqlite3'}", engine.LEDGER), clock)


class CountedRows(Rows):
    """Rows come a moment after the image is kept, from the threads that digest it."""

    came = 0

    def put(self, row: Row) -> None:
        super().put(row)
        self.came += 1


def work(root: Path, seed: int, mutant: str, tell: Callable[..., None]) -> None:
    """Keep and purge for ever, and tell of it."""
    if mutant:
        MUTANTS[mutant]()
    dice, kept = random.Random(seed), 0
    clock = HeldClock()
    clock.advance(seed * 100 * 86_400)
    spool = Spool(root)
    ledger = ledger_in(root, clock)
    sweep(ledger, spool, Limits())
    rows = CountedRows(ledger, spool)
    intake = SpoolIntake(spool, Floor(root, 0), rows, on_fault=lambda: os._exit(1), clock=clock, limits=SMALL)
    intake.start()
    while True:
        throw = dice.random()
        if throw < 0.8:
            kept += 1
            uid = f"1.2.3.{seed}.{kept}"
            held = image_of(dice.choice((400, 5_000, 9_000, 40_000)), SOPInstanceUID=uid)
            bring(intake, held)
            tell("kept", held.header.sop_instance_uid, str(hash(held.data)))
        elif throw < 0.96:
            rows.flush()
        else:
            while rows.came < kept:
                time.sleep(0.001)
            rows.flush()
            with ledger.write() as tx:
                tx.execute(tables.studies.update().values(state=StudyState.CLOSED))
            clock.advance(2 * 86_400)
            tell("purging", "", "")
            while purge_old(ledger, spool, retain_days=1):
                pass
            tell("purged", "", "")


def bring(intake: SpoolIntake, held: Held) -> None:
    incoming = intake.begin()
    left = memoryview(held.data)
    while left:
        room = incoming.room()
        count = min(len(room), len(left))
        room[:count] = left[:count]
        incoming.filled(count)
        left = left[count:]
    with incoming.whole():
        pass
    incoming.keep(held)


def told_by_a_child(disk: LossyDisk, seed: int, mutant: str, witness: Witness) -> None:
    """Let a child work on the disk until the power goes; take down what it told."""
    out, into = os.pipe()

    def tell(*words: str) -> None:
        os.write(into, json.dumps(words).encode() + b"\n")

    child = multiprocessing.get_context("fork").Process(
        target=work, args=(disk.folder / "box", seed, mutant, tell), daemon=True
    )
    child.start()
    os.close(into)
    dice = random.Random(seed)
    with open(out, encoding="ascii") as said:
        for _ in range(dice.randint(1, 60)):
            if line := said.readline():
                witness.hear(*json.loads(line))
        time.sleep(dice.uniform(0, 0.01))
        disk.halt()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        disk.cut(seed=seed, survive=dice.choice(SURVIVE), grain_bytes=dice.choice((512, 4096)))
        child.join(30)
        for line in said:
            witness.hear(*json.loads(line))


def look(root: Path, witness: Witness) -> None:
    """Start on what the cut left, and judge."""
    spool = Spool(root)
    ledger = ledger_in(root, HeldClock())
    try:
        swept = sweep(ledger, spool, Limits())
        assert swept.missing == 0, "the ledger names bytes that are not there"
        with ledger.read() as tx:
            found = studies.instances_of(tx, STUDY)
            assert counts.count(tx).balance == 0
        assert len({one.sop_instance_uid for one in found}) == len(found), "none doubled"
        witness.judge({one.sop_instance_uid: str(hash(spool.read(one.location))) for one in found})
    finally:
        ledger.close()
    with closing(sqlite3.connect(root / "ledger.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def cut_often(disk: LossyDisk, times: int, *, first: int = 0, mutant: str = "") -> Witness:
    """Go through so many cuts, and judge after each."""
    root = durable.make_folder(disk.folder / "box")
    durable.write_file(root / "ledger.sqlite3", _empty_ledger())
    witness = Witness()
    for seed in range(first, first + times):
        told_by_a_child(disk, seed, mutant, witness)
        look(root, witness)
    return witness


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LossyDisk]:
    with lossy_or_skip(tmp_path / "disk", restless=0.1) as mounted:
        yield mounted


class TestF43PowerCut:
    """The power goes at any moment, and takes what no sync covered."""

    def test_f43_what_was_acknowledged_is_there_after_each_of_many_cuts(self, disk):
        witness = cut_often(disk, 10)
        assert len(witness.acknowledged) > 100
        assert witness.gone

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("first", [1_000, 2_000, 3_000])
    def test_f43_what_was_acknowledged_is_there_after_each_of_very_many_cuts(self, disk, first):
        assert len(cut_often(disk, 200, first=first).acknowledged) > 2_000

    @pytest.mark.parametrize("mutant", MUTANTS)
    def test_f43_where_a_sync_of_ours_is_left_out_the_same_cuts_find_it(self, disk, mutant):
        with pytest.raises((AssertionError, sqlite3.DatabaseError, engine.LedgerRefused, OSError)):
            cut_often(disk, 40, mutant=mutant)


def test_the_witness_is_not_blind() -> None:
    """It must complain of what is gone, of what came back, and of other bytes."""
    witness = Witness()
    witness.hear("kept", "1", "a")
    witness.judge({"1": "a"})
    for lie in ({}, {"1": "b"}):
        with pytest.raises(AssertionError):
            witness.judge(lie)
    witness.hear("purging", "", "")
    witness.judge({})
    witness.judge({"1": "a"})
    witness.hear("purged", "", "")
    with pytest.raises(AssertionError, match="is back"), suppress(KeyError):
        witness.judge({"1": "a"})
