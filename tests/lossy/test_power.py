"""The power of a whole box goes, again and again, in traffic (F43): nothing acknowledged is lost by it.

The box's storage stands on a disk that forgets what was not synced. Its services are forked from a process
that has everything loaded; from there on they run what the box runs. The judges are the journals of the
senders and of the PACS.
"""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path

import pytest

from appliance.audit.checkpoint import KeyFault
from appliance.demo.box import NotReady
from appliance.ledger.engine import LedgerRefused
from scripts.night.cuts import FORESEEN, Power
from scripts.night.judge import Verdict, judge
from scripts.night.senders import Sender, Template
from scripts.night.session import course
from scripts.night.site import SUPERVISE
from tests.lossy.disk import NoLossyDisk

# A box that cannot start any more on what is left of it, or cannot be judged.
FOUND_OUT = (NotReady, LedgerRefused, KeyFault, sqlite3.DatabaseError, subprocess.TimeoutExpired)
TEMPLATES = [
    Template(5, 32, wanted=True),
    Template(8, 48, wanted=False),
    # Longer than what is written at once.
    Template(1, 1024, wanted=False),
]
TRAFFIC = {
    "templates": TEMPLATES,
    "pause_seconds": 0.2,
    "odd": 0.15,
    "waiting_max": 4,
    "late_seconds": 1.0,
}
TIMES = {"retain_seconds": 15, "quiet_seconds": 0.4}


def judged(folder: Path, *, cuts: int, seed: int, mutant: str = "") -> tuple[Verdict, Power]:
    """Cut the power of a box in traffic, let it come to rest, and judge; the box may lack a sync."""
    program = ("tests.lossy.mutants", mutant) if mutant else SUPERVISE
    try:
        with course(folder, forked=True, traffic=TRAFFIC, power_seed=seed, program=program, **TIMES) as going:
            assert going.power is not None
            sending = [Sender(going.traffic, number) for number in range(3)]
            for sender in sending:
                sender.start()
            going.power.cut_often(cuts)
            going.settle(sending)
            return judge(going.box, folder=folder, foreseen=FORESEEN), going.power
    except NoLossyDisk as fault:
        pytest.skip(f"no file system that forgets: {fault}")


class TestF43PowerCut:
    """Of a whole box."""

    def test_f43_a_box_whose_power_is_cut_in_traffic_loses_nothing(self, tmp_path: Path) -> None:
        verdict, power = judged(tmp_path, cuts=3, seed=1)
        assert verdict.examples == {}
        assert verdict.figures["instances acknowledged"] > 20
        assert sum(cut.lost for cut in power.cuts) > 100, "there was something to lose"

    @pytest.mark.long
    @pytest.mark.timeout(1500)
    def test_f43_fifty_cuts_lose_nothing(self, tmp_path: Path) -> None:
        verdict, power = judged(tmp_path, cuts=50, seed=50)
        assert verdict.examples == {}
        assert power.while_starting > 3
        assert verdict.figures["jobs"]["DONE"] > 3

    @pytest.mark.long
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("mutant", ["segments", "ledger"])
    def test_f43_a_box_that_lacks_a_sync_is_found_out(self, tmp_path: Path, mutant: str) -> None:
        try:
            verdict, _ = judged(tmp_path, cuts=6, seed=3, mutant=mutant)
        except FOUND_OUT:
            return
        assert verdict.balance > 0
