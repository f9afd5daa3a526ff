"""A person asks for a study: a real Orthanc sends it (C-MOVE), or gives it where it is asked (C-GET)."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.demo.box import Box
from appliance.ledger import studies
from tests.system.boxes import make_box, readside, running, service_pid, spooled, status, words
from tests.system.images import files, made_up
from tests.system.orthanc import Orthanc
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(300)
_PEER = """
[[peers]]
name = "archive"
ae_title = "{title}"
host = "127.0.0.1"
port = {port}
may = ["store", "query"]
retrieve = "{way}"
"""


@pytest.mark.parametrize("way", ["get", pytest.param("move", marks=pytest.mark.long)])
def test_a_study_that_somebody_asks_for_is_fetched(tmp_path: Path, at_end: ExitStack, way: str) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    peer = _PEER.format(title=orthanc.ae_title, port=orthanc.dicom_port, way=way)
    box = make_box(tmp_path / "site", pacs_port=1, more=peer)
    orthanc.start(box_port=box.config.dicom.port, forward="false")
    at_end.callback(orthanc.stop)
    study, other = made_up((12, 64, 64)), made_up((3, 32, 32))
    for path in files([*study.instances(), *other.instances()], tmp_path / "files"):
        orthanc.upload(path)

    with running(box):
        assert _asked(box, study.study_uid) == ("FETCHED", "fetch.whole")

        images = {item.sop_instance_uid: item.data for item in study.instances()}
        with box.ledger.read() as tx:
            here = studies.instances_of(tx, study.study_uid)
        assert {one.sop_instance_uid for one in here} == set(images)
        # Byte for byte what Orthanc was given, and nothing of any other study.
        assert spooled(box) == dict.fromkeys(images.values(), 1)
        assert words(box)[f"{way}.done"] == 1

        assert _asked(box, study.study_uid) == ("FETCHED", "fetch.was_here")
        assert _asked(box, "2.25.404") == ("FAILED", "fetch.not_there")
        said = readside("studies", study.study_uid, "--config", box.config_path)
        assert said.stdout.count("fetch.asked") == 2
        assert said.stdout.count("fetch.done") == 2
        assert readside("studies", "2.25.404", "--config", box.config_path).stdout.count("fetch.failed") == 1
        assert status(box)["balance"] == 0


@pytest.mark.long
def test_a_listener_that_is_killed_while_it_gets_a_study_gets_the_rest(
    tmp_path: Path, at_end: ExitStack
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    peer = _PEER.format(title=orthanc.ae_title, port=orthanc.dicom_port, way="get")
    box = make_box(tmp_path / "site", pacs_port=1, more=peer)
    orthanc.start(box_port=box.config.dicom.port, forward="false")
    at_end.callback(orthanc.stop)
    study = made_up((150, 128, 128))
    for path in files(study.instances(), tmp_path / "files"):
        orthanc.upload(path)
    with running(box):
        readside("fetch", study.study_uid, "--from", "archive", "--config", box.config_path)
        until(lambda: sum(spooled(box).values()) >= 10, seconds=60, what="some of the study")
        first = service_pid(box, "listener")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert sum(spooled(box).values()) < 150, "it was over before it was killed"
        assert _asked(box, study.study_uid) == ("FETCHED", "fetch.whole")
        until(lambda: sum(spooled(box).values()) == 150, seconds=30, what="one copy of each")
        assert spooled(box) == {item.data: 1 for item in study.instances()}
        assert status(box)["balance"] == 0


def test_what_cannot_be_asked_is_said_at_once(tmp_path: Path) -> None:
    box = make_box(tmp_path / "site", pacs_port=1)
    box.config.storage.root.mkdir()
    for uid, peer, sentence in (
        ("not a uid", "pacs", "malformed"),
        ("1.2.3", "nobody", "no peer is called"),
        ("1.2.3", "pacs", '"query"'),
    ):
        said = readside("fetch", uid, "--from", peer, "--config", box.config_path)
        assert said.returncode == 2
        assert sentence in said.stderr


def test_who_only_asks_sees_it_among_the_studies(tmp_path: Path) -> None:
    box = make_box(tmp_path / "site", pacs_port=1, pacs_may=("store", "query"))
    box.config.storage.root.mkdir()
    for said in ("is asked", "was asked already"):
        asked = readside("fetch", "1.2.3", "--from", "pacs", "--config", box.config_path)
        assert (asked.returncode, said in asked.stdout) == (0, True), asked.stdout + asked.stderr
    listed = readside("studies", "--config", box.config_path).stdout
    assert "1.2.3 is being fetched from pacs" in listed


def _asked(box: Box, study_uid: str) -> tuple[str, str]:
    said = readside(
        "fetch", study_uid, "--from", "archive", "--wait", "120", "--json", "--config", box.config_path,
        seconds=150,
    )  # fmt: skip
    told = json.loads(said.stdout.splitlines()[-1])
    assert said.returncode == (0 if told["state"] == "FETCHED" else 1), said.stderr
    return told["state"], told["word"]
