"""The sender against DCMTK's storescp and against peers that answer badly, late or not at all."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, build_context, evt

from dicom_node.limits import Limits
from dicom_node.send import Outgoing, Sent, _batches, judged, send
from dicom_node.values import Peer
from tests.dicom_node.samples import (
    CT,
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    LIMITS,
    REAL_FILES,
    Sample,
    Shelf,
    real,
    sample,
    sample_of,
    serving,
)


def outgoing(known: Sample, **changes: str) -> Outgoing:
    return Outgoing(
        sop_class_uid=known.sop_class_uid,
        sop_instance_uid=changes.get("sop_instance_uid", known.sop_instance_uid),
        transfer_syntax_uid=known.transfer_syntax_uid,
        data=known.data,
    )


def sent_to(peer: Peer, objects: list[Outgoing], limits: Limits = LIMITS) -> list[Sent]:
    return list(send(peer, calling_ae="CTSCAN", objects=objects, limits=limits))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def peer_that(answers: Callable[[Any], Any], *syntaxes: str, **handlers: Any) -> Iterator[Peer]:
    """A peer of pynetdicom's own making."""
    entity = AE("PACS")
    entity.supported_contexts = [build_context(CT, list(syntaxes or (EXPLICIT,)))]
    extra = [(getattr(evt, name), handler) for name, handler in handlers.items()]
    with serving(entity, (evt.EVT_C_STORE, answers), *extra) as peer:
        yield peer


def test_all_syntaxes_go_out_byte_for_byte_on_one_association(
    box: Peer, shelf: Shelf, quiet: list[str]
) -> None:
    knowns = [real(name) for name in REAL_FILES]
    results = sent_to(box, [outgoing(known) for known in knowns])
    assert [result.word for result in results] == ["courier.accepted"] * len(knowns)
    assert [result.sop_instance_uid for result in results] == [known.sop_instance_uid for known in knowns]
    assert [arrival.data for arrival in shelf.arrivals] == [known.data for known in knowns]
    deadline = time.monotonic() + 5
    while not quiet and time.monotonic() < deadline:
        time.sleep(0.01)
    assert quiet == ["quiet"]


def test_storescp_receives_every_byte(tmp_path: Path) -> None:
    storescp = shutil.which("storescp")
    if storescp is None:
        pytest.skip("storescp of DCMTK is not installed")
    port = free_port()
    receiver = subprocess.Popen(
        [storescp, "--bit-preserving", "+xa", "-aet", "PACS", "-od", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)
        knowns = [
            real(name)
            for name in ("CT_small.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm")
        ]
        knowns += [sample(SOPInstanceUID=f"2.25.{n}") for n in range(10)]
        deadline = time.monotonic() + 10
        results = [Sent(sop_instance_uid="", outcome="later", status=None, word="")]
        while results[0].outcome == "later" and time.monotonic() < deadline:
            results = sent_to(peer, [outgoing(known) for known in knowns])
    finally:
        receiver.terminate()
        receiver.wait(10)
    assert {result.word for result in results} == {"courier.accepted"}
    written = {known.sop_instance_uid: known.data for known in map(sample_of, tmp_path.iterdir())}
    assert written == {known.sop_instance_uid: known.data for known in knowns}


STATUSES = [
    (0x0000, "accepted", "courier.accepted"),
    (0xB000, "accepted", "courier.coerced"),
    (0xB006, "accepted", "courier.coerced"),
    (0xB007, "accepted", "courier.coerced"),
    (0x0111, "accepted", "courier.duplicate"),
    (0xA700, "later", "courier.later"),
    (0xA701, "later", "courier.later"),
    (0x0110, "later", "courier.later"),
    (0x0117, "later", "courier.later"),
    (0xFF00, "later", "courier.later"),
    (0x1234, "later", "courier.later"),
    (0xA900, "refused", "courier.refused"),
    (0xA9FF, "refused", "courier.refused"),
    (0xC000, "refused", "courier.refused"),
    (0xC211, "refused", "courier.refused"),
    (0x0122, "refused", "courier.refused"),
    (0x0124, "refused", "courier.refused"),
]


@pytest.mark.parametrize(("status", "outcome", "word"), STATUSES)
def test_what_each_status_means(status: int, outcome: str, word: str) -> None:
    found = judged(outgoing(sample()), status)
    assert (found.outcome, found.word, found.status) == (outcome, word, status)


def test_statuses_over_the_wire_keep_to_their_objects() -> None:
    statuses = iter(row[0] for row in STATUSES if row[0] not in (0xFF00, 0x1234))
    wanted = [row[2] for row in STATUSES if row[0] not in (0xFF00, 0x1234)]
    with peer_that(lambda _event: next(statuses)) as peer:
        objects = [outgoing(sample(), sop_instance_uid=f"2.25.{n}") for n in range(len(wanted))]
        assert [result.word for result in sent_to(peer, objects)] == wanted


def test_a_refused_context_refuses_its_objects_only() -> None:
    jpeg = Sample(
        data=sample().data, transfer_syntax_uid=JPEG_2000, sop_class_uid=CT, sop_instance_uid="2.25.5"
    )
    with peer_that(lambda _event: 0x0000) as peer:
        results = sent_to(peer, [outgoing(sample()), outgoing(jpeg), outgoing(sample())])
        assert [result.word for result in results] == [
            "courier.accepted",
            "courier.no_context",
            "courier.accepted",
        ]
        assert [result.outcome for result in sent_to(peer, [outgoing(jpeg)])] == ["refused"]


def test_native_bytes_are_never_sent_under_another_native_syntax() -> None:
    with peer_that(lambda _event: 0x0000, IMPLICIT) as peer:
        assert [result.word for result in sent_to(peer, [outgoing(sample())])] == ["courier.no_context"]


def test_a_dead_peer_makes_everything_later() -> None:
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())
    results = sent_to(peer, [outgoing(sample())] * 3)
    assert [(result.outcome, result.word) for result in results] == [("later", "courier.unreachable")] * 3
    nameless = Peer(name="pacs", ae_title="PACS", host="no-such-host.invalid", port=104)
    assert [result.word for result in sent_to(nameless, [outgoing(sample())])] == ["courier.unreachable"]
    deaf = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=0)
    assert [result.word for result in sent_to(deaf, [outgoing(sample())])] == ["courier.unreachable"]


def test_a_rejected_association_makes_everything_later(box: Peer) -> None:
    results = list(send(box, calling_ae="STRANGER", objects=[outgoing(sample())] * 2, limits=LIMITS))
    assert [(result.outcome, result.word) for result in results] == [("later", "courier.rejected")] * 2


def test_an_abort_in_between_makes_the_rest_later() -> None:
    count = iter(range(10))

    def answer(event: Any) -> int:
        if next(count) == 1:
            event.assoc.abort()
        return 0x0000

    with peer_that(answer) as peer:
        results = sent_to(peer, [outgoing(sample(), sop_instance_uid=f"2.25.{n}") for n in range(4)])
    assert [result.outcome for result in results] == ["accepted", "later", "later", "later"]
    assert [result.word for result in results][2:] == ["courier.aborted", "courier.aborted"]


def test_a_silent_peer_is_given_up_and_not_used_again() -> None:
    release, seen = threading.Event(), []

    def answer(event: Any) -> int:
        seen.append(event.request.AffectedSOPInstanceUID)
        release.wait(10)
        return 0x0000

    with peer_that(answer) as peer:
        limits = Limits(dimse_seconds_max=0.5, acse_seconds_max=3.0, abort_seconds_max=1.0)
        results = sent_to(peer, [outgoing(sample(), sop_instance_uid=f"2.25.{n}") for n in range(3)], limits)
        release.set()
    assert [result.word for result in results] == ["courier.no_reply", "courier.aborted", "courier.aborted"]
    assert seen == ["2.25.0"]


def test_an_answer_to_another_message_is_no_answer() -> None:
    def answer(event: Any) -> int:
        event.request.MessageID = 999
        return 0x0000

    def twist(event: Any) -> None:
        if hasattr(event.message, "command_set") and "MessageIDBeingRespondedTo" in event.message.command_set:
            event.message.command_set.MessageIDBeingRespondedTo = 999

    with peer_that(answer, EVT_DIMSE_SENT=twist) as peer:
        assert [result.word for result in sent_to(peer, [outgoing(sample())])] == ["courier.no_reply"]


def raw_peer(reply: bytes, stay: threading.Event) -> tuple[Peer, threading.Thread]:
    """A peer that accepts one connection, says `reply` and falls silent."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(65536)
                connection.sendall(reply)
                stay.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    return Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=server.getsockname()[1]), thread


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\0\0\0\0\4\0\0\0\0", b"\x07\0\0\0\0\4\0\0\2\0"]
)
def test_a_peer_that_speaks_something_else_makes_everything_later(reply: bytes) -> None:
    stay = threading.Event()
    peer, thread = raw_peer(reply, stay)
    limits = Limits(acse_seconds_max=0.5, abort_seconds_max=0.5, network_seconds_max=1.0)
    try:
        results = sent_to(peer, [outgoing(sample())], limits)
    finally:
        stay.set()
        thread.join(10)
    assert [result.outcome for result in results] == ["later"]


def test_batches_need_no_more_contexts_than_there_are() -> None:
    objects = [
        Outgoing(
            sop_class_uid=f"1.2.{n}", sop_instance_uid=f"2.25.{n}", transfer_syntax_uid=EXPLICIT, data=b""
        )
        for n in range(300)
    ]
    batches = list(_batches([*objects, *objects[:5]], 128))
    assert [len(batch) for batch in batches] == [128, 128, 49]
    assert [item for batch in batches for item in batch] == [*objects, *objects[:5]]


def test_nothing_to_send_calls_nobody() -> None:
    assert sent_to(Peer(name="p", ae_title="P", host="no-such-host.invalid", port=1), []) == []


def test_a_sender_that_is_left_in_the_middle_hangs_up(box: Peer, shelf: Shelf, quiet: list[str]) -> None:
    results = send(box, calling_ae="CTSCAN", objects=[outgoing(sample())] * 5, limits=LIMITS)
    assert next(results).outcome == "accepted"
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while not quiet and time.monotonic() < deadline:
        time.sleep(0.01)
    assert quiet == ["quiet"]
    assert len(shelf.arrivals) == 1
