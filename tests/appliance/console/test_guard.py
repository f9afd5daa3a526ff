"""Bounds and headers of every request and answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from appliance.console.guard import Guard
from appliance.console.limits import DEFAULT


@pytest.mark.parametrize("path", ["/login", "/static/readside.css", "/nowhere", "/api/v1/status", "/"])
def test_every_answer_carries_the_policy(console, path):
    headers = console.visitor().get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


def test_patient_data_is_not_stored_but_our_own_files_may_be(filled):
    browser = filled.logged_in()
    for page in ("/studies", "/studies/rows", "/objects/2/preview.png", "/api/v1/studies", "/attention"):
        assert browser.get(page).headers["cache-control"] == "no-store"
    assert browser.get("/static/htmx.min.js").headers["cache-control"] == "no-cache"


def test_an_announced_large_body_is_refused(console):
    answer = console.visitor().post("/login", content=b"x" * (DEFAULT.body_bytes_max + 1))
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("The request is too large")


def test_a_large_body_in_pieces_is_refused(console):
    pieces = (b"x" * 1024 for _ in range(DEFAULT.body_bytes_max // 1024 + 1))
    assert console.visitor().post("/login", content=pieces).status_code == 413


def test_a_body_at_the_bound_is_read(console):
    assert console.visitor().post("/login", content=b"x" * DEFAULT.body_bytes_max).status_code == 403


def test_a_length_that_is_no_number_is_refused(console):
    answer = console.visitor().post("/login", content=b"x", headers={"content-length": "9" * 30})
    assert answer.status_code == 413


def test_a_long_address_is_refused(console):
    assert console.visitor().get("/" + "a" * 3000).status_code == 414


def ask(receive, limits=DEFAULT):
    """Run one POST whose body comes from `receive`; return the status and whether the application saw it."""
    sent, seen = [], []

    async def app(scope, receive, send):
        seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}
    asyncio.run(Guard(app, limits)(scope, receive, send))
    return sent[0]["status"], seen


def test_a_body_that_trickles_is_cut_off():
    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    assert ask(receive, replace(DEFAULT, body_seconds_max=0.1)) == (408, [])


def test_a_body_that_ends_early_reaches_nobody():
    async def receive():
        return {"type": "http.disconnect"}

    assert ask(receive) == (400, [])


def test_a_body_is_handed_on_whole():
    parts = [b"one ", b"two"]

    async def receive():
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    status, seen = ask(receive)
    assert (status, seen[0]["body"]) == (200, b"one two")
