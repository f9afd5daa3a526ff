"""A version runs beside the one that serves on a running box: counted, killed over, and never sent."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from appliance.core.words import JobState
from appliance.demo.box import Box
from appliance.ledger import agreements, comparisons, jobs, shadows
from appliance.ledger.comparisons import Standing
from tests.appliance import packages
from tests.system import judging
from tests.system.boxes import Pacs, readside, service_pid, settled, status, store_all
from tests.system.conftest import StartBox
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(300)
NAME = packages.NAME
SHIPPED = packages.shipped().manifest.version


def model(box: Box, *command: object) -> dict[str, Any]:
    """Run a command on models; return its JSON object."""
    said = readside("model", *command, "--config", box.config_path, "--json", seconds=120)
    assert said.returncode == 0, said.stdout + said.stderr
    report: dict[str, Any] = json.loads(said.stdout)
    return report


def sent(box: Box) -> str:
    """Send a study to the box; return its UID."""
    study = made_up()
    store_all(box, list(study.instances()))
    return study.study_uid


def ended(box: Box, count: int) -> list[comparisons.Comparison]:
    """Wait until so many comparisons have ended; return them."""

    def look() -> list[comparisons.Comparison]:
        with box.ledger.read() as tx:
            (shadow,) = shadows.latest(tx, limit=1)
            rows = comparisons.of_shadow(tx, shadow.id, limit=9)
        over = [one for one in rows if one.ended_at is not None]
        return over if len(over) == count else []

    return until(look, seconds=200, what=f"{count} comparisons ended")


def only_what_serves(box: Box, pacs: Pacs, *study_uids: str) -> None:
    """Hold everything that came to the PACS against the version that serves, and the box's own counts."""
    for study_uid in study_uids:
        came = [Path(one.path) for one in pacs.came_for(study_uid)]
        (report,) = judging.reports(came)
        said = [text for item in report.ContributingEquipmentSequence for text in item.SoftwareVersions]
        assert f"{NAME} {SHIPPED}" in said
        assert not any(f"{NAME} 1.1.0".encode() in path.read_bytes() for path in came)
    counted = status(box)
    assert (counted["balance"], counted["results"]) == (0, len(study_uids))


def test_studies_are_compared_and_only_the_version_that_serves_is_sent(
    tmp_path: Path, pacs: Pacs, start_box: StartBox
) -> None:
    box = start_box(pacs.port)
    model(box, "install", packages.bands(tmp_path / "made"))
    model(box, "shadow", "start", NAME, "1.1.0")
    first = sent(box)
    settled(box, first)
    (compared,) = ended(box, 1)
    assert compared.state is Standing.DONE
    assert model(box, "shadow")["agreements"][0]["agreement"][0] == 1.0, "it is the same network"
    only_what_serves(box, pacs, first)


@pytest.mark.long
def test_a_worker_that_is_killed_loses_no_study_and_no_count(
    tmp_path: Path, pacs: Pacs, start_box: StartBox
) -> None:
    box = start_box(pacs.port)
    model(box, "install", packages.bands(tmp_path / "made"))
    model(box, "shadow", "start", NAME, "1.1.0")
    first = sent(box)
    settled(box, first)
    ended(box, 1)
    second = sent(box)
    until(lambda: _done(box, second), seconds=60, what="the second study has its result")
    worker = service_pid(box, "worker")
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    settled(box, second)
    ended(box, 2)
    with box.ledger.read() as tx:
        (found,) = agreements.everything(tx, limit=9)
    assert found.tally.studies + found.passed_over == 2

    only_what_serves(box, pacs, first, second)


def _done(box: Box, study_uid: str) -> bool:
    with box.ledger.read() as tx:
        return any(job.state is JobState.DONE for job in jobs.of_study(tx, study_uid))
