"""What peers announced: what of it is not here stands on the pages, in the gauges and in plain sentences."""

from __future__ import annotations

from appliance.console.announcing import only_announced
from appliance.console.explain import why
from appliance.ledger import notices
from appliance.ledger.notices import NoticeKind, NoticeState, Room
from tests.appliance.console.filling import FROM_HERE, GATHERING, NORMAL

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOM = Room(notices_max=10, instances_max=100)


def announced(console, study_uid, count, *, uid="2.25.1"):
    named = [notices.Named("2.25.5", CT, f"2.25.6.{number}") for number in range(count)]
    with console.ledger.write() as tx:
        at = console.clock.now()
        notices.take(tx, "pacs", NoticeKind.AVAILABILITY, uid, [study_uid], named, at=at, room=ROOM)


def begun(console, study_uid, *, reason=None):
    with console.ledger.write() as tx:
        at = console.clock.now()
        notices.take(tx, "ct", NoticeKind.STEP, "2.25.2", [study_uid], [], at=at, room=ROOM)
        if reason is not None:
            state = NoticeState.DISCONTINUED
            notices.change(tx, "ct", "2.25.2", state=state, named=[], reason=reason, at=at, room=ROOM)


def lines(console, uid):
    found = why(console.ledger, uid)
    assert found is not None
    return found.lines()


def test_a_study_that_gathers_says_by_how_much_it_is_incomplete(filled):
    assert "announced" not in "".join(lines(filled, GATHERING))
    announced(filled, GATHERING, 7)
    begun(filled, GATHERING)
    said = lines(filled, GATHERING)
    assert said[0].endswith("; incomplete by 7 of 7 that were announced.")
    assert "Announced of it: 7 images; 7 of them never came." in said
    assert any(line.startswith("In progress: 1 procedure step of it.") for line in said)
    page = filled.logged_in().get(f"/studies/{GATHERING}").text
    assert "pacs says that it has 7 instances of this study." in page
    assert "ct began a procedure step." in page
    filled.clock.advance(60)
    health = filled.logged_in().get("/health").text
    assert "1 study incomplete by 7 images that were announced." in health
    assert "1 study of which a procedure step is in progress." in health
    assert "readside_announced_absent_images 7.0" in filled.visitor(FROM_HERE).get("/metrics").text


def test_a_discontinued_step_is_loud(filled):
    begun(filled, NORMAL, reason="110514")
    said = "\n".join(lines(filled, NORMAL))
    assert "the wrong worklist entry was selected" in said
    page = filled.logged_in().get(f"/studies/{NORMAL}").text
    assert "may be of another patient" in page


def test_what_was_announced_and_never_came(filled):
    assert only_announced(filled.ledger, "1.2.3") == []
    announced(filled, "1.2.3", 3)
    (said,) = only_announced(filled.ledger, "1.2.3")
    assert said.startswith("pacs announced 3 instances of it at ")
    assert said.endswith(" (IAN, available).")
    filled.clock.advance(60)
    assert "1 notice of studies of which nothing came yet." in filled.logged_in().get("/health").text
    with filled.ledger.write() as tx:
        at = filled.clock.now()
        assert notices.expire(tx, before=at, at=at, limit=5) == 1
    assert "pacs announced 3 instances, and none ever came." in filled.logged_in().get("/health").text
