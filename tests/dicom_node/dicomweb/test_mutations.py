"""Two thousand malformed requests: each ends in a classified answer, and only whole instances are kept."""

from __future__ import annotations

import random
import re

import structlog

from dicom_node.status import Status
from tests.dicom_node.dicomweb.client import BOUNDARY, RELATED, TOKEN, body_of, file_of, port, post, raw
from tests.dicom_node.samples import sample

INPUTS = 2_000
SEED = 20_261_121
ANSWERS = {b"200", b"202", b"400", b"401", b"404", b"405", b"409", b"413", b"415", b"431", b"501"}
WORDS = re.compile(r"receive\.|dicomweb\.(?!our_fault)|gate\.")
SEEDS = [sample(SOPInstanceUID=f"2.25.{n}", InstanceNumber=n) for n in range(1, 4)]


def _whole() -> bytes:
    body = body_of([file_of(one) for one in SEEDS])
    head = (
        f"POST /studies HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {RELATED}\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _mutated(whole: bytes, chance: random.Random) -> bytes:
    """Change a request as a faulty or a hostile sender would; most changes fall into what frames it."""
    data = bytearray(whole)
    marks = [match.start() for match in re.finditer(rb"\r\n|DICM|--", whole)]
    for _ in range(chance.randint(1, 4)):
        at = (
            chance.choice(marks) + chance.randint(-4, 8)
            if chance.random() < 0.6
            else chance.randrange(len(data))
        )
        at = max(min(at, len(data) - 1), 0)
        match chance.randrange(7):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.choice((1, 2, 4, 40, 400))]
            case 2:
                data[at:at] = chance.randbytes(chance.choice((1, 2, 16, 300)))
            case 3:
                data[at:at] = f"\r\n--{BOUNDARY}{chance.choice(('', '--', ' ', 'x'))}\r\n".encode()
            case 4:
                del data[at:]
            case 5:
                data[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\r\n\r\n", b"UNUN"))
            case 6:
                source = chance.randrange(len(data))
                data[at:at] = data[source : source + chance.randrange(200)]
        if len(data) < 2:
            break
    return bytes(data)


def test_every_malformed_request_is_answered_or_cut_and_named():
    chance, whole = random.Random(SEED), _whole()
    answered = {b"": 0}
    with port() as here, structlog.testing.capture_logs() as logs:
        for _ in range(INPUTS):
            answer = raw(here.number, _mutated(whole, chance))
            status = answer.split(b" ", 2)[1] if answer else b""
            answered[status] = answered.get(status, 0) + 1
            logs[:] = [one for one in logs if not WORDS.match(one["event"])]
        assert logs == []
        assert post(here.number, body_of([file_of(SEEDS[0])])).status == 200
    assert set(answered) - {b""} <= ANSWERS, answered
    assert sum(answered.values()) == INPUTS
    # The mutations reach all of it: answers of each kind, and connections that were cut without one.
    assert {b"200", b"202", b"400", b"409"} <= set(answered), answered
    # What was kept is what was whole by its own account: it was judged as what a C-STORE brings is.
    assert {r.status for r in here.refused} <= set(Status) - {Status.OUR_FAULT}
    lengths = {len(one.data) for one in SEEDS}
    same = sum(len(a.data) in lengths for a in here.shelf.arrivals)
    assert same > INPUTS / 4
