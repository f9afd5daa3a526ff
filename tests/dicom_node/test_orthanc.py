"""Orthanc as the other side of echo, send, query, and of its own sending to us."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_node.accepts import accepts
from dicom_node.echo import echo
from dicom_node.find import find_instances
from dicom_node.get import Wanted, get
from dicom_node.query import count_instances
from dicom_node.receive import Reception
from dicom_node.send import Outgoing, send
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, EXPLICIT, LIMITS, Sample, Shelf, real, sample

STUDY = "2.25.102"


def free_ports(count: int) -> list[int]:
    # Below the ports of outgoing connections: other tests beside this one make many of those.
    ports: set[int] = set()
    while len(ports) < count:
        port = secrets.choice(range(15_000, 32_000))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.add(port)
    return list(ports)


class Orthanc:
    """A running Orthanc: its DICOM side and its REST side."""

    def __init__(self, dicom_port: int, http_port: int) -> None:
        self.peer = Peer(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=dicom_port, may=frozenset({"query"})
        )
        self._url = f"http://127.0.0.1:{http_port}"

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self._url + path, data), timeout=20) as reply:
            return json.loads(reply.read())

    def file(self, instance: str) -> bytes:
        with urllib.request.urlopen(f"{self._url}/instances/{instance}/file", timeout=20) as reply:
            whole: bytes = reply.read()
            return whole


@pytest.fixture
def orthanc(box: Peer, tmp_path: Path) -> Iterator[Orthanc]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is not installed")
    dicom_port, http_port = free_ports(2)
    configuration = tmp_path / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "Name": "PACS",
                "StorageDirectory": str(tmp_path / "storage"),
                "IndexDirectory": str(tmp_path / "storage"),
                "DicomAet": "PACS",
                "DicomPort": dicom_port,
                "HttpPort": http_port,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "Plugins": [],
                "DicomModalities": {"box": ["BOX", box.host, box.port], "me": ["CTSCAN", "127.0.0.1", 1]},
                "DicomAlwaysAllowFind": True,
            }
        )
    )
    process = subprocess.Popen(
        [program, str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Orthanc(dicom_port, http_port)
    try:
        deadline = time.monotonic() + 30
        while not echo(server.peer, calling_ae="CTSCAN", limits=LIMITS).ok:
            assert time.monotonic() < deadline, "Orthanc did not start"
            assert process.poll() is None
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def test_orthanc_takes_counts_and_sends_back_every_byte(orthanc: Orthanc, box: Peer, shelf: Shelf) -> None:
    knowns = [sample(SOPInstanceUID=f"2.25.{n}", InstanceNumber=n) for n in range(1, 8)]
    objects = [
        Outgoing(
            sop_class_uid=CT,
            sop_instance_uid=known.sop_instance_uid,
            transfer_syntax_uid=known.transfer_syntax_uid,
            data=known.data,
        )
        for known in knowns
    ]
    results = list(send(orthanc.peer, calling_ae="CTSCAN", objects=objects, limits=LIMITS))
    assert {result.word for result in results} == {"courier.accepted"}
    assert count_instances(orthanc.peer, calling_ae="CTSCAN", study_uid=STUDY, limits=LIMITS) == 7
    assert count_instances(orthanc.peer, calling_ae="CTSCAN", study_uid="2.25.9", limits=LIMITS) is None
    (study,) = orthanc.ask("/studies")
    # Orthanc calls itself PACS, which the listener does not know.
    with pytest.raises(urllib.error.HTTPError):
        orthanc.ask("/modalities/box/store", {"Resources": [study], "Synchronous": True})
    orthanc.ask("/modalities/box/store", {"Resources": [study], "LocalAet": "CTSCAN", "Synchronous": True})
    kept = {arrival.header.sop_instance_uid: arrival.data for arrival in shelf.arrivals}
    assert kept == {known.sop_instance_uid: known.data for known in knowns}


def test_orthanc_says_what_it_takes(orthanc: Orthanc) -> None:
    segmentation, unheard_of = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.999"
    pairs = [(CT, EXPLICIT), (segmentation, EXPLICIT), (unheard_of, EXPLICIT)]
    said = accepts(orthanc.peer, calling_ae="CTSCAN", pairs=pairs, limits=LIMITS)
    assert said.answered
    assert said.accepted == {(CT, EXPLICIT), (segmentation, EXPLICIT)}
    assert orthanc.ask("/instances") == [], "nothing was sent"


@pytest.mark.parametrize("names_classes", [True, False])
def test_orthanc_gives_what_it_has_as_it_lies_there(
    orthanc: Orthanc, shelf: Shelf, names_classes: bool
) -> None:
    names = ["CT_small.dcm", "MR_small_implicit.dcm", "SC_rgb_small_odd.dcm"]
    if names_classes:
        names += ["JPEG-lossy.dcm", "693_J2KI.dcm", "SC_rgb_rle_16bit_2frame.dcm"]
    knowns = [_as_sent(real(name)) for name in names]
    sent = list(send(orthanc.peer, calling_ae="CTSCAN", objects=knowns, limits=LIMITS))
    assert {one.word for one in sent} == {"courier.accepted"}
    peer = replace(orthanc.peer, may=frozenset({"store", "query"}))
    for study in orthanc.ask("/studies?expand"):
        study_uid = study["MainDicomTags"]["StudyInstanceUID"]
        found = find_instances(peer, calling_ae="CTSCAN", study_uid=study_uid, modalities=(), limits=LIMITS)
        assert found
        classes = {one.sop_class_uid for one in found if one.sop_class_uid} if names_classes else ()
        series = sorted({one.series_uid for one in found})
        got = get(
            peer,
            calling_ae="CTSCAN",
            wanted=Wanted(study_uid=study_uid, series_uids=series, sop_classes=classes),
            reception=Reception(intake=shelf, limits=LIMITS, on_refused=lambda _: None),
            limits=LIMITS,
        )
        assert got.whole, got
    # Orthanc writes a data set anew as it sends it, without group lengths and padding; the pixels stay.
    kept = {(a.header.sop_instance_uid, a.header.transfer_syntax_uid) for a in shelf.arrivals}
    assert kept == {(one.sop_instance_uid, one.transfer_syntax_uid) for one in knowns}
    pixels = {one.sop_instance_uid: one.data[-600:-200] for one in knowns}
    assert all(pixels[arrival.header.sop_instance_uid] in arrival.data for arrival in shelf.arrivals)


def _as_sent(known: Sample) -> Outgoing:
    return Outgoing(
        sop_class_uid=known.sop_class_uid,
        sop_instance_uid=known.sop_instance_uid,
        transfer_syntax_uid=known.transfer_syntax_uid,
        data=known.data,
    )
