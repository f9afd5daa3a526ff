"""Sending by STOW-RS: to our own port, and to servers that answer in every way there is."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicomweb.clients import Clients
from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.outward import WebPeer
from dicom_node.dicomweb.report import JSON_TYPE, XML_TYPE, Stored, json_of, xml_of
from dicom_node.dicomweb.send import _outcome, _Reply, stow
from dicom_node.errors import Refusal
from dicom_node.send import Outgoing, Sent
from dicom_node.status import Status
from dicom_node.tls import Credentials, Files
from tests.certificates import Authority
from tests.dicom_node.dicomweb.client import CLIENT, TOKEN, port
from tests.dicom_node.samples import LIMITS, Sample, Shelf, sample

WEB = WebLimits(stow_seconds_max=5.0, reply_bytes_max=100_000)


def outgoing(one: Sample) -> Outgoing:
    return Outgoing(
        sop_class_uid=one.sop_class_uid,
        sop_instance_uid=one.sop_instance_uid,
        transfer_syntax_uid=one.transfer_syntax_uid,
        data=one.data,
    )


ITEMS = [outgoing(sample(SOPInstanceUID=f"2.25.{n}")) for n in range(1, 4)]


def _no_context() -> ssl.SSLContext:
    raise AssertionError("no TLS here")


def peer(number: int, *, path: str = "", token_file: Path | None = None) -> WebPeer:
    return WebPeer(
        name="pacs", url=f"http://127.0.0.1:{number}{path}", token_file=token_file, context=_no_context
    )


def sent(to: WebPeer, items: list[Outgoing] = ITEMS, web: WebLimits = WEB) -> list[Sent]:
    return list(stow(to, objects=items, limits=LIMITS, web=web))


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN.replace(" ", "-") + "\n")
    return file


KNOWN = Clients(
    known=[replace(CLIENT, token_sha256=frozenset({sha256(TOKEN.replace(" ", "-").encode()).hexdigest()}))]
)


class TestToOurOwnPort:
    def test_every_object_arrives_byte_for_byte(self, token):
        with port(clients=KNOWN) as here:
            told = sent(peer(here.number, token_file=token))
        assert [(one.outcome, one.status, one.word) for one in told] == [
            ("accepted", 0, "courier.accepted")
        ] * 3
        assert [(a.header.sop_instance_uid, a.data) for a in here.shelf.arrivals] == [
            (item.sop_instance_uid, item.data) for item in ITEMS
        ]

    @pytest.mark.parametrize("web", [replace(WEB, stow_objects_max=1), replace(WEB, stow_bytes_max=10)])
    def test_more_than_one_request_holds(self, token, web):
        with port(clients=KNOWN) as here:
            told = sent(peer(here.number, token_file=token), web=web)
        assert [one.sop_instance_uid for one in told] == ["2.25.1", "2.25.2", "2.25.3"]
        assert len(here.shelf.arrivals) == 3

    def test_what_is_refused_is_told_for_each(self, token):
        def before(arrival):
            match arrival.header.sop_instance_uid:
                case "2.25.1":
                    raise Refusal(Status.NO_SPACE, "disk.floor", "full")
                case "2.25.2":
                    raise Refusal(Status.UID_MISMATCH, "test", "no")

        with port(shelf=Shelf(before=before), clients=KNOWN) as here:
            told = sent(peer(here.number, token_file=token))
            full = sent(peer(here.number, token_file=token), ITEMS[:1])
        assert [(one.outcome, one.status) for one in told] == [
            ("later", 0xA700),
            ("refused", 0xC112),
            ("accepted", 0),
        ]
        assert [(one.outcome, one.word) for one in full] == [("later", "courier.later")]

    def test_tokens_that_are_wrong_or_not_there(self, tmp_path, token):
        token.write_text("wrong")
        with port(clients=KNOWN) as here:
            assert {s.word for s in sent(peer(here.number, token_file=token))} == {"courier.unauthorised"}
            assert {s.word for s in sent(peer(here.number))} == {"courier.unauthorised"}
            absent = peer(here.number, token_file=tmp_path / "absent")
            assert {(s.outcome, s.word) for s in sent(absent)} == {("later", "courier.token_file")}
        assert here.shelf.arrivals == []

    def test_under_tls_the_peer_proves_itself_first(self, tmp_path):
        authority = Authority(tmp_path)
        theirs, ours = authority.issue("pacs"), authority.issue("box")
        client = Clients(
            known=[replace(CLIENT, certificate_sha256=frozenset({_fingerprint(ours.certificate)}))]
        )
        serving = Credentials(
            Files(certificate=theirs.certificate, key=theirs.key, ca=authority.path),
            callers=ssl.CERT_OPTIONAL,
        )
        foreign = Authority(tmp_path / "foreign")

        def to(number: int, ca: Path, host: str = "127.0.0.1") -> WebPeer:
            calling = Credentials(Files(certificate=ours.certificate, key=ours.key, ca=ca))
            url = f"https://{host}:{number}/"
            return WebPeer(
                name="pacs", url=url, token_file=None, context=lambda: calling.client(checks_name=True)
            )

        with port(clients=client, tls=serving) as here:
            assert {s.outcome for s in sent(to(here.number, authority.path))} == {"accepted"}
            assert {s.word for s in sent(to(here.number, foreign.path))} == {"courier.tls_foreign_ca"}
            assert {s.word for s in sent(to(here.number, authority.path, "localhost"))} == {
                "courier.tls_wrong_name"
            }
        assert len(here.shelf.arrivals) == 3


Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[int, list[str]]]:
    """A server that reads a request and answers it as it is told."""
    targets: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            targets.append(self.path)
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1], targets
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def says(status: int, body: bytes = b"", kind: str = JSON_TYPE) -> Answer:
    def answer(handler, _body):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def stored(uid: str, reason: int = 0) -> Stored:
    return Stored(sop_class_uid="1.2", sop_instance_uid=uid, reason=reason)


ALL = [stored(f"2.25.{n}") for n in range(1, 4)]
MIXED = [stored("2.25.1"), stored("2.25.2", 0xA700), stored("2.25.3", 0x0122)]
NONE = [stored("2.25.1", 0xC000), stored("2.25.2", 0x0111), stored("2.25.3")]


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        (says(200, json_of(ALL)), ["accepted"] * 3),
        (says(200, xml_of(ALL), XML_TYPE), ["accepted"] * 3),
        (says(200), ["accepted"] * 3),
        (says(200, json_of(ALL[:2])), ["accepted", "accepted", "later"]),
        (says(202, json_of(MIXED)), ["accepted", "later", "refused"]),
        (says(202), ["later"] * 3),
        # A duplicate is there already; "stored" beside a 409 is not believed.
        (says(409, json_of(NONE)), ["refused", "accepted", "refused"]),
        (says(409, b"not JSON"), ["refused"] * 3),
        (says(400), ["refused"] * 3),
        (says(413), ["refused"] * 3),
        (says(404), ["later"] * 3),
        (says(302), ["later"] * 3),
        (says(429), ["later"] * 3),
        (says(500), ["later"] * 3),
        (says(503), ["later"] * 3),
    ],
)
def test_what_an_answer_means(answer, outcomes):
    with answering(answer) as (number, targets):
        assert [one.outcome for one in sent(peer(number, path="/dicom-web/"))] == outcomes
    assert set(targets) == {"/dicom-web/studies"}


@pytest.mark.parametrize("reason", [0x0122, 0xC122])
def test_a_class_that_is_not_taken_is_told_as_an_association_tells_it(reason):
    with answering(says(409, json_of([stored("2.25.1", reason)]))) as (number, _):
        (told,) = sent(peer(number), ITEMS[:1])
    assert (told.outcome, told.word, told.status) == ("refused", "courier.no_context", reason)


def test_one_object_that_is_too_large_does_not_take_the_others_down():
    def answer(handler, body):
        says(413 if body.count(b"application/dicom\r\n") > 1 or b"2.25.2" in body else 200)(handler, body)

    with answering(answer) as (number, _):
        told = sent(peer(number))
    assert [one.outcome for one in told] == ["accepted", "refused", "accepted"]


def test_hostile_answers_are_bounded():
    def endless(handler, _body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except OSError:
            pass

    def head(handler, _body):
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 200_000)

    def rubbish(handler, _body):
        handler.wfile.write(b"\0\1\2 rubbish\r\n\r\n")

    def nothing(_handler, _body):
        pass

    def cut(handler, _body):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    for answer in (endless, head, rubbish, nothing, cut):
        with answering(answer) as (number, _):
            told = sent(peer(number))
        assert {one.outcome for one in told} == {"later"}
        assert {one.word for one in told} <= {"courier.protocol_error", "courier.aborted"}, answer


def test_a_peer_that_says_nothing_or_is_not_there():
    release = threading.Event()

    def silent(_handler, _body):
        release.wait(10)

    with answering(silent) as (number, _):
        told = list(stow(peer(number), objects=ITEMS, limits=replace(LIMITS, dimse_seconds_max=0.3), web=WEB))
        release.set()
    assert {one.word for one in told} == {"courier.no_reply"}
    assert {one.word for one in sent(peer(number))} == {"courier.unreachable"}


@given(status=st.integers(100, 599), body=st.binary(max_size=50))
def test_only_an_answer_that_says_so_is_acceptance(status, body):
    told = _outcome(ITEMS[0], _Reply(status=status, said=None))
    assert (told.outcome == "accepted") == (status == 200)


def _fingerprint(certificate: Path) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
