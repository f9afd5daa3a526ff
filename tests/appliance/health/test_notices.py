"""Notices: what they hold, and that handing them over ends, whatever the other side does."""

import http.server
import json
import socketserver
import threading
from email import message_from_bytes
from typing import Any, ClassVar

import pytest

from appliance.core.alarming import AlarmKind
from appliance.core.config import parse
from appliance.health import notices
from appliance.ledger.alarms import Alarm

ALARM = Alarm(
    kind=AlarmKind.NO_ARRIVALS,
    subject="CT",
    numbers={"since": 1_772_863_200.0, "least": 16.0, "weeks": 4.0},
    raised_at=1_772_870_400.0,
)
MAIL = {"mail_from": "box@example.org", "mail_to": ["it@example.org", "ct@example.org"], "mail_tls": "none"}


def config(**alerts):
    return parse(
        {
            "site": {"name": "St Elsewhere", "time_zone": "Europe/Vienna"},
            "storage": {"root": "/var/lib/x"},
            "alerts": alerts,
        }
    )


def test_a_notice_is_a_sentence_with_the_sites_own_clock():
    made = notices.bodies(
        config(webhook="http://127.0.0.1:1/x", mail_host="127.0.0.1", **MAIL),
        ALARM,
        notices.RAISED,
        at=1_772_870_400.0,
    )
    said = json.loads(made["webhook"])
    assert said["text"] == (
        "Alarm: No CT since Saturday 07:00, although at least 16 came in the same hours of each of 4 weeks"
        " before."
    )
    assert set(said) == {"site", "device", "alarm", "subject", "state", "at", "since", "text"}
    mail = message_from_bytes(made["mail"])
    assert mail["Subject"] == "Readside, St Elsewhere: no_arrivals raised"
    assert "No CT since Saturday 07:00" in mail.get_payload()
    assert notices.bodies(config(), ALARM, notices.ENDED, at=0.0) == {}


@pytest.fixture
def listening():
    """Serve one class of handler on loopback."""
    servers = []

    def _listen(handler):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield _listen
    for server in servers:
        server.shutdown()
        server.server_close()


class Hook(http.server.BaseHTTPRequestHandler):
    status: ClassVar[int] = 204
    heard: ClassVar[list[bytes]] = []

    def do_POST(self):
        self.heard.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "word"), [(204, "taken"), (200, "taken"), (302, "answered_302"), (500, "answered_500")]
)
def test_a_webhook_gets_exactly_the_bytes_and_no_redirect_is_followed(listening, status, word):
    hook: Any = type("One", (Hook,), {"status": status, "heard": []})
    site = config(webhook=f"http://127.0.0.1:{listening(hook)}/x")
    assert notices.hand_over("webhook", b'{"a": 1}', site.alerts, seconds_max=5) == word
    assert hook.heard == [b'{"a": 1}']


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1)
        threading.Event().wait(3)


def test_a_webhook_that_never_answers_ends(listening):
    site = config(webhook=f"http://127.0.0.1:{listening(Silent)}/x")
    assert notices.hand_over("webhook", b"{}", site.alerts, seconds_max=0.3).startswith("failed_")


def test_what_nobody_listens_to_is_a_word():
    site = config(webhook="http://127.0.0.1:1/x", mail_host="127.0.0.1", mail_port=1, **MAIL)
    assert notices.hand_over("webhook", b"{}", site.alerts, seconds_max=2) == "failed_urlerror"
    assert notices.hand_over("mail", b"x", site.alerts, seconds_max=2) == "failed_connectionrefusederror"
    assert notices.hand_over("mail", b"x", config().alerts, seconds_max=2) == "not_wanted"


class Post(socketserver.StreamRequestHandler):
    """Enough of RFC 5321 to take a mail."""

    heard: ClassVar[list[bytes]] = []

    def handle(self):
        self.wfile.write(b"220 hello\r\n")
        for line in self.rfile:
            self.heard.append(line)
            word = line[:4].upper()
            if word == b"EHLO":
                self.wfile.write(b"250-hello\r\n250 8BITMIME\r\n")
            elif word == b"DATA":
                self.wfile.write(b"354 go\r\n")
            elif line == b".\r\n" or word in (b"MAIL", b"RCPT"):
                self.wfile.write(b"250 ok\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return


def test_a_mail_goes_to_everybody_who_was_named(listening):
    post: Any = type("One", (Post,), {"heard": []})
    site = config(mail_host="127.0.0.1", mail_port=listening(post), **MAIL)
    body = notices.bodies(site, ALARM, notices.RAISED, at=1_772_870_400.0)["mail"]
    assert notices.hand_over("mail", body, site.alerts, seconds_max=5) == "taken"
    said = b"".join(post.heard)
    assert said.upper().count(b"RCPT TO:") == 2
    assert b"No CT since Saturday 07:00" in said


def test_a_server_without_tls_gets_nothing_where_tls_was_asked_for(listening):
    post: Any = type("One", (Post,), {"heard": []})
    site = config(mail_host="127.0.0.1", mail_port=listening(post), **{**MAIL, "mail_tls": "starttls"})
    word = notices.hand_over("mail", b"secret", site.alerts, seconds_max=5)
    assert word == "failed_smtpnotsupportederror"
    assert b"secret" not in b"".join(post.heard)
