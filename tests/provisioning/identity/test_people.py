"""People invite, let back and revoke over HTTP, each as their role allows."""

from __future__ import annotations

import httpx
import pytest
from argon2 import PasswordHasher

from appliance.sync.csr import request_for
from appliance.sync.est import Waits
from provisioning.identity.code import read_invitation
from provisioning.registry.database import accounts, audit
from provisioning.registry.database.words import Role
from tests.provisioning.identity.town import DAY, SLOT

PASSWORD = "correct horse battery"


@pytest.fixture
def people(town):
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with town.office.database.write() as tx:
        for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR), ("ann", Role.APPROVER)):
            accounts.add(tx, name, cheap, role, at=town.clock.now())
    return town


def said(town, who, path, **body):
    return httpx.request(
        "POST" if body else "GET",
        f"{town.url}/api/v1{path}",
        auth=(who, PASSWORD) if who else None,
        json=body or None,
        timeout=30,
    )


def test_operators_invite_and_approvers_let_back_and_revoke(people):
    wish = {"slot": SLOT, "url": people.url, "site": "north"}
    assert said(people, "vera", "/invitations", **wish).status_code == 403
    assert said(people, "", "/invitations", **wish).status_code == 401
    made = said(people, "otto", "/invitations", **wish)
    assert made.status_code == 201
    box = people.machine("first")
    device = box.enrol(read_invitation(made.json()["invitation"])).device
    occupied = said(people, "otto", "/invitations", **wish)
    assert occupied.status_code == 409
    assert "--replace" in occupied.json()["error"]

    people.clock.advance(91 * DAY)
    with pytest.raises(Waits):
        box.desk.renew(SLOT, request_for(box.key, SLOT))
    (waiting,) = said(people, "vera", "/returns").json()["returns"]
    assert (waiting["device"], waiting["slot"]) == (device, SLOT)
    assert said(people, "otto", f"/returns/{device}", why="was off").status_code == 403
    assert said(people, "ann", f"/returns/{device}", why="was off").status_code == 200
    assert said(people, "ann", f"/returns/{device}", why="was off").status_code == 409
    assert box.desk.renew(SLOT, request_for(box.key, SLOT)).certificate.device == device

    assert said(people, "otto", f"/devices/{device}/revoke", why="lost").status_code == 403
    assert said(people, "ann", f"/devices/{device}/revoke", why="lost").json()["state"] == "revoked"
    assert said(people, "ann", f"/devices/{device}/revoke", why="lost").status_code == 409
    with people.office.database.read() as tx:
        acts = [(act.who, act.act, act.why) for act in audit.acts(tx, limit=4)]
    assert acts == [
        ("ann", "device.revoke", "lost"),
        ("device", "device.came_back", ""),
        ("ann", "device.approve", "was off"),
        ("device", "device.enrol", ""),
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"slot": "a/b"}, {"url": "file:///x"}, {"days": 0}, {"more": 1}, {"site": "<b>"}, {"slot": "-a"}],
)
def test_a_wish_that_is_none_is_refused(people, wrong):
    assert (
        said(people, "otto", "/invitations", **{"slot": SLOT, "url": people.url, **wrong}).status_code == 422
    )
