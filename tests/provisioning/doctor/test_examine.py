"""Checks run side by side, each within its time; what stands on a fault is not looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.config import parse
from provisioning.doctor.check import Check
from provisioning.doctor.examine import BROKE, OVERDUE, Examination
from provisioning.doctor.finding import Fault, Finding, State, Who, sound, unknown, wrong
from provisioning.doctor.site import Site

BAD = Fault(id="test.bad", cause="it is bad", fix="mend it", who=Who.US)
SMALL = Fault(id="test.small", cause="it is small", fix="mend it", who=Who.US, grave=False)


def site() -> Site:
    peers = [{"name": name, "ae_title": name.upper(), "host": "h", "port": 1} for name in ("a", "b")]
    return Site(read=parse({"site": {"name": "s"}, "storage": {"root": "/nowhere"}, "peers": peers}))


def check(name: str, *found: Finding, **more: Any) -> Check:
    return Check(id=name, about=name, look=lambda _site, _subject: found, faults=(BAD, SMALL), **more)


def run(*checks: Check) -> list[Finding]:
    return [one for some in Examination(site=site(), checks=checks).run() for one in some]


def states(found: Sequence[Finding]) -> dict[str, State]:
    return {one.what: one.state for one in found}


def test_what_stands_on_a_fault_says_which_one_is_at_the_bottom():
    found = run(
        check("top", sound(""), needs=("middle",)),
        check("middle", sound(""), needs=("bottom",)),
        check("bottom", wrong(BAD, "seen")),
        check("beside", sound("")),
    )
    assert states(found)["beside"] is State.SOUND
    because = {one.check: one.because for one in found if one.state is State.NOT_LOOKED_AT}
    assert because == {"top": "test.bad", "middle": "test.bad"}
    assert sum(one.state is State.FAULT for one in found) == 1, "one cause is one fault"


@pytest.mark.parametrize("harmless", [wrong(SMALL, ""), unknown(""), sound("")])
def test_advice_and_what_cannot_be_told_keep_nothing_from_being_looked_at(harmless: Finding):
    found = run(check("top", sound(""), needs=("bottom",)), check("bottom", harmless))
    assert states(found)["top"] is State.SOUND


def test_waiting_for_another_is_not_standing_on_it():
    found = run(check("later", sound(""), after=("first",)), check("first", wrong(BAD, "")))
    assert [one.check for one in found] == ["first", "later"]
    assert states(found)["later"] is State.SOUND


def test_one_peers_fault_is_not_anothers():
    def look(_site: Site, peer: str) -> Iterator[Finding]:
        yield wrong(BAD, "") if peer == "a" else sound("")

    def each(_site: Site) -> list[str]:
        return ["a", "b"]

    reach = Check(id="reach", about="", look=look, faults=(BAD,), each=each)
    found = run(reach, check("ask", sound(""), needs=("reach",), each=each))
    assert states(found) == {
        "reach a": State.FAULT,
        "reach b": State.SOUND,
        "ask a": State.NOT_LOOKED_AT,
        "ask b": State.SOUND,
    }


def test_a_check_that_hangs_is_given_up_and_the_others_end():
    forever = threading.Event()

    def hang(_site: Site, _subject: str) -> Iterator[Finding]:
        forever.wait(30)
        yield sound("")

    found = run(
        Check(id="hangs", about="", look=hang, faults=(), seconds_max=0.05),
        check("stands", sound(""), needs=("hangs",)),
        check("beside", sound("")),
    )
    forever.set()
    assert states(found)["beside"] is State.SOUND
    assert {one.check: one.fault for one in found if one.fault} == {"hangs": OVERDUE}
    assert {one.because for one in found if one.check == "stands"} == {OVERDUE.id}


def test_a_check_that_breaks_tells_its_kind_and_place_and_not_what_it_handled():
    def broken(_site: Site, _subject: str) -> Iterator[Finding]:
        raise ValueError("DOE^JANE")
        yield

    found = run(Check(id="broken", about="", look=broken, faults=()), check("beside", sound("")))
    told = next(one for one in found if one.check == "broken")
    assert told.fault is BROKE
    assert "ValueError" in told.text
    assert "JANE" not in told.text


@given(st.data())
def test_whatever_stands_on_whatever_every_check_is_told_of_once(data: st.DataObject):
    count = data.draw(st.integers(1, 8))
    checks = []
    for number in range(count):
        below = data.draw(st.sets(st.integers(0, number - 1))) if number else set()
        bad = data.draw(st.booleans())
        outcome = wrong(BAD, "") if bad else sound("")
        checks.append(check(f"c{number}", outcome, needs=tuple(f"c{one}" for one in sorted(below))))
    order = data.draw(st.permutations(checks))
    found = run(*order)
    assert sorted(one.check for one in found) == sorted(one.id for one in checks)
    by_name = states(found)
    for one in checks:
        blocked = any(by_name[need] in (State.FAULT, State.NOT_LOOKED_AT) for need in one.needs)
        assert (by_name[one.id] is State.NOT_LOOKED_AT) == blocked
