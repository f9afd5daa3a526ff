"""The pages: who gets in, what is escaped, which forms count."""

from __future__ import annotations

import http.client
import re
from contextlib import closing
from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from appliance.core.clock import HeldClock
from provisioning.firstboot.desk import Desk
from provisioning.firstboot.door import Door
from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.pages import application
from provisioning.firstboot.steps import KEYS
from provisioning.firstboot.web import Served
from provisioning.identity import code as codes
from tests.provisioning.firstboot.said import PASSWORD
from tests.provisioning.firstboot.test_values import TEXT

CODE = codes.make()


@pytest.fixture
def clock():
    return HeldClock(1_000.0)


@pytest.fixture
def desk(sitting, clock):
    return Desk(sitting, Door(CODE, clock), clock=clock)


@pytest.fixture
def outside(desk):
    served = Served(application(desk), host="127.0.0.1", port=0, tls=None)
    with httpx.Client(base_url=f"http://127.0.0.1:{served.start()}", timeout=60) as client:
        yield client
    served.stop()


@pytest.fixture
def inside(outside):
    assert enter(outside).status_code == 303
    return outside


def proof(page):
    return re.findall(r'name="csrf" value="([0-9a-f]+)"', page.text)[0]


def enter(client, code=CODE):
    return client.post("/", data={"csrf": proof(client.get("/")), "code": code})


def post(client, key, said):
    return client.post(f"/step/{key}", data={"csrf": proof(client.get(f"/step/{key}"))} | said)


@pytest.mark.parametrize("path", ["/last", *(f"/step/{key}" for key in KEYS)])
def test_without_the_code_there_is_only_the_door(outside, path):
    assert outside.get(path).headers["location"] == "/"
    assert outside.post(path, data={"do": "answer"}).headers["location"] == "/"
    assert outside.post("/end").headers["location"] == "/"


def test_wrong_codes_are_refused_and_then_locked_out(outside, clock):
    for _ in range(DEFAULT.tries_max - 1):
        assert enter(outside, codes.make()).status_code == 401
    assert enter(outside, codes.make()).status_code == 429
    locked = enter(outside)
    assert locked.status_code == 429
    assert "locked for 5 min" in locked.text
    clock.advance(DEFAULT.locked_seconds + 1)
    assert enter(outside).status_code == 303


def test_a_form_from_elsewhere_does_not_count(outside, desk):
    assert outside.post("/", data={"csrf": "0" * 64, "code": CODE}).status_code == 403
    enter(outside)
    assert outside.post("/step/site", data={"csrf": "0" * 64, "name": "Other"}).status_code == 403
    assert outside.post("/last", data={"csrf": ""}).status_code == 403
    outside.post("/end", data={"csrf": ""})
    assert desk.sitting.answers.is_open("site")
    assert desk.done is None
    assert not desk.is_over()


def test_the_style_is_there_for_everybody(outside):
    for address in re.findall(r'href="(/[^"]+)"', outside.get("/").text):
        assert outside.get(address).status_code == 200


def test_every_answer_has_the_guards_headers_and_a_session_no_script_can_read(outside):
    page = outside.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    entered = enter(outside)
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert "SameSite=strict" in entered.headers["set-cookie"]
    assert "<script" not in page.text + outside.get("/step/pacs").text


def test_what_is_too_large_is_refused(inside):
    # Announced and never sent: a body that nobody reads would cut the answer off.
    with closing(http.client.HTTPConnection("127.0.0.1", inside.base_url.port, timeout=20)) as line:
        line.putrequest("POST", "/step/site")
        line.putheader("Content-Length", "70000")
        line.endheaders()
        assert line.getresponse().status == 413
    assert inside.get("/step/nothing").headers["location"] == "/"


def test_a_fault_stands_at_its_step_beside_what_was_typed(inside, desk):
    typed = {"name": "pacs", "ae_title": "ARCHIVE", "host": "h", "port": "99999", "outputs": "sr"}
    answer = post(inside, "pacs", {"do": "answer"} | typed)
    assert answer.status_code == 422
    assert "peers.pacs.port" in answer.text
    assert 'value="ARCHIVE"' in answer.text
    assert desk.sitting.answers.is_open("pacs")
    assert "say why" in post(inside, "pacs", {"do": "skip", "reason": " "}).text


def test_secrets_are_on_no_page(inside, said):
    for key in KEYS:
        post(inside, key, said.form(key))
    post(inside, "registry", {"do": "answer", "url": "https://r.example.org", "slot": "box-1", "code": CODE})
    again = post(
        inside, "registry", {"do": "answer", "url": f"https://r.example.org#slot=box-1&code={CODE}X"}
    )
    assert again.status_code == 422
    pages = [again, inside.get("/last"), inside.get("/step/account"), inside.get("/step/registry")]
    text = "".join(page.text for page in pages)
    assert CODE not in text
    assert "argon2id" not in text
    assert PASSWORD not in text


def test_it_ends_soon_after_it_was_finished(inside, said, desk, clock):
    refused = inside.post("/last", data={"csrf": proof(inside.get("/last"))})
    assert refused.status_code == 422
    assert "network: is neither answered nor skipped" in refused.text
    for key in KEYS:
        assert post(inside, key, said.form(key)).status_code == 303
    desk.sitting.config.write_text("# another")
    taken = inside.post("/last", data={"csrf": proof(inside.get("/last"))})
    assert taken.status_code == 409
    assert "--over" in taken.text
    desk.sitting.config.unlink()
    done = inside.post("/last", data={"csrf": proof(inside.get("/last"))})
    assert done.status_code == 200
    assert "readside doctor" in done.text
    assert "No registry" in done.text
    assert not desk.is_over()
    clock.advance(DEFAULT.grace_seconds + 0.1)
    assert desk.is_over()


class Tags(HTMLParser):
    """Every tag of a page with the names of its attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))


MARKUP = [
    '"><script>alert(1)</script>',
    "' onfocus=x",
    "<b>",
    "</pre></code><img src=x>",
    "&lt;",
    "{{ 7*7 }}",
]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT)
def test_no_text_becomes_markup(inside, text):
    check_shown(inside, text)


@pytest.mark.parametrize("text", MARKUP)
def test_markup_stays_text(inside, text):
    check_shown(inside, text)


def check_shown(client, text):
    """Type a text as a name and as a reason, whether it is taken or refused, and look at what is shown."""
    text = text.encode("utf-8", "replace").decode()
    post(client, "site", {"do": "answer", "name": "plain"})
    post(client, "models", {"do": "skip", "reason": "plain"})
    before = [Tags(client.get(path).text).found for path in ("/step/site", "/step/models", "/last")]
    refused = post(client, "site", {"do": "answer", "name": text})
    post(client, "models", {"do": "skip", "reason": text})
    after = [Tags(client.get(path).text).found for path in ("/step/site", "/step/models", "/last")]
    assert after == before
    if refused.status_code == 422:
        shown = [tag for tag in Tags(refused.text).found if tag != ("p", ["class", "role"])]
        assert shown == before[0]
