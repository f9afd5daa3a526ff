"""What the pages of devices, models, alerts, people and the trail show, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.core.alarming import AlarmKind
from appliance.health.codes import Kind, Refused
from appliance.health.fields import FEW
from appliance.health.kinds import bit_of
from appliance.health.schema import Record
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import reference
from provisioning.registry.database import certificates, devices
from provisioning.registry.database.certificates import Issued
from provisioning.registry.database.devices import Slot
from provisioning.registry.publish import recall, releases
from provisioning.registry.server import alarms
from tests.appliance import packages
from tests.provisioning.fleet import Fleet, Reporter
from tests.provisioning.registry.server.pages.visiting import Visit, plain

Enter = Callable[[str], Visit]
OLD, NEW = "1.1.0", "1.2.0"
DAY = 86_400.0


def box(made: Fleet, slot: str, **words: Any) -> Reporter:
    given = {"gpu": "l4", "vendor": "ge", "site": "north", **words}
    reporter = Reporter(slot=slot, **given)
    made.slot(reporter)
    return reporter


def number(made: Fleet, version: str) -> int:
    (digest,) = [one.digest for one in releases(made.book) if one.version == version]
    return reference(digest)


def says(made: Fleet, reporter: Reporter, version: str, phase: Phase, word: Word, **more: Any) -> None:
    values = {"release": number(made, version), "phase": int(phase), "reason": code_of(word), **more}
    reporter.report(made.served, [values], at=made.clock.now())


def tells(made: Fleet, reporter: Reporter, kind: Kind, **values: Any) -> None:
    reporter.seq += 1
    record = Record(seq=reporter.seq, at=int(made.clock.now()), kind=kind, values=values)
    assert made.served.batch(reporter.key, [record], at=made.clock.now()).status_code == 200


def test_empty_pages_say_what_to_do(empty: Fleet, enter: Enter):
    ada = enter("ada")
    assert "readside registry invite SLOT" in ada.text("/devices")
    assert "the form below proposes one" in ada.text("/rollouts")
    assert "An operator proposes one here" in enter("vera").text("/rollouts")
    assert "Nothing is wrong that this registry looks for." in ada.text("/alerts")
    assert "no device has ever reported" in ada.get("/devices").text


def test_silent_devices_stand_on_top(empty: Fleet, enter: Enter):
    for slot in ("alpha", "beta", "gamma"):
        box(empty, slot)
    empty.clock.advance(1_000.0)
    beta = box(empty, "delta")
    says(empty, beta, OLD, Phase.COMMITTED, Word.CURRENT, serving=True)
    with empty.database.write() as tx:
        devices.add_slot(tx, Slot(name="empty-one"), at=1.0)
        devices.change_slot(tx, "gamma", offline_until=empty.clock.now() + DAY)
    text = enter("vera").text("/devices")
    assert "Silent for more than 15 min 0 s: 2" in text
    order = [text.index(name) for name in ("alpha", "beta", "The others", "delta", "empty-one", "gamma")]
    assert order == sorted(order)
    assert "planned silence" in text[text.index("gamma") :]
    assert text.count("alpha") == 1


def test_a_row_says_what_serves_and_what_is_under_way(empty: Fleet, enter: Enter):
    one = box(empty, "box-1", site="north", vendor="siemens")
    says(empty, one, "1.0.5", Phase.COMMITTED, Word.CURRENT, serving=False)
    says(empty, one, OLD, Phase.COMMITTED, Word.CURRENT, serving=True)
    says(empty, one, NEW, Phase.REFUSED, Word.REJECTED, serving=False)
    empty.clock.advance(60.0)
    visit = enter("vera")
    text = visit.text("/devices")
    assert f"{packages.NAME} {OLD} serves" in text
    assert f"{packages.NAME} {NEW} refused its golden cases did not come out right there" in text
    assert "1.0.5" not in text, "what served long ago is no news"
    assert "1 min 0 s ago" in text
    assert "newest report of any device came 1 min 0 s before" in visit.get("/devices").text


def test_the_list_goes_on_behind_a_slot(empty: Fleet, enter: Enter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("provisioning.registry.server.pages.browse._ROWS", 2)
    for slot in ("a", "b", "c"):
        box(empty, slot)
    visit = enter("vera")
    page = visit.get("/devices").text
    assert 'href="/devices?after=b"' in page
    rest = visit.text("/devices?after=b")
    assert "There are no more" not in rest
    assert "There are no more" in visit.text("/devices?after=c")


def test_a_device_is_shown_whole(empty: Fleet, enter: Enter):
    one = box(empty, "box-1")
    says(empty, one, NEW, Phase.FETCHING, Word.CUT_OFF)
    empty.clock.advance(60.0)
    says(empty, one, NEW, Phase.SOAK, Word.ACTIVATED, serving=True, studies=20, failures=5, positives=0)
    alarm = bit_of(AlarmKind.DISK_LOW)
    refused = tuple(FEW if code is Refused.CLASS else 0 for code in Refused)
    tells(empty, one, Kind.MACHINE, version=1_002_003, jobs_waiting=FEW, gpu=2, refused=refused, alarms=alarm)
    with empty.database.write() as tx:
        for serial, ends_at in (("a1", empty.clock.now() + 5 * DAY), ("b2", empty.clock.now() - DAY)):
            certificates.add(
                tx,
                Issued(
                    serial=serial, device=one.key.id, slot="box-1", pem="", begins_at=1.0, ends_at=ends_at
                ),
            )
    alarms.look(empty.app.state.room)
    text = enter("vera").text(f"/devices/{one.key.id}")
    assert "the box says: its disk is almost full" in text
    assert "the device's certificate ends soon" in text
    assert f"{packages.NAME} {NEW} serves, watched yes 20 5 0" in text
    news = text[text.index("History") :]
    assert news.index("serves, watched") < news.index("fetching, the link broke; it goes on from there")
    assert "a1" in text
    assert "holds for 5 d 0 h" in text
    assert "ended" in text
    assert "of Readside 1.2.3" in text
    assert "how long the queue is 1 to 4" in text
    assert "whether the GPU answers no answer" in text
    assert "class: 1 to 4" in text


def test_a_device_that_was_replaced_has_its_page(empty: Fleet, enter: Enter):
    former = box(empty, "box-1")
    box(empty, "box-1")
    text = enter("vera").text(f"/devices/{former.key.id}")
    assert "box-1 replaced" in text
    assert "It has said nothing of a release." in text
    assert "It has none from here" in text


def test_models_say_where_they_serve_and_what_was_recalled(empty: Fleet, enter: Enter, published: Any):
    for slot in ("a", "b"):
        says(empty, box(empty, slot), OLD, Phase.COMMITTED, Word.CURRENT, serving=True)
    says(empty, box(empty, "d"), NEW, Phase.VERIFIED, Word.CURRENT, serving=False)
    says(empty, box(empty, "e"), "1.3.0", Phase.COMMITTED, Word.CURRENT, serving=False)
    stray = box(empty, "c")
    stray.report(empty.served, [{"release": 0xABCDEF, "phase": 11, "serving": True}], at=empty.clock.now())
    recall(empty.book, packages.NAME, "1.0.5", [published / "keys"], reason="wrong threshold")
    text = enter("vera").text("/models")
    assert "2 devices: a, b –" in text
    assert "nowhere 1 fetched and verified" in text
    assert "1.0.5 recalled wrong threshold" in text
    assert text.index("1.3.0") < text.index(NEW) < text.index(OLD) < text.index("1.0.5")
    assert "no signature of its maker" in text
    assert "000000abcdef" in text


def test_lists_that_cannot_be_read_are_a_sentence(empty: Fleet, enter: Enter):
    says(empty, box(empty, "a"), OLD, Phase.COMMITTED, Word.CURRENT, serving=True)
    shown = f"{number(empty, OLD):012x}"
    for path in empty.book.layout.metadata("image").glob("*.targets.json"):
        path.unlink()
    visit = enter("otto")
    for page in ("/devices", "/models", "/rollouts"):
        assert "The list of releases cannot be read" in visit.text(page)
    assert shown in visit.text("/devices")


def test_alerts_are_open_or_over(empty: Fleet, enter: Enter):
    one = box(empty, "box-1")
    empty.clock.advance(2_000.0)
    visit = enter("vera")

    def opened() -> bool:
        alarms.look(empty.app.state.room)
        return '<span class="badge bad">' in visit.get("/alerts").text

    # The registry's own first look may be under way, with the time of before, and close it again.
    assert opened() or opened()
    page = visit.get("/alerts").text
    assert f'href="/devices/{one.key.id}"' in page
    assert "the device says nothing" in plain(page)
    says(empty, one, OLD, Phase.COMMITTED, Word.CURRENT, serving=True)
    alarms.look(empty.app.state.room)
    text = visit.text("/alerts")
    assert text.index("Over") < text.index("the device says nothing")
    assert "Nothing is wrong that this registry looks for." in text


def test_people_are_for_admins_and_the_trail_for_approvers(empty: Fleet, enter: Enter):
    may = {"vera": (403, 403), "otto": (403, 403), "ann": (403, 200), "ada": (200, 200)}
    for name, (people, trail) in may.items():
        visit = enter(name)
        assert (visit.get("/people").status_code, visit.get("/audit").status_code) == (people, trail)
        page = visit.get("/devices").text
        assert ('href="/people"' in page, 'href="/audit"' in page) == (people == 200, trail == 200)


def test_the_trail_of_one_subject(empty: Fleet, enter: Enter):
    enter("otto")
    visit = enter("ada")
    assert "account.login" in visit.text("/audit")
    assert "otto" not in visit.text("/audit?subject=ada")
    assert "There is no act of this subject." in visit.text("/audit?subject=nobody")
    assert "vera viewer" in visit.text("/people")
    assert "$argon2" not in visit.get("/people").text


def test_what_came_from_outside_is_never_markup(empty: Fleet, enter: Enter):
    evil = "<script>alert(1)</script>"
    one = box(empty, "box-1", site=evil, gpu='"><img src=x>', vendor="&amp;")
    with empty.database.write() as tx:
        tx.exec_driver_sql("UPDATE devices SET serial = ?", (evil,))
    visit = enter("otto")
    visit.press("/rollouts", release=f"{packages.NAME} {NEW}", why=evil)
    visit.press("/rollouts/1/stop", why=evil)
    for path in ("/devices", f"/devices/{one.key.id}", "/rollouts", "/rollouts/1"):
        page = visit.get(path).text
        assert "<script" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;" in page
    assert "<script" not in enter("ada").get(f"/audit?subject={evil}").text
