"""Roll-outs are steered by buttons: who sees which, what one does, and what none can do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import reference
from provisioning.registry.database import audit, rollouts
from provisioning.registry.publish import releases
from tests.appliance import packages
from tests.provisioning.fleet import Fleet, Reporter
from tests.provisioning.registry.server.pages.visiting import Visit

Enter = Callable[[str], Visit]
NEW = "1.2.0"
RELEASE = f"{packages.NAME} {NEW}"
HOUR = 3_600.0


@pytest.fixture
def boxes(empty: Fleet) -> dict[str, Reporter]:
    """Two slots, a ring each, which were heard just now."""
    made = {}
    for ring, slot in enumerate(("a", "b")):
        made[slot] = Reporter(slot=slot, gpu="l4", vendor="ge", site=slot)
        empty.slot(made[slot])
        empty.ring(ring, slot)
        made[slot].report(empty.served, [{"release": 1, "phase": 11}], at=empty.clock.now())
    return made


def stage(made: Fleet) -> str:
    with made.database.read() as tx:
        found = rollouts.find(tx, 1)
    assert found is not None
    return found.state.stage.value


def says(made: Fleet, reporter: Reporter, phase: Phase, word: Word, *, serving: bool) -> None:
    (digest,) = [one.digest for one in releases(made.book) if one.version == NEW]
    values = {"release": reference(digest), "phase": int(phase), "reason": code_of(word), "serving": serving}
    reporter.report(made.served, [{**values, "studies": 20, "failures": 0}], at=made.clock.now())


def buttons(visit: Visit) -> list[str]:
    page = visit.get("/rollouts/1").text
    return [act for act in ("approve", "pause", "resume", "stop", "back") if f"/rollouts/1/{act}" in page]


def test_an_operator_proposes_and_an_approver_lets_it_begin(
    empty: Fleet, boxes: dict[str, Reporter], enter: Enter
):
    otto, ann, vera = enter("otto"), enter("ann"), enter("vera")
    made = otto.press("/rollouts", "/rollouts", release=RELEASE, why="new threshold")
    assert (made.status_code, made.url.path) == (200, "/rollouts/1")
    assert "You proposed it; an approver other than you must approve it." in otto.text("/rollouts/1")
    assert "It waits for an approver." in vera.text("/rollouts/1")
    assert (buttons(otto), buttons(ann), buttons(vera)) == (["stop"], ["approve", "stop"], [])
    assert ann.press("/rollouts/1/approve").status_code == 200
    assert stage(empty) == "running"
    assert (buttons(otto), buttons(vera)) == (["pause", "stop", "back"], [])
    assert "Ring 0 under way" in vera.text("/rollouts/1")
    for act, after in (("pause", "paused"), ("resume", "running"), ("back", "back")):
        assert otto.press(f"/rollouts/1/{act}", why="because").status_code == 200
        assert stage(empty) == after
    assert "back everywhere" in vera.text("/rollouts")
    with empty.database.read() as tx:
        newest = audit.acts(tx, subject="rollout 1", limit=1)[0]
    assert (newest.who, newest.act, newest.why) == ("otto", "rollout.returned", "because")


def test_nobody_approves_what_he_proposed(empty: Fleet, boxes: dict[str, Reporter], enter: Enter):
    ann = enter("ann")
    ann.press("/rollouts", release=RELEASE)
    assert buttons(ann) == ["stop"]
    refused = ann.press("/rollouts/1/approve")
    assert (refused.status_code, "somebody else must approve" in refused.text) == (409, True)
    assert stage(empty) == "proposed"


def test_a_viewer_changes_nothing(empty: Fleet, boxes: dict[str, Reporter], enter: Enter):
    enter("otto").press("/rollouts", release=RELEASE)
    vera = enter("vera")
    assert vera.press("/rollouts", release=RELEASE).status_code == 403
    for act in ("approve", "pause", "resume", "stop", "back"):
        assert vera.press(f"/rollouts/1/{act}").status_code == 403
    assert stage(empty) == "proposed"
    assert "Propose" not in vera.text("/rollouts").split("Proposed by")[0]


def test_a_form_of_another_session_or_none_changes_nothing(
    empty: Fleet, boxes: dict[str, Reporter], enter: Enter
):
    otto, other = enter("otto"), enter("otto")
    otto.press("/rollouts", release=RELEASE)
    for proof in ("", "made-up", other.proof("/devices")):
        answer = otto.client.post("/rollouts/1/stop", data={"csrf": proof})
        assert (answer.status_code, "Load the page again" in answer.text) == (403, True)
    assert otto.client.post("/rollouts/1/stop").status_code == 403
    assert enter("ann").client.post("/logout").status_code == 403
    assert stage(empty) == "proposed"


def test_what_cannot_be_is_a_sentence(empty: Fleet, boxes: dict[str, Reporter], enter: Enter):
    otto = enter("otto")
    for wish in ({"release": "nothing 1.0.0"}, {"release": ""}, {"release": RELEASE, "slots": "a, z"}):
        answer = otto.press("/rollouts", **wish)
        assert (answer.status_code, "cannot be proposed" in answer.text) == (409, True)
    otto.press("/rollouts", release=RELEASE, slots="a, b")
    assert otto.press("/rollouts/1/pause").status_code == 409
    assert otto.press("/rollouts/1/nothing").status_code == 404
    assert otto.press("/rollouts/7/stop").status_code == 404
    assert otto.get("/rollouts/1/stop").status_code == 405


def test_the_gate_says_its_evidence_and_a_person_may_let_a_ring_pass(
    empty: Fleet, boxes: dict[str, Reporter], enter: Enter
):
    otto, ann = enter("otto"), enter("ann")
    otto.press("/rollouts", release=RELEASE)
    assert "It was not asked yet" in otto.text("/rollouts/1")
    ann.press("/rollouts/1/approve")
    empty.carry_out()
    says(empty, boxes["a"], Phase.COMMITTED, Word.CURRENT, serving=True)
    empty.carry_out()
    empty.clock.advance(HOUR)
    says(empty, boxes["a"], Phase.COMMITTED, Word.CURRENT, serving=True)
    empty.carry_out()
    text = otto.text("/rollouts/1")
    assert "not enough evidence asked 0 s ago" in text
    assert "studies not enough evidence 20 studies, 200 are needed" in text
    assert "drift pass no device's own test says that input or output moved" in text
    assert "1.0 hours since enough had committed" in text
    assert "1 committed" in text
    assert "approve" not in buttons(otto)
    assert "approve" in buttons(ann)
    assert ann.press("/rollouts/1/approve", why="looked at by hand").status_code == 409, "which ring?"
    assert ann.press("/rollouts/1/approve", ring="0").status_code == 409, "why?"
    assert ann.press("/rollouts/1/approve", ring="0", why="looked at by hand").status_code == 200
    assert "Ring 0 passed" in ann.text("/rollouts/1")
    assert "looked at by hand" in otto.text("/rollouts/1")


def test_a_release_that_fails_says_so_on_the_page(empty: Fleet, boxes: dict[str, Reporter], enter: Enter):
    with empty.database.write() as tx:
        tx.exec_driver_sql("UPDATE slots SET ring = 0")
    enter("otto").press("/rollouts", release=RELEASE)
    enter("ann").press("/rollouts/1/approve")
    empty.carry_out()
    for reporter in boxes.values():
        says(empty, reporter, Phase.REFUSED, Word.REJECTED, serving=False)
    empty.carry_out()
    empty.carry_out()
    text = enter("vera").text("/rollouts/1")
    assert "the gate of ring 0 failed" in text
    assert "the release failed on 2 devices, 1 are allowed" in text
    assert "refused: its golden cases did not come out right there" in text
    assert "back everywhere" in text
