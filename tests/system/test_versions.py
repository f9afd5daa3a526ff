"""Versions of a model change under a running box: the next study is read by what serves, and none is lost."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from appliance.demo.box import Box
from appliance.ledger import inventory, jobs
from appliance.sync.activate import remove
from appliance.sync.box import ModelBox, Refused
from tests.appliance import packages
from tests.system import judging
from tests.system.boxes import Pacs, readside, service_pid, settled, store_all
from tests.system.conftest import StartBox
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
NAME = packages.NAME
SHIPPED = packages.shipped().manifest.version


def model(box: Box, *command: object, refused: bool = False) -> dict[str, Any]:
    """Run a command on models; return its JSON object."""
    said = readside("model", *command, "--config", box.config_path, "--json", seconds=120)
    assert said.returncode == (1 if refused else 0), said.stdout + said.stderr
    report: dict[str, Any] = json.loads(said.stdout)
    return report


def sent(box: Box) -> str:
    """Send a study to the box; return its UID."""
    study = made_up()
    store_all(box, list(study.instances()))
    return study.study_uid


def read_by(pacs: Pacs, box: Box, study_uid: str) -> set[str]:
    """Wait for a study's results; return the models that its report names."""
    settled(box, study_uid)
    (report,) = judging.reports([came.path for came in pacs.came_for(study_uid)])
    said = [text for item in report.ContributingEquipmentSequence for text in item.SoftwareVersions]
    return {text.removeprefix(f"{NAME} ") for text in said if text.startswith(f"{NAME} ")}


def job_of(box: Box, study_uid: str) -> str | None:
    """Return the version that a study's job names, once it is decided."""
    with box.ledger.read() as tx:
        return next((job.model_version for job in jobs.of_study(tx, study_uid)), None)


def test_the_box_follows_what_is_activated_and_finishes_what_was_decided(
    tmp_path: Path, pacs: Pacs, start_box: StartBox
) -> None:
    box = start_box(pacs.port)
    person = ModelBox(config=box.config, ledger=box.ledger, by="jo")
    made = model(box, "install", packages.bands(tmp_path / "made"), "--activate")
    assert made["activated"]["version"] == "1.1.0"
    assert read_by(pacs, box, sent(box)) == {"1.1.0"}

    worker = service_pid(box, "worker")
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    try:
        decided = sent(box)
        until(lambda: job_of(box, decided) == "1.1.0", seconds=60, what="the study is decided")
        bad = model(box, "install", packages.blind(tmp_path / "made"), "--activate", refused=True)
        assert "golden cases came out different" in bad["faults"][0]
        assert model(box, "rollback", NAME)["version"] == SHIPPED
        with pytest.raises(Refused, match="1 jobs still wait"):
            remove(person, NAME, "1.1.0")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert read_by(pacs, box, decided) == {"1.1.0"}, "the decision named it while it served"
    assert read_by(pacs, box, sent(box)) == {SHIPPED}

    remove(person, NAME, "1.1.0")
    lines = inventory.lines(box.ledger, person.catalogue())
    states = {line.version: line.state for line in lines if line.name == NAME}
    assert states == {SHIPPED: "SERVING", "1.1.0": "REMOVED", "1.2.0": "REJECTED"}
