"""Roll-outs over HTTP: who may do what, and what is answered to what cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import HeldClock
from provisioning.registry.book import Book
from provisioning.registry.database import audit
from provisioning.registry.publish import releases
from provisioning.registry.server import stamping
from provisioning.registry.server.app import DUTIES
from tests.appliance import packages
from tests.provisioning.fleet import PASSWORD, Fleet, Reporter, fleet
from tests.provisioning.registry.rollout.conftest import published
from tests.provisioning.registry.rollout.making import MONDAY

__all__ = ["published"]
NAME, NEW, DAY = packages.NAME, "1.2.0", 86_400.0


@pytest.fixture
def fleet_of_two(published: Path, tmp_path: Path, clock: HeldClock) -> Iterator[Fleet]:
    """A server with people, and two slots."""
    clock.seconds = MONDAY
    folder = Path(shutil.copytree(published / "registry", tmp_path / "registry"))
    with fleet(Book(folder=folder, clock=clock), clock, NAME) as made:
        for slot in ("a", "b"):
            made.slot(Reporter(slot=slot, gpu="l4", vendor="ge", site=slot))
        yield made


def start(made: Fleet, who: str = "otto", **more: Any) -> dict[str, Any]:
    return made.say(who, "", **{"model": NAME, "version": NEW, **more})


def test_operators_start_and_approvers_approve(fleet_of_two: Fleet):
    assert start(fleet_of_two, "vera")["status"] == 403
    assert fleet_of_two.served.get("/api/v1/rollouts").status_code == 401
    assert start(fleet_of_two)["stage"] == "proposed"
    assert fleet_of_two.say("otto", "/1/approve")["status"] == 403
    assert fleet_of_two.say("ann", "/1/approve")["stage"] == "running"
    for act, stage in (("pause", "paused"), ("resume", "running"), ("back", "back")):
        assert fleet_of_two.say("vera", f"/1/{act}")["status"] == 403
        assert fleet_of_two.say("otto", f"/1/{act}", why="because")["stage"] == stage
    shown = fleet_of_two.show(1)
    assert shown["reasons"] == ["because"]
    kinds = [event["kind"] for event in fleet_of_two.show(1, "/events")["events"]]
    assert kinds == ["approved", "paused", "resumed", "returned"]
    with fleet_of_two.database.read() as tx:
        newest = audit.acts(tx, subject="rollout 1", limit=1)[0]
    assert (newest.who, newest.why) == ("otto", "because")


def test_who_made_it_does_not_approve_it(fleet_of_two: Fleet):
    assert start(fleet_of_two, "ann")["status"] == 201
    said = fleet_of_two.say("ann", "/1/approve")
    assert (said["status"], "somebody else must approve" in said["error"]) == (409, True)


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"version": "9.0.0"}, 422),
        ({"slots": ["z"]}, 422),
        ({"shares": [0.5]}, 422),
        ({"gates": {"studies": 1}}, 422),
        ({"gates": {"studies_min": -1}}, 422),
        ({"at_once_max": 0}, 422),
        ({"urgent": True}, 422),
    ],
)
def test_a_wish_that_cannot_be_is_a_sentence(fleet_of_two: Fleet, wish: dict[str, Any], status: int):
    said = start(fleet_of_two, **wish)
    assert said["status"] == status
    assert said["error"]


def test_what_is_not_there_is_404_and_what_cannot_be_now_409(fleet_of_two: Fleet):
    assert fleet_of_two.say("ann", "/1/approve")["status"] == 404
    start(fleet_of_two)
    assert fleet_of_two.say("otto", "/1/pause")["status"] == 409
    listed = fleet_of_two.served.get("/api/v1/rollouts", auth=("vera", PASSWORD)).json()["rollouts"]
    assert [(one["id"], one["stage"], one["slots"]) for one in listed] == [(1, "proposed", {"pending": 2})]


def test_a_change_is_json_and_no_other_sites_page_sends_it(fleet_of_two: Fleet):
    start(fleet_of_two)
    post = fleet_of_two.served.post
    auth = ("otto", PASSWORD)
    assert post("/api/v1/rollouts/1/stop", data={"why": "x"}, auth=auth).status_code == 415
    foreign = {"sec-fetch-site": "cross-site"}
    assert post("/api/v1/rollouts/1/stop", json={}, auth=auth, headers=foreign).status_code == 403


def test_the_server_carries_roll_outs_out_and_stamps_the_lists_once_a_day(fleet_of_two: Fleet):
    room, book = fleet_of_two.app.state.room, fleet_of_two.book
    duties = {duty.name: duty for duty in DUTIES}
    assert "roll out" in duties
    book.stamp_all()
    ends_at = stamping.stamp_ends_at(book, "image")
    fleet_of_two.clock.advance(DAY / 2)
    duties["stamp"].work(room)
    assert stamping.stamp_ends_at(book, "image") == ends_at
    fleet_of_two.clock.advance(DAY / 2)
    duties["stamp"].work(room)
    assert stamping.stamp_ends_at(book, "image") == ends_at + DAY
    assert stamping.stamp_ends_at(book, "director") == ends_at + DAY
    assert len(releases(book)) == 4


def test_the_directors_old_lists_do_not_pile_up(fleet_of_two: Fleet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stamping, "DIRECTOR_LISTS_KEPT", 3)
    book, folder = fleet_of_two.book, fleet_of_two.book.layout.metadata("director")
    for _ in range(5):
        book.stamp_all()
    newest = book.lists("director").targets().version
    fleet_of_two.clock.advance(DAY)
    stamping.stamp(fleet_of_two.app.state.room)
    kept = {int(path.name.partition(".")[0]) for path in folder.glob("*.targets.json")}
    assert kept == {newest - 1, newest, newest + 1}
    assert book.lists("director").targets().version == newest + 1


def test_a_registry_without_the_servers_keys_is_not_stamped(fleet_of_two: Fleet):
    room = fleet_of_two.app.state.room
    for path in fleet_of_two.book.layout.online.iterdir():
        path.unlink()
    before = stamping.stamp_ends_at(fleet_of_two.book, "image")
    fleet_of_two.clock.advance(3 * DAY)
    stamping.stamp(replace(room))
    assert stamping.stamp_ends_at(fleet_of_two.book, "image") == before
