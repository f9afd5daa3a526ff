"""The listener against DCMTK's senders, strangers, floods and its own end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext
from structlog.testing import capture_logs

from dicom_node.dial import _entity
from dicom_node.echo import echo
from dicom_node.limits import Limits
from dicom_node.listener import Listener, supported_contexts
from dicom_node.send import Outgoing, send
from dicom_node.storage_classes import STORAGE_CLASSES
from dicom_node.syntaxes import OFFERED
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, EXPLICIT, LIMITS, REAL_FILES, Shelf, sample, sample_of

DEFLATED = "1.2.840.10008.1.2.1.99"
HANGING_PROTOCOL = "1.2.840.10008.5.1.4.38.1"


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} of DCMTK is not installed")
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def call(port: int, calling_ae: str, contexts: list[PresentationContext]) -> Association:
    """Associate and leave everything else to the test."""
    return _entity(calling_ae, LIMITS).associate("127.0.0.1", port, contexts=contexts, ae_title="BOX")


def names(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [line["event"] for line in logs]


def test_dcmtk_echoes(box: Peer) -> None:
    words = [program("echoscu"), "-aec", "BOX", box.host, str(box.port)]
    assert run(*words, "-aet", "MONITOR").returncode == 0
    assert "Calling AE Title Not Recognized" in run(*words, "-aet", "STRANGER").stderr
    assert (
        "Called AE Title Not Recognized"
        in run(program("echoscu"), "-aec", "BAX", "-aet", "MONITOR", box.host, str(box.port)).stderr
    )


@pytest.mark.parametrize("sender", ["storescu", "dcmsend"])
def test_dcmtk_sends_and_every_byte_arrives(box: Peer, shelf: Shelf, tmp_path: Path, sender: str) -> None:
    paths = []
    for name in REAL_FILES:
        source = get_testdata_file(name, download=False)
        assert isinstance(source, str)
        known = sample_of(Path(source))
        # storescu proposes uncompressed syntaxes in one context; it decides which of them it sends.
        if sender == "dcmsend" or known.transfer_syntax_uid == EXPLICIT:
            paths.append(source)
    options = ["-aet", "CTSCAN", "-aec", "BOX"]
    # What DCMTK does not like about a real file it skips; what it sends arrives whole.
    extra = ["--no-halt", "--no-uid-checks"] if sender == "dcmsend" else ["--no-halt"]
    done = run(program(sender), *options, *extra, box.host, str(box.port), *paths)
    assert done.returncode == 0, done.stderr
    sent = {sample_of(Path(path)).sop_instance_uid: sample_of(Path(path)).data for path in paths}
    kept = {arrival.header.sop_instance_uid: arrival.data for arrival in shelf.arrivals}
    assert set(kept) == set(sent)
    # DCMTK writes sequences and group lengths in its own way; files that have none come out equal.
    assert any(kept[uid] == data for uid, data in sent.items())


def test_whole_studies_arrive_byte_for_byte(box: Peer, shelf: Shelf, shared_studies: Path) -> None:
    folder = shared_studies / "ct-phantom-5mm"
    done = run(
        program("dcmsend"), "-aet", "CTSCAN", "-aec", "BOX", "+sd", "+r", box.host, str(box.port), str(folder)
    )
    assert done.returncode == 0, done.stderr
    files = [sample_of(path) for path in folder.iterdir()]
    kept = {arrival.header.sop_instance_uid: arrival.data for arrival in shelf.arrivals}
    assert len(kept) == 28
    assert {known.sop_instance_uid: known.data for known in files} == kept


def test_strangers_are_refused_and_named_in_the_log(box: Peer) -> None:
    with capture_logs() as logs:
        assert echo(box, calling_ae="STRANGER", limits=LIMITS).word == "echo.rejected"
        other = Peer(name="box", ae_title="OTHER", host=box.host, port=box.port)
        assert echo(other, calling_ae="MONITOR", limits=LIMITS).word == "echo.rejected"
    refusals = [line for line in logs if line["event"] == "node.refused_ae"]
    assert [line["reason"] for line in refusals] == [3, 7]


def test_a_listener_without_peers_lets_nobody_in(shelf: Shelf) -> None:
    listener = Listener(ae_title="BOX", host="127.0.0.1", port=0, peers=[], intake=shelf, limits=LIMITS)
    peer = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=listener.start())
    try:
        assert echo(peer, calling_ae="MONITOR", limits=LIMITS).word == "echo.rejected"
    finally:
        listener.stop()


def test_every_storage_class_and_syntax_is_offered_and_no_other_service() -> None:
    contexts = {str(context.abstract_syntax): context for context in supported_contexts()}
    assert len(contexts) == len(STORAGE_CLASSES) + 1 > 128
    assert HANGING_PROTOCOL not in contexts
    assert DEFLATED not in OFFERED
    prefix = "1.2.840.10008.1.2"
    families = (".1", ".2", ".4.50", ".4.80", ".4.90", ".4.107", ".4.112", ".4.202", ".5")
    assert all(prefix + family in OFFERED for family in families)


def test_a_refused_context_is_logged(box: Peer) -> None:
    with capture_logs() as logs:
        association = call(
            box.port,
            "CTSCAN",
            [
                build_context(CT, DEFLATED),
                build_context(HANGING_PROTOCOL),
                build_context(CT, EXPLICIT),
            ],
        )
        assert [str(cx.transfer_syntax[0]) for cx in association.accepted_contexts] == [EXPLICIT]
        assert sorted(cx.result or 0 for cx in association.rejected_contexts) == [3, 4]
        association.release()
        association.join(5)
    assert "node.context_refused" in names(logs)


def test_quiet_is_told_once_for_each_association_that_ended(box: Peer, quiet: list[str]) -> None:
    for _ in range(3):
        assert echo(box, calling_ae="MONITOR", limits=LIMITS).ok
    assert wait_for(lambda: len(quiet) == 3)
    association = call(box.port, "MONITOR", [build_context(CT)])
    association.abort()
    association.join(5)
    assert wait_for(lambda: len(quiet) == 4)
    echo(box, calling_ae="STRANGER", limits=LIMITS)
    time.sleep(0.1)
    assert len(quiet) == 4


def test_a_connection_lost_in_mid_instance_keeps_the_earlier_ones(
    box: Peer, shelf: Shelf, quiet: list[str]
) -> None:
    known = sample()
    association = call(box.port, "CTSCAN", [build_context(CT, EXPLICIT)])
    connection = association.dul.socket
    assert connection is not None
    assert connection.socket is not None
    # A command that promises a data set, then most of it, then nothing.
    request = C_STORE()
    request.MessageID, request.Priority, request.DataSet = 1, 0, BytesIO(known.data)
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, known.sop_instance_uid
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    with capture_logs() as logs:
        for data in list(message.encode_msg(1, 100))[:-2]:
            association.dul.send_pdu(data)
        assert wait_for(lambda: not association.dul.to_provider_queue.qsize())
        connection.socket.shutdown(socket.SHUT_RDWR)
        assert wait_for(lambda: len(quiet) == 1)
    association.join(5)
    (lost,) = [line for line in logs if line["event"] == "receive.aborted"]
    assert lost["bytes"] > 100
    assert not shelf.arrivals


def test_too_many_associations_are_turned_away_for_now(listen: Callable[..., Listener]) -> None:
    port = listen(Limits(associations_max=2, acse_seconds_max=3.0, abort_seconds_max=1.0)).start()
    made = [call(port, "MONITOR", [build_context(CT)]) for _ in range(3)]
    assert [association.is_established for association in made] == [True, True, False]
    refused = made[2].acceptor.primitive
    assert refused is not None
    assert (refused.result, refused.result_source, refused.diagnostic) == (2, 3, 2)
    for association in made[:2]:
        association.release()
        association.join(5)


def test_an_idle_association_is_ended(listen: Callable[..., Listener], quiet: list[str]) -> None:
    port = listen(Limits(network_seconds_max=0.3, acse_seconds_max=3.0, abort_seconds_max=1.0)).start()
    with capture_logs() as logs:
        association = call(port, "MONITOR", [build_context(CT)])
        assert association.is_established
        assert wait_for(lambda: len(quiet) == 1)
    association.join(5)
    assert "node.idle" in names(logs)


def test_draining_lets_the_running_finish_and_turns_the_new_away(
    listen: Callable[..., Listener], shelf: Shelf
) -> None:
    listener = listen()
    box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=listener.start())
    go_on, started = threading.Event(), threading.Event()

    def hold(_arrival: object) -> None:
        started.set()
        go_on.wait(60)

    shelf.before = hold
    known = sample()
    outgoing = Outgoing(
        sop_class_uid=known.sop_class_uid,
        sop_instance_uid=known.sop_instance_uid,
        transfer_syntax_uid=known.transfer_syntax_uid,
        data=known.data,
    )
    outcomes: list[str] = []
    sender = threading.Thread(
        target=lambda: outcomes.extend(
            sent.word for sent in send(box, calling_ae="CTSCAN", objects=[outgoing], limits=LIMITS)
        )
    )
    sender.start()
    assert started.wait(30)
    drain = threading.Thread(target=listener.drain, args=(60.0,))
    drain.start()
    assert wait_for(listener._draining.is_set)
    with capture_logs() as logs:
        association = call(box.port, "MONITOR", [build_context(CT)])
    refused = association.acceptor.primitive
    assert refused is not None
    assert (refused.result, refused.result_source, refused.diagnostic) == (2, 3, 1)
    assert "node.draining" in names(logs)
    go_on.set()
    drain.join(30)
    sender.join(30)
    assert not drain.is_alive()
    assert outcomes == ["courier.accepted"]
    assert len(shelf.arrivals) == 1


def test_draining_aborts_what_does_not_finish(listen: Callable[..., Listener]) -> None:
    listener = listen()
    port = listener.start()
    association = call(port, "MONITOR", [build_context(CT)])
    began = time.monotonic()
    listener.drain(0.2)
    assert time.monotonic() - began < 0.2 + 3 * LIMITS.abort_seconds_max
    association.join(5)
    assert association.is_aborted
    assert not listener._associations()


def test_stop_leaves_no_thread_and_no_port(listen: Callable[..., Listener]) -> None:
    before = set(threading.enumerate())
    listener = listen()
    port = listener.start()
    silent = socket.create_connection(("127.0.0.1", port), timeout=5)
    assert wait_for(lambda: bool(listener._associations()))
    listener.stop()
    silent.close()
    assert wait_for(lambda: set(threading.enumerate()) <= before)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
