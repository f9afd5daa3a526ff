"""People are let in with a role, see the fleet, and every change of theirs is in the trail."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from appliance.core.clock import HeldClock
from provisioning.registry.database import accounts, audit, devices
from provisioning.registry.database.engine import Database
from provisioning.registry.database.words import Role
from tests.provisioning.registry.given import RELEASE, Served, enrolled, machine, state

PASSWORD = "correct horse battery"
# Cheap to make: what is tested is who is let in, and not how hard a hash is.
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def person(database: Database, role: Role, name: str = "maria") -> tuple[str, str]:
    with database.write() as tx:
        accounts.add(tx, name, HASH, role, at=1.0)
    return name, PASSWORD


def acts(database: Database) -> list[str]:
    with database.read() as tx:
        return [one.act for one in audit.acts(tx, limit=50)]


def test_nobody_is_shown_anything_without_a_log_in(served: Served):
    for path in ("me", "devices", "health", "alerts", "audit", "openapi.json"):
        answer = served.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()) == (401, {"error": "Log in first."})


def test_a_wrong_password_is_refused_and_recorded(served: Served, database: Database):
    name, _ = person(database, Role.ADMIN)
    assert served.get("/api/v1/me", auth=(name, "wrong")).status_code == 401
    assert served.get("/api/v1/me", auth=("nobody", PASSWORD)).status_code == 401
    assert acts(database) == ["account.login_failed"] * 2
    with database.read() as tx:
        assert [one.who for one in audit.acts(tx, limit=2)] == ["unknown name", name]


def test_too_many_failures_lock_one_name_and_no_other(served: Served, database: Database):
    name, _ = person(database, Role.VIEWER)
    other, _ = person(database, Role.VIEWER, "karl")
    told = [served.get("/api/v1/me", auth=(name, "wrong")).status_code for _ in range(11)]
    assert told == [401] * 10 + [429]
    assert served.get("/api/v1/me", auth=(name, PASSWORD)).status_code == 429
    assert served.get("/api/v1/me", auth=(other, PASSWORD)).status_code == 200


def test_a_disabled_account_is_out_at_once(served: Served, database: Database):
    who = person(database, Role.VIEWER)
    assert served.get("/api/v1/me", auth=who).json()["role"] == "viewer"
    with database.write() as tx:
        assert accounts.disable(tx, who[0], at=2.0)
    assert served.get("/api/v1/me", auth=who).status_code == 401


def test_a_former_password_is_worth_nothing(served: Served, database: Database):
    who = person(database, Role.VIEWER)
    assert served.get("/api/v1/me", auth=who).status_code == 200
    with database.write() as tx:
        accounts.change(tx, who[0], password_hash=PasswordHasher(1, 8, 1).hash("another one entirely"))
    assert served.get("/api/v1/me", auth=who).status_code == 401


@pytest.mark.parametrize("role", list(Role))
def test_the_trail_is_for_approvers(served: Served, database: Database, role: Role):
    answer = served.get("/api/v1/audit", auth=person(database, role))
    assert answer.status_code == (200 if role in (Role.APPROVER, Role.ADMIN) else 403)


def plan(served: Served, who: tuple[str, str], **options: Any) -> httpx.Response:
    wish = {"until": 1_700_003_600.0, "why": "moving house"}
    return served.post("/api/v1/slots/box-1/offline", auth=who, **{"json": wish, **options})


@pytest.mark.parametrize("role", list(Role))
def test_a_silence_is_planned_by_operators(served: Served, database: Database, role: Role):
    enrolled(database)
    answer = plan(served, person(database, role))
    with database.read() as tx:
        slot = devices.slot(tx, "box-1")
    assert slot is not None
    if role is Role.VIEWER:
        assert (answer.status_code, slot.offline_until) == (403, None)
        assert acts(database) == []
    else:
        assert (answer.status_code, slot.offline_until) == (200, 1_700_003_600.0)
        with database.read() as tx:
            (one,) = audit.acts(tx, limit=5)
        assert (one.who, one.act, one.subject, one.after, one.why) == (
            "maria",
            "slot.offline",
            "box-1",
            "2023-11-14T23:13:20Z",
            "moving house",
        )


def test_a_foreign_page_changes_nothing(served: Served, database: Database):
    enrolled(database)
    who = person(database, Role.ADMIN)
    assert plan(served, who, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert plan(served, who, json=None, content=b"{}").status_code == 415
    assert acts(database) == []


def test_what_is_wrong_with_a_wish_is_said(served: Served, database: Database):
    who = person(database, Role.ADMIN)
    assert plan(served, who).status_code == 404
    assert plan(served, who, json={"until": None, "why": ""}).status_code == 422
    assert plan(served, who, json={"until": None, "why": "x", "more": 1}).status_code == 422


def test_devices_are_listed_page_by_page(served: Served, database: Database, clock: HeldClock):
    own = {name: enrolled(database, name, site="north") for name in ("a", "b", "c")}
    served.batch(own["b"], [], at=clock.now())
    who = person(database, Role.VIEWER)
    first = served.get("/api/v1/devices?limit=2", auth=who).json()
    assert [(one["slot"], one["heard"]) for one in first["devices"]] == [("a", False), ("b", True)]
    then = served.get(f"/api/v1/devices?limit=2&after={first['next']}", auth=who).json()
    assert ([one["slot"] for one in then["devices"]], then["next"]) == (["c"], None)


def test_a_device_shows_what_it_said(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database)
    served.batch(device, [machine(1, clock.now()), state(2, clock.now(), phase=10)], at=clock.now())
    who = person(database, Role.VIEWER)
    shown = served.get(f"/api/v1/devices/{device.id}", auth=who).json()
    assert [(one["kind"], one["release"]) for one in shown["states"]] == [
        ("STATE", f"{RELEASE:012x}"),
        ("MACHINE", None),
    ]
    assert "public_key" not in shown["device"]
    past = served.get(f"/api/v1/devices/{device.id}/history?kind=STATE", auth=who).json()
    assert past["records"] == [{"at": clock.now(), "numbers": {"release": RELEASE, "phase": 10}}]
    health = served.get("/api/v1/health", auth=who).json()
    assert health["releases"] == [{"release": f"{RELEASE:012x}", "phase": 10, "devices": 1}]
    assert (health["devices"], health["heard"]) == ({"enrolled": 1}, 1)
    assert served.get(f"/api/v1/devices/{'0' * 64}", auth=who).status_code == 404


def test_the_description_names_every_path(served: Served, database: Database):
    described = served.get("/api/v1/openapi.json", auth=person(database, Role.VIEWER)).json()
    assert {"/api/v1/devices", "/api/v1/alerts", "/api/v1/slots/{name}/offline"} <= set(described["paths"])


def test_metrics_count_the_fleet_and_name_nobody(served: Served, database: Database, clock: HeldClock):
    device = enrolled(database, "box-of-north", site="northern hospital")
    served.batch(device, [state(1, clock.now(), phase=10)], at=clock.now())
    told = served.get("/metrics").text
    assert 'readside_registry_devices{state="enrolled"} 1.0' in told
    assert "readside_registry_devices_heard 1.0" in told
    assert f'readside_registry_release_devices{{phase="soak",release="{RELEASE:012x}"}} 1.0' in told
    assert "readside_registry_batches_total 1.0" in told
    for name in ("north", device.id, "box-of"):
        assert name not in told


def test_a_proxys_request_for_metrics_needs_a_log_in(served: Served):
    assert served.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 401
