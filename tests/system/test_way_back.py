"""A release that passes its golden cases and fails among real studies: a running box goes back by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.core.words import JobState
from appliance.demo.box import Box
from appliance.ledger import jobs
from appliance.ledger.engine import open_ledger
from provisioning.registry.book import Book
from provisioning.registry.promote import claim, promote
from provisioning.registry.publish import publish
from tests.appliance import packages
from tests.system.boxes import BANDS, Pacs, readside, settled, store_all
from tests.system.conftest import StartBox
from tests.system.images import made_up
from tests.system.test_registry import NAME, SHIPPED, serves
from tests.system.test_versions import read_by
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(300)
FLAWED = "1.2.0"
STUDIES = 3


def versions_of(box: Box, study_uid: str) -> dict[str, JobState]:
    ledger = open_ledger(box.config.ledger_url)
    try:
        with ledger.read() as tx:
            return {job.model_version: job.state for job in jobs.of_study(tx, study_uid)}
    finally:
        ledger.close()


def test_a_release_that_fails_its_jobs_is_sent_back_and_everything_says_why(
    tmp_path: Path, pacs: Pacs, start_box: StartBox
) -> None:
    book, keys = Book(folder=tmp_path / "registry"), tmp_path / "keys"
    book.create(keys)
    claim(book, "box-1", tmp_path / "claim")
    publish(book, packages.flawed(tmp_path / "made", FLAWED), [keys])
    promote(book, NAME, FLAWED, ["box-1"])
    section = (
        f'\n[registry]\nurl = "{book.layout.public.as_uri()}"\ndevice = "box-1"\n'
        f'roots = "{tmp_path}/claim"\nevery_seconds = 1\n'
    )
    box = start_box(pacs.port, more=BANDS + section)
    until(lambda: serves(box) == FLAWED, seconds=120, what="the assigned release serves")

    sent = [made_up() for _ in range(STUDIES)]
    for study in sent:
        store_all(box, list(study.instances()))
    for study in sent:
        settled(box, study.study_uid)
        assert versions_of(box, study.study_uid) == {FLAWED: JobState.FAILED}
        notices = [came.path.read_bytes() for came in pacs.came_for(study.study_uid)]
        assert notices, "a failure is a result that can be seen"
        assert all(FLAWED.encode() in notice for notice in notices), "it says which version failed"

    until(lambda: serves(box) == SHIPPED, seconds=120, what="the version before serves again")
    after = made_up()
    store_all(box, list(after.instances()))
    settled(box, after.study_uid)
    assert versions_of(box, after.study_uid) == {SHIPPED: JobState.DONE}
    assert read_by(pacs, box, after.study_uid) == {SHIPPED}

    report = json.loads(readside("status", "--config", box.config_path, "--json", seconds=60).stdout)
    (release,) = report["releases"]
    assert (release["version"], release["phase"], release["word"]) == (FLAWED, "rolled_back", "failing_jobs")
    assert f"failed on {STUDIES} studies in a row" in release["why"]
    assert report["balance"] == 0
    why = readside("why", after.study_uid, "--config", box.config_path, seconds=60).stdout
    assert f"{NAME} {FLAWED} is assigned to this box: this device went back from it" in why
