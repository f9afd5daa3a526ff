"""The streamed path beside pynetdicom's own: the same bytes in, the same kept, answered and ended."""

from __future__ import annotations

import ast
import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pynetdicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from structlog.testing import capture_logs

from dicom_node.command import read_store
from dicom_node.familiar import Judge
from dicom_node.library import tame
from dicom_node.listener import Listener, supported_contexts
from dicom_node.receive import Reception, Refused, handle_store
from dicom_node.stream import INSIDE
from dicom_node.values import Peer
from tests.dicom_node import raw
from tests.dicom_node.conftest import PEERS
from tests.dicom_node.raw import LAST_COMMAND, LAST_DATA, MORE_COMMAND, MORE_DATA, RawPeer
from tests.dicom_node.samples import (
    BIG,
    CT,
    EXPLICIT,
    IMPLICIT,
    LIMITS,
    MR,
    Shelf,
    element,
    sample,
    serving,
)

LIBRARY = (Association, DULServiceProvider)
CONTEXTS = ((CT, EXPLICIT), (CT, IMPLICIT), (CT, BIG), (MR, EXPLICIT), (raw.VERIFICATION, IMPLICIT))
FAULTS: list[dict[str, str]] = [
    *({}, {}, {}),
    {"sop_instance_uid": "2.25.9"},
    {"sop_instance_uid": "1.2/3"},
    {"sop_class_uid": MR},
]
SYNTAXES = {1: EXPLICIT, 3: IMPLICIT, 5: BIG}


@dataclass
class Side:
    """A listener and what it kept."""

    port: int
    shelf: Shelf
    refused: list[Refused] = field(default_factory=list)


@pytest.fixture(scope="module")
def ours() -> Iterator[Side]:
    shelf, refused = Shelf(), list[Refused]()
    listener = Listener(
        ae_title="BOX",
        host="127.0.0.1",
        port=0,
        peers=PEERS,
        intake=shelf,
        limits=LIMITS,
        on_refused=refused.append,
    )
    yield Side(port=listener.start(), shelf=shelf, refused=refused)
    listener.stop()


@pytest.fixture(scope="module")
def theirs() -> Iterator[Side]:
    """Pynetdicom as it is, whose handler ends in the same reception."""
    tame()
    shelf, refused = Shelf(), list[Refused]()
    reception = Reception(intake=shelf, limits=LIMITS, on_refused=refused.append)
    judge = Judge(LIMITS)

    def store(event: evt.Event) -> object:
        peer: Peer = PEERS[0]
        return handle_store(event, peer=peer, reception=reception, judge=judge)

    entity = AE("PACS")
    entity.supported_contexts = supported_contexts()
    entity.maximum_pdu_size = LIMITS.pdu_bytes_max
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5.0
    with serving(entity, (evt.EVT_C_STORE, store), (evt.EVT_C_ECHO, lambda _event: 0)) as peer:
        yield Side(port=peer.port, shelf=shelf, refused=refused)


def told(side: Side, *scripts: bytes, called_ae: str) -> tuple[object, ...]:
    """Say each of `scripts` when the one before was answered; return everything that came of it."""
    side.shelf.arrivals.clear()
    side.refused.clear()
    with RawPeer.associated(side.port, called_ae=called_ae, contexts=CONTEXTS) as peer:
        replies = []
        for script in scripts[:-1]:
            peer.send(script)
            replies.append(peer.read())
        peer.send(scripts[-1])
        replies += peer.rest()
    kept = [(one.data, one.header) for one in side.shelf.arrivals]
    return replies, kept, list(side.refused)


def compare(ours: Side, theirs: Side, *scripts: bytes) -> tuple[object, ...]:
    here, there = told(ours, *scripts, called_ae="BOX"), told(theirs, *scripts, called_ae="PACS")
    assert here == there
    return here


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Divide bytes at places given in thousandths of their length."""
    places = sorted({len(data) * one // 1000 for one in at} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)] or [b""]


@st.composite
def stores(draw: st.DrawFn, last: bool = False) -> bytes:
    """One C-STORE request, divided and packed at random."""
    context_id = draw(st.sampled_from([1, 1, 3, 5]))
    changes: dict[str, object] = {"InstanceNumber": draw(st.integers(1, 9))}
    known = sample(SYNTAXES[context_id], **changes)
    data = known.data
    if context_id == 1 and draw(st.booleans()):
        data += element(0x7FE10010, b"OB", b"\1\2" * draw(st.integers(0, 60_000)))
    if draw(st.integers(0, 4)) == 0:
        data = data[: draw(st.integers(1, len(data)))]
    faulty = draw(st.sampled_from(FAULTS))
    said = raw.store_rq(known, draw(st.integers(0, 65535)), **faulty)
    places = st.lists(st.integers(0, 1000), max_size=5)
    commands = cut(said, draw(st.one_of(st.just([]), places)))
    pieces = [part for big in cut(data, draw(places)) for part in _chunks(big, 100_000)]
    values = [raw.value(context_id, MORE_COMMAND, part) for part in commands[:-1]]
    values.append(raw.value(context_id, LAST_COMMAND, commands[-1]))
    values += [raw.value(context_id, MORE_DATA, part) for part in pieces[:-1]]
    values.append(raw.value(context_id, LAST_DATA, pieces[-1]))
    return b"".join(_packed(draw, values))


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)] or [b""]


def _packed(draw: st.DrawFn, values: list[bytes]) -> Iterator[bytes]:
    """Put values into PDUs, some together."""
    held: list[bytes] = []
    for one in values:
        full = sum(map(len, held)) + len(one) > LIMITS.pdu_bytes_max
        if held and (full or draw(st.booleans())):
            yield raw.p_data(*held)
            held = []
        held.append(one)
    yield raw.p_data(*held)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(stores(), min_size=1, max_size=3))
def test_any_division_and_packing_is_kept_and_answered_alike(
    ours: Side, theirs: Side, requests: list[bytes]
) -> None:
    replies, *_ = compare(ours, theirs, *requests, raw.RELEASE)
    assert len(replies) == len(requests) + 1  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stores(),
    stores(),
    st.integers(0, 1000),
    st.sampled_from([raw.ABORT, raw.RELEASE, raw.pdu(9, b""), raw.associate_rq()]),
)
def test_whatever_breaks_in_mid_message_ends_alike(
    ours: Side, theirs: Side, first: bytes, second: bytes, where: int, then: bytes
) -> None:
    ends = [0]
    while ends[-1] < len(second):
        ends.append(ends[-1] + 6 + int.from_bytes(second[ends[-1] + 2 : ends[-1] + 6], "big"))
    place = ends[where * (len(ends) - 1) // 1001]
    compare(ours, theirs, first, second[:place] + then)


def test_every_reply_is_the_same_to_the_byte(ours: Side, theirs: Side) -> None:
    store, echo = raw.stored(sample()), raw.p_data(raw.value(9, LAST_COMMAND, raw.echo_rq(7)))
    other = raw.stored(sample(IMPLICIT), context_id=3, message_id=9)
    replies, kept, _ = compare(ours, theirs, store, echo, other, raw.RELEASE)
    assert len(kept) == 2  # type: ignore[arg-type]
    assert [kind for kind, _ in replies] == [4, 4, 4, 6]  # type: ignore[attr-defined]


def test_messages_that_share_a_pdu_are_each_answered(ours: Side) -> None:
    """The library's own path loses what follows the end of a message in its PDU; here nothing is lost."""
    one, other = sample(), sample(IMPLICIT, SOPInstanceUID="2.25.202")
    script = raw.p_data(
        raw.value(1, LAST_COMMAND, raw.store_rq(one)),
        raw.value(1, LAST_DATA, one.data),
        raw.value(3, LAST_COMMAND, raw.store_rq(other, 2)),
        raw.value(3, LAST_DATA, other.data),
        raw.value(9, LAST_COMMAND, raw.echo_rq(3)),
    )
    replies, kept, _ = told(ours, script + raw.RELEASE, called_ae="BOX")
    assert [data for data, _ in kept] == [one.data, other.data]  # type: ignore[attr-defined]
    assert [kind for kind, _ in replies] == [4, 4, 4, 6]  # type: ignore[attr-defined]


def test_a_cancel_before_and_behind_a_store_disturbs_nothing(ours: Side) -> None:
    cancel = raw.p_data(raw.value(1, LAST_COMMAND, raw.cancel_rq()))
    replies, kept, _ = told(ours, cancel + raw.stored(sample()) + cancel + raw.RELEASE, called_ae="BOX")
    assert len(kept) == 1  # type: ignore[arg-type]
    assert [kind for kind, _ in replies] == [4, 6]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "stray",
    [raw.value(3, MORE_DATA, b"\0\0"), raw.value(1, LAST_COMMAND, raw.store_rq(sample(), 2))],
    ids=["another context", "a second request"],
)
def test_a_stray_value_in_mid_message_ends_the_association(ours: Side, stray: bytes) -> None:
    known = sample()
    script = raw.p_data(
        raw.value(1, LAST_COMMAND, raw.store_rq(known)), raw.value(1, MORE_DATA, known.data[:20]), stray
    )
    replies, kept, _ = told(ours, script, called_ae="BOX")
    assert replies == [(7, b"\0\0\2\0")]
    assert not kept


def test_a_plain_store_is_streamed_and_the_library_gathers_nothing(
    ours: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(*_args: object) -> None:
        raise AssertionError("the library's own path was taken")

    monkeypatch.setattr("pynetdicom.dimse.DIMSEServiceProvider.receive_primitive", gather)
    replies, kept, _ = told(ours, raw.stored(sample()) + raw.RELEASE, called_ae="BOX")
    assert [kind for kind, _ in replies] == [4, 6]  # type: ignore[attr-defined]
    assert len(kept) == 1  # type: ignore[arg-type]


UNUSUAL: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda said: said[:-1],
    "empty": lambda _said: b"",
    "another group": lambda said: b"\2" + said[1:],
    "an unknown element": lambda said: said + raw.word(0x5110, 1),
    "out of order": lambda said: said + raw.word(0x0700, 0),
    "no data set": lambda said: said.replace(raw.word(0x0800, 0), raw.word(0x0800, 0x0101)),
    "no priority": lambda said: said.replace(raw.word(0x0700, 0), b""),
    "an impossible priority": lambda said: said.replace(raw.word(0x0700, 0), raw.word(0x0700, 3)),
    "another command": lambda said: said.replace(raw.word(0x0100, 1), raw.word(0x0100, 0x30)),
    "a UID of letters": lambda said: said.replace(b"2.25.101", b"2.25.1a1"),
    "a long message number": lambda said: said.replace(raw.word(0x0110, 1), raw.element(0x0110, b"\1\0\0\0")),
}


@pytest.mark.parametrize("twist", UNUSUAL.values(), ids=UNUSUAL)
def test_an_unusual_command_is_left_to_the_library(twist: Callable[[bytes], bytes]) -> None:
    said = raw.store_rq(sample())
    assert read_store(said) is not None
    assert read_store(twist(said)) is None


STUMBLES = {
    "no command field": raw.command(raw.word(0x0110, 1), raw.word(0x0800, 0x0101)),
    "no data set type": raw.command(raw.word(0x0100, 0x30), raw.word(0x0110, 1)),
    "an unknown command": raw.command(raw.word(0x0100, 0x7FFF), raw.word(0x0800, 0x0101)),
    "half a number": raw.command(raw.element(0x0100, b"\x30"), raw.word(0x0800, 0x0101)),
}


@pytest.mark.parametrize("command", STUMBLES.values(), ids=STUMBLES)
def test_a_command_that_the_library_stumbles_over_is_aborted(ours: Side, command: bytes) -> None:
    """Once, it ended the library's thread, and the connection closed without a word to the peer."""
    with RawPeer.associated(ours.port) as peer, capture_logs() as logs:
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, command)))
        assert peer.rest() == [(7, b"\0\0\2\0")]
    assert not [one for one in logs if one["log_level"] == "error"]


def test_an_abort_of_an_unknown_source_is_an_end_too(ours: Side) -> None:
    with RawPeer.associated(ours.port) as peer:
        peer.send(raw.pdu(7, b"\0\0\xcd\0"))
        assert peer.rest() in ([], [(7, b"\0\0\2\0")])


def test_data_that_does_not_wait_for_the_acceptance_is_an_abort_and_no_fault(ours: Side) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            with RawPeer.call(ours.port) as peer:
                peer.send(raw.associate_rq() + raw.stored(sample()) * 3)
                assert {kind for kind, _ in peer.rest()} <= {2, 4, 7}
    assert not [one for one in logs if one["log_level"] == "error"]


def test_answers_that_cross_with_requests_are_each_said_once(ours: Side) -> None:
    """Once, an answer was taken a second time when more had come meanwhile, and the association broke."""
    echo = raw.value(9, LAST_COMMAND, raw.echo_rq())
    cancel = raw.value(9, LAST_COMMAND, raw.cancel_rq())
    with RawPeer.associated(ours.port, contexts=CONTEXTS) as peer:
        for _ in range(100):
            peer.send(raw.p_data(echo, cancel, cancel, cancel))
        assert [peer.status() for _ in range(100)] == [0] * 100
        peer.send(raw.RELEASE)
        assert peer.rest() == [(6, bytes(4))]


def test_what_is_touched_inside_the_library_is_there() -> None:
    assert pynetdicom.__version__ == "3.0.4", "read INSIDE again before another version is pinned"
    for where, names in INSIDE.items():
        module, kind = where.split(".")
        found = getattr(importlib.import_module(f"pynetdicom.{module}"), kind)
        for name in names:
            assert hasattr(found, name) or name in found.__init__.__code__.co_names, f"{where}.{name}"


@pytest.mark.parametrize("module", ["stream", "association", "gate", "machine"])
def test_nothing_else_is_touched_inside_the_library(module: str) -> None:
    made = importlib.import_module(f"dicom_node.{module}")
    tree = ast.parse(Path(str(made.__file__)).read_text())
    used = {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    library = {name for kind in LIBRARY for name in (*vars(kind), *kind.__init__.__code__.co_names)}
    private = {name for name in used & library if name.startswith("_") and not name.startswith("__")}
    named = {name for names in INSIDE.values() for name in names}
    assert private <= named
