"""Malformed input in quantity: every byte string is judged or refused by name, and nothing dies of it.

Each failure names the number its input is made from; `tests.faults.mutate` makes it again. With
`READSIDE_FUZZ` the long form tries so many data sets; `scripts/fuzz` looks for new ways by coverage.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any, TypeVar

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dsutils import decode

from dicom_node.command import read_store
from dicom_node.errors import COMMENT_CHARACTERS_MAX, Refusal
from dicom_node.familiar import Judge
from dicom_node.limits import Limits
from dicom_node.preflight import Header, inspect, scan, study_uid_of
from dicom_node.status import Status
from tests.dicom_node import raw
from tests.dicom_node.raw import LAST_COMMAND, LAST_DATA, MORE_DATA, RawPeer
from tests.dicom_node.samples import BIG, CT, EXPLICIT, IMPLICIT, Sample, Shelf, sample
from tests.faults import mutate
from tests.faults.test_wire import Listen, Logs, echoes, idle_again, said

Outcome = TypeVar("Outcome", str, int)

DATA_SETS = 14_000
ALIKE = 3_000
COMMANDS = 4_000
NOISE = 1_000
CONVERSATIONS = 300
LIMITS = Limits()
ANSWERS = {2, 3, 4, 6, 7}
JUDGED = (Status.NOT_READABLE, Status.BOUND_EXCEEDED)
COMPARED = (Status.UID_INVALID, Status.UID_MISMATCH, Status.CLASS_MISMATCH)
GROWTH_KIB_MAX = 64 * 1024


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """What is tried in a test leaves no memory behind."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_KIB_MAX


def judged(data: bytes, syntax: str, known: Sample) -> Header | Refusal:
    """What preflight says of bytes that come as `known`; its own words are held to."""
    try:
        header = inspect(
            data,
            scan(data, syntax, LIMITS),
            sop_class_uid=known.sop_class_uid,
            sop_instance_uid=known.sop_instance_uid,
        )
    except Refusal as refused:
        named(refused, data)
        return refused
    assert (header.sop_class_uid, header.sop_instance_uid) == (known.sop_class_uid, known.sop_instance_uid)
    if header.pixel_offset is not None and header.pixel_bytes is not None:
        assert header.pixel_offset + header.pixel_bytes <= len(data)
    assert "\\u0000" not in json.dumps(header.facts, allow_nan=False), "a ledger takes no NUL"
    return header


def named(refusal: Refusal, data: bytes) -> None:
    """Hold a refusal to what every refusal promises."""
    assert refusal.status in (*JUDGED, *COMPARED)
    assert refusal.word.startswith("receive.")
    assert refusal.comment.isascii()
    assert len(refusal.comment) <= COMMENT_CHARACTERS_MAX
    assert refusal.offset is None or 0 <= refusal.offset <= len(data)


def alike(data: bytes, syntax: str, *, judge: Judge, known: Sample) -> Header | Refusal:
    """What the judge of an association says of the same bytes."""
    try:
        return judge.header(
            memoryview(data),
            syntax,
            sop_class_uid=known.sop_class_uid,
            sop_instance_uid=known.sop_instance_uid,
        )
    except Refusal as refusal:
        return refusal


def told(found: Header | Refusal) -> object:
    """What two judges must agree on."""
    if isinstance(found, Header):
        return repr(found)
    return found.status, found.word, found.comment, found.offset


def tried(number: int) -> str:
    """Judge one mutant in every way there is; return what became of it."""
    seed, data, syntax = mutate.mutant(number)
    found = judged(data, syntax, seed.sample)
    study_uid_of(data, syntax, LIMITS)
    return found.word if isinstance(found, Refusal) else "kept"


def each(numbers: Sequence[int], one: Callable[[int], Outcome]) -> Counter[Outcome]:
    """Try every number and count what came of them; a failure names its own."""
    words: Counter[Outcome] = Counter()
    for number in numbers:
        try:
            words[one(number)] += 1
        except Exception as fault:
            fault.add_note(f"the input is made from {number}")
            raise
    return words


def test_the_seeds_are_sound_and_of_every_family() -> None:
    for seed in mutate.seeds():
        known = seed.sample
        assert isinstance(judged(known.data, known.transfer_syntax_uid, known), Header)
    reached = [
        seed.places[-1].value + seed.places[-1].length == len(seed.sample.data) for seed in mutate.seeds()
    ]
    assert reached.count(False) == 1, "the places of all but one were followed to the end"
    assert len({seed.sample.transfer_syntax_uid for seed in mutate.seeds()}) >= 7
    assert mutate.mutant(7) == mutate.mutant(7)


def test_malformed_data_sets_are_judged_or_refused() -> None:
    words = each(range(DATA_SETS), tried)
    # What breaks, breaks in every way that has a name; a share of it is still sound.
    assert set(words) >= {
        "kept",
        *(f"receive.{word}" for word in ("truncated", "syntax_mismatch", "bad_framing", "bad_length")),
        *(f"receive.{word}" for word in ("doubled_element", "not_a_data_set", "too_deep", "bad_uid")),
    }
    assert 0.05 < words["kept"] / DATA_SETS < 0.5


def noise(number: int) -> tuple[bytes, str]:
    """Bytes that nobody made, every other time behind the beginning of a sound data set; and their syntax."""
    known, dice = sample(), random.Random(number)
    data = dice.randbytes(dice.randrange(300))
    start = known.data[: dice.randrange(len(known.data))] if number % 2 else b""
    return start + data, dice.choice((EXPLICIT, IMPLICIT, BIG, mutate.ENCAPSULATED, "1.2.3"))


def test_noise_is_judged_or_refused() -> None:
    known = sample()

    def one(number: int) -> str:
        data, syntax = noise(number)
        found = judged(data, syntax, known) if syntax != "1.2.3" else None
        study_uid_of(data, syntax, LIMITS)
        return found.word if isinstance(found, Refusal) else "kept"

    assert each(range(NOISE), one)["kept"] < NOISE // 2


def test_an_instance_like_an_earlier_one_is_judged_as_if_it_were_the_first() -> None:
    """What was remembered of one malformed but whole instance never vouches for another."""
    fits = Counter[str]()

    def one(number: int) -> str:
        seed, data, syntax = mutate.mutant(number)
        known, dice, judge = seed.sample, random.Random(number), Judge(LIMITS)
        if isinstance(found := alike(data, syntax, judge=judge, known=known), Refusal):
            return "refused"
        for _ in range(6):
            near = bytearray(data)
            for _ in range(dice.randint(1, 3)):
                near[dice.randrange(min(len(near), found.pixel_offset or len(near)))] = dice.choice(
                    (0, 0x20, 0x5C, 0x1B, 0xFF, dice.randrange(256))
                )
            plain = judged(bytes(near), syntax, known)
            fits["header" if isinstance(plain, Header) else "refusal"] += 1
            assert told(plain) == told(alike(bytes(near), syntax, judge=judge, known=known))
        return "compared"

    assert each(range(DATA_SETS, DATA_SETS + ALIKE), one)["compared"] > ALIKE // 20
    assert min(fits.values()) > 100


def of_the_library(command: bytes) -> tuple[object, ...]:
    """UIDs and message number of a C-STORE request as pynetdicom reads them."""
    message = C_STORE_RQ()
    message.command_set = decode(BytesIO(command), True, True)
    found = message.command_set
    return (
        str(found.AffectedSOPClassUID),
        str(found.AffectedSOPInstanceUID),
        struct.pack("<H", found.MessageID),
    )


def test_a_command_that_is_read_here_says_the_same_to_the_library() -> None:
    """Two readers of one command would be two instances under one answer."""

    def one(number: int) -> str:
        command = mutate.command(number)
        found = read_store(command)
        if found is None:
            return "left to the library"
        # The library takes its time: every third is shown to it.
        if number % 3 == 0:
            ours = found.sop_class_uid, found.sop_instance_uid, found.message_id
            assert ours == of_the_library(command)
        return "read"

    words = each(range(COMMANDS), one)
    assert min(words["read"], words["left to the library"]) > COMMANDS // 50


def twisted(number: int) -> tuple[bytes, list[bytes]]:
    """A conversation in which commands, data sets, fragments and PDUs are malformed, seldom its start."""
    dice, known = random.Random(number), sample()
    start = bytearray(
        raw.associate_rq(contexts=[(CT, EXPLICIT), (CT, IMPLICIT), (raw.VERIFICATION, IMPLICIT)])
    )
    if dice.random() < 0.1:
        for _ in range(dice.randint(1, 3)):
            start[dice.randrange(len(start))] = dice.randrange(256)
    rest = [_message(dice, known) for _ in range(dice.randint(1, 8))]
    if dice.random() < 0.2:
        rest.append(_broken_pdu(dice))
    return bytes(start), rest


def _message(dice: random.Random, known: Sample) -> bytes:
    """A store whose data set is malformed, or whose command or fragments are too, seldom."""
    number = dice.getrandbits(32)
    _, data, _ = mutate.mutant(number) if dice.random() < 0.8 else (None, known.data, None)
    command = raw.store_rq(known, message_id=dice.randrange(1 << 16))
    if dice.random() < 0.15:
        command = mutate.command(number)
    context = dice.choice((1, 1, 1, 1, 3, 5, 9)) if dice.random() < 0.15 else 1
    piece = dice.choice((1 << 14, 1 << 14, 700, 130))
    parts = [data[at : at + piece] for at in range(0, min(len(data), 1 << 15), piece)] or [b""]
    values = [raw.value(context, LAST_COMMAND, command)]
    values += [raw.value(context, MORE_DATA, part) for part in parts[:-1]]
    values.append(raw.value(context, LAST_DATA, parts[-1]))
    if dice.random() < 0.05:
        at = dice.randrange(len(values))
        values[at] = bytes(dice.choice((b"", values[at][:-1], values[at] + b"\0", values[at][:5])))
    if dice.random() < 0.5:
        return b"".join(raw.p_data(one) for one in values)
    return b"".join(raw.p_data(*values[at : at + 3]) for at in range(0, len(values), 3))


def _broken_pdu(dice: random.Random) -> bytes:
    body = dice.randbytes(dice.choice((0, 1, 4, 9, 40)))
    length = dice.choice((None, None, 0, len(body) + 1, 1 << 17, (1 << 32) - 1))
    return raw.pdu(dice.choice((0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 0xFF)), body, length=length)


def converse(port: int, number: int) -> int:
    """Hold a conversation to its end; return how many malformed messages it had."""
    start, rest = twisted(number)
    with RawPeer.call(port) as peer:
        with suppress(OSError):
            peer.send(start)
            # One in eight does not wait to be accepted.
            if number % 8 == 0 or peer.read()[0] == 2:
                peer.send(b"".join(rest) + raw.RELEASE)
            peer.connection.shutdown(socket.SHUT_WR)
        assert {kind for kind, _ in peer.rest()} <= ANSWERS
    return len(rest)


def unclassified(logs: Logs) -> list[Mapping[str, Any]]:
    """Lines that say an error was met that nobody had a name for."""
    ours = [*said(logs, "receive.our_fault"), *said(logs, "node.connection_fault")]
    dead = [line for line in said(logs, "node.protocol_error") if line["log_level"] == "error"]
    return ours + dead


def test_malformed_conversations_end_and_nobody_dies_of_them(
    listen: Listen, logs: Logs, shelf: Shelf
) -> None:
    threads = threading.active_count() + 2
    listener = listen(pdu_seconds_max=1.0, network_seconds_max=2.0)
    port = listener.start()
    said_in_all = sum(each(range(CONVERSATIONS), lambda number: converse(port, number)).elements())
    assert said_in_all > 3 * CONVERSATIONS
    assert idle_again(listener, threads)
    assert unclassified(logs) == []
    assert echoes(port)
    for one in shelf.arrivals:
        again = scan(one.data, one.header.transfer_syntax_uid, LIMITS)
        assert again.elements, "what was kept is what was judged"


def test_twenty_thousand_different_malformed_inputs_are_tried() -> None:
    """What the tests above try, each counted once, and none that is as it was made."""
    # Their hashes: the inputs themselves would be a hundred megabytes.
    sound = {hash((seed.sample.data, seed.sample.transfer_syntax_uid)) for seed in mutate.seeds()}
    mutants = {hash(mutate.mutant(number)[1:]) for number in range(DATA_SETS + ALIKE)} - sound
    noises = {hash(noise(number)) for number in range(NOISE)}
    commands = {hash(mutate.command(number)) for number in range(COMMANDS)} - {hash(raw.store_rq(sample()))}
    messages = {hash(message) for number in range(CONVERSATIONS) for message in twisted(number)[1]}
    tried_in_all = [len(each_kind) for each_kind in (mutants, noises, commands, messages)]
    assert sum(tried_in_all) > 20_000, tried_in_all
    print("malformed data sets, noises, command sets and messages:", *tried_in_all)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_malformed_input_at_length(listen: Listen, logs: Logs) -> None:
    """`READSIDE_FUZZ` data sets and a hundredth of it conversations, from other numbers."""
    count = int(os.environ.get("READSIDE_FUZZ", "200000"))
    start = int(os.environ.get("READSIDE_FUZZ_FROM", "1000000"))
    each(range(start, start + count), tried)
    listener = listen(pdu_seconds_max=1.0, network_seconds_max=2.0)
    port = listener.start()
    each(range(start, start + count // 100), lambda number: converse(port, number))
    assert unclassified(logs) == []
    assert echoes(port)
