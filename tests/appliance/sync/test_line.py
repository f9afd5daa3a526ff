"""A signed POST has one bounded answer, or a word for why there is none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from appliance.core.clock import HeldClock
from appliance.sync import softkey
from appliance.sync.line import LINE, Declined, post_to
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import verify

NOW = 1_800_000_000.0
PATH = "/api/device/v1/batch"
HASTY = replace(LINE, seconds_max=0.6, answer_bytes_max=100)


class Handler(BaseHTTPRequestHandler):
    """One request, answered as a test wants."""

    protocol_version = "HTTP/1.1"
    answer: Callable[[Handler, bytes], None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        type(self).answer(self, body)

    def give(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(answer: Callable[[Handler, bytes], None]) -> Iterator[str]:
    made = type("Made", (Handler,), {"answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=20)


def refusal(answer, **asked) -> Refusal:
    with answering(answer) as url, pytest.raises(Refusal) as refused:
        post_to(url, None, PATH, b"{}", clock=HeldClock(NOW), limits=HASTY, **asked)
    return refused.value


def test_what_arrives_is_what_was_signed(tmp_path):
    key = softkey.make(tmp_path / "device.key")
    seen = []

    def answer(handler, body):
        verify(key.public_pem, method="POST", path=handler.path, body=body, headers=handler.headers, now=NOW)
        seen.append((handler.path, body, handler.headers["Content-Type"]))
        handler.give(200, b'{"acknowledged": 7}')

    with answering(answer) as url:
        said = post_to(url + "/", key, PATH, b"records", content_type="x/y", clock=HeldClock(NOW))
    assert json.loads(said) == {"acknowledged": 7}
    assert seen == [(PATH, b"records", "x/y")]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, Word.UNKNOWN_FORM),
        (401, Word.NOT_CLAIMED),
        (403, Word.NOT_CLAIMED),
        (404, Word.NOT_A_REGISTRY),
        (409, Word.BOX_REFUSED),
        (413, Word.UNKNOWN_FORM),
        (429, Word.UNREACHABLE),
        (500, Word.UNREACHABLE),
        (503, Word.UNREACHABLE),
    ],
)
def test_each_status_has_its_word(status, word):
    refused = refusal(lambda handler, _: handler.give(status, b'{"reason": "because"}'))
    assert isinstance(refused, Declined)
    assert (refused.word, refused.status, refused.reason) == (word, status, "because")
    assert "because" in refused.sentence


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"reason": 7}', b"\xff\xfe", b'{"reason": "clock"}'])
def test_a_strange_refusal_is_one_all_the_same(body):
    assert refusal(lambda handler, _: handler.give(401, body)).word is Word.NOT_CLAIMED


@pytest.mark.parametrize(("ahead", "word"), [(-1_000, Word.CLOCK_AHEAD), (1_000, Word.CLOCK_BEHIND)])
def test_a_wrong_clock_is_called_that(ahead, word):
    body = json.dumps({"reason": "clock", "now": int(NOW) + ahead}).encode()
    assert refusal(lambda handler, _: handler.give(401, body)).word is word


def test_a_log_in_page_is_no_registry():
    page = b"<html>Welcome to the hospital's network</html>"
    assert refusal(lambda handler, _: handler.give(200, page)).word is Word.CAPTIVE_PORTAL
    assert refusal(lambda handler, _: handler.give(511, page)).word is Word.CAPTIVE_PORTAL
    moved = refusal(lambda handler, _: handler.give(302, b"", Location="http://127.0.0.1:9/elsewhere"))
    assert moved.word is Word.CAPTIVE_PORTAL


def test_an_answer_ends():
    assert refusal(lambda handler, _: handler.give(200, b"x" * 101)).word is Word.ENDLESS_DATA


def test_an_answer_that_drips_is_ended():
    over = threading.Event()

    def drip(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", "50")
        handler.end_headers()
        end = time.monotonic() + 20
        while not over.is_set() and time.monotonic() < end:
            try:
                handler.wfile.write(b"x")
                handler.wfile.flush()
            except OSError:
                return
            over.wait(0.2)

    try:
        assert refusal(drip).word is Word.TOO_SLOW
    finally:
        over.set()


def test_a_line_that_breaks_says_so():
    def broken(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", "50")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    assert refusal(broken).word is Word.CUT_OFF


@pytest.mark.parametrize("url", ["", "file:///srv/registry", "http://127.0.0.1:1", "http://[::1"])
def test_where_nobody_is_nothing_is_sent(url):
    with pytest.raises(Refusal) as refused:
        post_to(url, None, PATH, b"", clock=HeldClock(NOW), limits=HASTY)
    assert refused.value.word is Word.UNREACHABLE
