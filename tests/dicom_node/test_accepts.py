"""What peers say they take: DCMTK with a short list, our own listener, and peers that say nothing at all."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, build_context

from dicom_node.accepts import Accepts, accepts
from dicom_node.limits import Limits
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, EXPLICIT, IMPLICIT, JPEG_2000, LIMITS, serving
from tests.dicom_node.test_send import free_port, raw_peer

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SC = "1.2.840.10008.5.1.4.1.1.7"
PAIRS = [(SEG, EXPLICIT), (SC, EXPLICIT), (SC, JPEG_2000)]
_PROFILE = """\
[[TransferSyntaxes]]
[Plain]
TransferSyntax1 = LocalEndianExplicit
[[PresentationContexts]]
[Some]
PresentationContext1 = VerificationSOPClass\\Plain
PresentationContext2 = SecondaryCaptureImageStorage\\Plain
[[Profiles]]
[Few]
PresentationContexts = Some
"""


def asked(peer: Peer, pairs: list[tuple[str, str]], limits: Limits = LIMITS) -> Accepts:
    return accepts(peer, calling_ae="CTSCAN", pairs=pairs, limits=limits)


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Peer]:
    program = shutil.which("storescp")
    if program is None:
        pytest.skip("storescp of DCMTK is not installed")
    port = free_port()
    process = subprocess.Popen(
        [program, *options, "-aet", "PACS", "-od", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait(10)


def until_reached(peer: Peer, pairs: list[tuple[str, str]]) -> Accepts:
    """Ask until somebody is there; it may still be starting."""
    deadline = time.monotonic() + 20
    while True:
        said = asked(peer, pairs)
        if said.word != "accepts.unreachable" or time.monotonic() > deadline:
            return said
        time.sleep(0.05)


def test_storescp_with_a_short_list_takes_that_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "few.cfg").write_text(_PROFILE)
    with storescp(tmp_path, "-xf", str(tmp_path / "few.cfg"), "Few") as peer:
        said = until_reached(peer, PAIRS)
        assert said.answered
        assert said.accepted == {(SC, EXPLICIT)}
        nothing = asked(peer, [(SEG, EXPLICIT)])
    assert (nothing.answered, nothing.accepted) == (True, frozenset())
    assert [path.name for path in tmp_path.iterdir()] == ["few.cfg"], "nothing was sent"


def test_storescp_that_refuses_every_association_has_answered_nothing(tmp_path: Path) -> None:
    with storescp(tmp_path, "--refuse") as peer:
        said = until_reached(peer, PAIRS)
    assert (said.answered, said.word, said.accepted) == (False, "accepts.rejected", frozenset())


def test_each_transfer_syntax_is_asked_for_by_itself() -> None:
    entity = AE("PACS")
    entity.supported_contexts = [build_context(CT, [IMPLICIT])]
    with serving(entity) as peer:
        said = asked(peer, [(CT, EXPLICIT), (CT, IMPLICIT), (CT, EXPLICIT)])
    assert said.accepted == {(CT, IMPLICIT)}


def test_a_stranger_that_is_rejected_learns_nothing(box: Peer) -> None:
    said = accepts(box, calling_ae="STRANGER", pairs=PAIRS, limits=LIMITS)
    assert (said.answered, said.word) == (False, "accepts.rejected")
    assert asked(box, PAIRS).accepted == frozenset(PAIRS)


def test_more_pairs_than_one_association_has_contexts_are_all_asked_for(box: Peer, quiet: list[str]) -> None:
    limits = Limits(contexts_max=2, acse_seconds_max=3.0, connect_seconds_max=3.0)
    assert asked(box, PAIRS, limits).accepted == frozenset(PAIRS)
    deadline = time.monotonic() + 5
    while len(quiet) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert quiet, "both associations were released"


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x07\0\0\0\0\4\0\0\2\0"])
def test_silence_and_nonsense_are_no_answer_and_end_in_time(reply: bytes) -> None:
    stay = threading.Event()
    peer, thread = raw_peer(reply, stay)
    limits = Limits(acse_seconds_max=0.5, abort_seconds_max=0.5, network_seconds_max=1.0)
    try:
        said = asked(peer, PAIRS, limits)
    finally:
        stay.set()
        thread.join(10)
    assert (said.answered, said.accepted) == (False, frozenset())


def test_a_peer_that_is_down_or_has_no_address_is_no_answer() -> None:
    for host, port in (("127.0.0.1", free_port()), ("no-such-host.invalid", 104), ("127.0.0.1", 0)):
        said = asked(Peer(name="pacs", ae_title="PACS", host=host, port=port), PAIRS)
        assert (said.answered, said.word) == (False, "accepts.unreachable")


def test_nothing_to_ask_calls_nobody() -> None:
    said = asked(Peer(name="pacs", ae_title="PACS", host="no-such-host.invalid", port=104), [])
    assert (said.answered, said.accepted) == (True, frozenset())
