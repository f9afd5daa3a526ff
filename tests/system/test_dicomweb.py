"""STOW-RS with a real Orthanc and a real box, in both directions, and a box that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.demo.box import Box, free_ports
from appliance.ledger import studies
from appliance.spool.extract import instances_in
from dicom_node.send import Outgoing
from tests.dicom_node.dicomweb.client import FAILED, RELATED, STORED, body_of, post
from tests.system.boxes import make_box, running, service_pid, settled, spooled, status, words
from tests.system.images import files, made_up, part10
from tests.system.orthanc import Orthanc
from tests.system.waiting import until
from tests.viewers.pacs import plugin

pytestmark = pytest.mark.timeout(300)
TOKEN = "what-the-archive-shows"
_CLIENT = f"""
[[dicomweb.clients]]
name = "archive"
ae_title = "ARCHIVE"
token_sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
"""
_ROUTE = """
[[routes]]
name = "bands"
when = 'Modality == "CT" && slices >= 3'
model = "ct-tissue-bands"
send_to = ["web"]

[[peers]]
name = "web"
ae_title = "WEBPACS"
dicomweb = "http://127.0.0.1:{http}/dicom-web"
outputs = ["sr", "seg", "sc"]

[dicomweb]
port = {stow}
"""


class WebOrthanc(Orthanc):
    """One Orthanc that stores by STOW-RS in the box, and takes what is stored so in it."""

    def __init__(self, folder: Path, *, stow_port: int) -> None:
        super().__init__(folder)
        self._stow_port = stow_port

    @property
    def http_port(self) -> int:
        return self._http_port

    def stow(self, study_uid: str) -> None:
        """Have it store a study of its own in the box."""
        query = {"Level": "Study", "Query": {"StudyInstanceUID": study_uid}}
        (study,) = self.ask("/tools/find", json.dumps(query).encode())
        order = {"Resources": [study], "Synchronous": True}
        self.ask("/dicom-web/servers/box/stow", json.dumps(order).encode())

    def _configuration(self, box_port: int, script: Path) -> dict[str, Any]:
        box = {
            "Url": f"http://127.0.0.1:{self._stow_port}/",
            "HttpHeaders": {"Authorization": f"Bearer {TOKEN}"},
        }
        web = {"Enable": True, "Root": "/dicom-web/", "Servers": {"box": box}}
        return super()._configuration(box_port, script) | {"Plugins": [str(plugin())], "DicomWeb": web}


def web_box(folder: Path, *, http_port: int = 1) -> tuple[Box, int]:
    """Write a box that takes and gives by STOW-RS; nothing runs yet."""
    (stow_port,) = free_ports(1)
    more = _ROUTE.format(http=http_port, stow=stow_port) + _CLIENT
    return make_box(folder, pacs_port=1, more=more), stow_port


def kept(box: Box, study_uid: str) -> list[str]:
    with box.ledger.read() as tx:
        return sorted(one.sop_instance_uid for one in studies.instances_of(tx, study_uid))


def part10s(items: Iterable[Outgoing]) -> list[bytes]:
    return [part10(item) for item in items]


def test_orthanc_stows_a_study_and_gets_the_results_stowed(tmp_path: Path, at_end: ExitStack) -> None:
    (stow_port,) = free_ports(1)
    orthanc = WebOrthanc(tmp_path / "orthanc", stow_port=stow_port)
    more = _ROUTE.format(http=orthanc.http_port, stow=stow_port) + _CLIENT
    box = make_box(tmp_path / "site", pacs_port=1, more=more)
    orthanc.start(box_port=1, forward="false")
    at_end.callback(orthanc.stop)
    at_end.enter_context(running(box))
    study = made_up((12, 64, 64))
    for path in files(study.instances(), tmp_path / "files"):
        orthanc.upload(path)

    orthanc.stow(study.study_uid)

    settled(box, study.study_uid)
    images = {item.sop_instance_uid: item.data for item in study.instances()}
    assert kept(box, study.study_uid) == sorted(images)
    # What Orthanc holds, the box has byte for byte.
    assert set(images.values()) <= set(spooled(box))
    results = orthanc.results(study.study_uid, tmp_path / "results")
    delivered = [d for d in box.account(study.study_uid).deliveries if d.state == "ACCEPTED"]
    assert len(results) == len(delivered) >= 3
    assert {d.word for d in delivered} == {"courier.accepted"}
    assert {one.record.calling_ae for one in instances_in(box.config.storage.root / "kept")} == {"ARCHIVE"}
    # Sent again, all of it is there already, and nothing comes of it.
    orthanc.stow(study.study_uid)
    assert kept(box, study.study_uid) == sorted(images)
    assert status(box)["balance"] == 0
    assert words(box)["dicomweb.stored"] == 2


@pytest.mark.long
def test_a_listener_killed_in_mid_request_has_each_instance_once_after_it_is_sent_again(
    tmp_path: Path,
) -> None:
    box, stow_port = web_box(tmp_path / "site")
    study = made_up((24, 64, 64))
    items = list(study.instances())
    body = body_of(part10s(items))
    with running(box):
        assert post(stow_port, b"", token="wrong").status == 401
        first = service_pid(box, "listener")
        assert first is not None
        with socket.create_connection(("127.0.0.1", stow_port), timeout=20) as connection:
            connection.sendall(_head(len(body)) + body[: 2 * len(body) // 3])
            until(lambda: sum(spooled(box).values()) >= 12, seconds=30, what="half of the request is on disk")
            os.kill(first, signal.SIGKILL)
            # No answer: nothing of it was acknowledged.
            assert _rest(connection) == b""
        until(lambda: service_pid(box, "listener") not in (None, first), seconds=60, what="another listener")
        until(lambda: _answers(stow_port), seconds=60, what="the port answers again")
        reply = post(stow_port, body, token=TOKEN, path=f"/studies/{study.study_uid}")
        assert reply.status == 200
        assert sorted(reply.instances(STORED)) == sorted(item.sop_instance_uid for item in items)
        until(lambda: len(kept(box, study.study_uid)) == len(items), seconds=30, what="rows of all instances")
        until(lambda: sum(spooled(box).values()) == len(items), seconds=30, what="one copy of each")
        assert spooled(box) == {item.data: 1 for item in items}
        assert status(box)["balance"] == 0


@pytest.mark.long
def test_a_disk_at_its_floor_is_503_and_the_study_hears_of_it(tmp_path: Path) -> None:
    (stow_port,) = free_ports(1)
    more = _ROUTE.format(http=1, stow=stow_port) + _CLIENT
    box = make_box(tmp_path / "site", pacs_port=1, more=more, floor_gib=10**6)
    study = made_up((3, 32, 32))
    with running(box):
        reply = post(stow_port, body_of(part10s(study.instances())), token=TOKEN)
        assert (reply.status, reply.fields["retry-after"]) == (503, "60")
        assert reply.reasons(FAILED) == [0xA700] * 3
        assert kept(box, study.study_uid) == []


def _head(length: int) -> bytes:
    return (
        f"POST /studies HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: {RELATED}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except ConnectionError:
        return b""


def _answers(port: int) -> bool:
    try:
        return post(port, b"", token=TOKEN).status == 400
    except OSError:
        return False
