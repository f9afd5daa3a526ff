"""What peers take, and what stands in for what, is shown to people in words."""

from __future__ import annotations

from dataclasses import replace

from appliance.console.wording import tell
from appliance.core.instance import Location
from appliance.core.outputs import OUTPUTS, SOP_CLASSES, Output
from appliance.core.words import JobState, Outcome
from appliance.ledger import acceptances, jobs, results
from appliance.ledger.events import Event
from appliance.ledger.results import Ending, StandIn
from tests.appliance.console import filling
from tests.appliance.console.filling import NORMAL, Console

EXPLICIT = "1.2.840.10008.1.2.1"
MADE: tuple[Output, ...] = ("seg", "gsps")


def answered(console: Console, *refused: str) -> None:
    """The PACS says that it takes everything but some outputs."""
    pairs = {(SOP_CLASSES[output], EXPLICIT) for output in OUTPUTS}
    without = {(SOP_CLASSES[output], EXPLICIT) for output in OUTPUTS if output in refused}
    with console.ledger.write() as tx:
        acceptances.record(tx, "pacs", pairs, accepted=pairs - without, at=console.clock.now())


def fallen_back(console: Console, **ending) -> None:
    """A result of the normal study in which not everything is as the PACS's entry asks for it."""
    now = console.clock.now()
    with console.ledger.write() as tx:
        filling.arrive(tx, NORMAL, now - 100)
        job_id = filling.decide(tx, filling.complete(tx, NORMAL, now - 50), now - 40)
        job = jobs.lease(tx, job_id, owner="worker:1", at=now, seconds=30)
        assert job is not None
        filled = Ending(
            state=JobState.DONE,
            word="job.done",
            reason=None,
            result=results.Result(
                outcome=Outcome.MEASURED,
                statement="Bone 512.4 mL.",
                engine="ONNX Runtime CPU",
                stepped_down=None,
                evidence_digest="sha256:1",
                evidence=[],
                measurements=[],
                seconds={},
            ),
            objects=[
                results.ResultObject(
                    output=output,
                    sop_class_uid=SOP_CLASSES[output],
                    sop_instance_uid=f"2.25.77.{number}",
                    series_uid=f"2.25.78.{number}",
                    transfer_syntax_uid=EXPLICIT,
                    series_description=output,
                    modality="OT",
                    digest="sha256:2",
                    location=Location(file=f"results/{number}.dcm", offset=0, length=9),
                )
                for number, output in enumerate(MADE)
            ],
            send_to={},
        )
        assert results.end(tx, job, replace(filled, **ending), at=now)


def test_the_health_page_says_what_each_peer_takes(console: Console) -> None:
    page = console.logged_in().get("/health").text
    assert "never answered" in page
    answered(console, "seg")
    page = console.logged_in().get("/health").text
    assert "seg: gsps goes instead" in page
    answered(console, *OUTPUTS)
    assert "seg: nothing goes instead" in console.logged_in().get("/health").text


def test_the_study_page_says_what_stands_in_for_what(console: Console) -> None:
    stand_in = StandIn(peer="pacs", output="gsps", wanted="seg")
    fallen_back(console, send_to={"pacs": ["gsps"]}, stand_ins=[stand_in])
    page = console.logged_in().get(f"/studies/{NORMAL}").text
    assert "stands in for the segmentation, which pacs does not take" in page
    assert "pacs does not take the segmentation: the presentation state goes in its place." in page
    assert "kept here, goes to nobody" in page


def test_what_nothing_stands_in_for_needs_a_person(console: Console) -> None:
    fallen_back(console, untaken={"pacs": ["seg"]})
    browser = console.logged_in()
    assert "not taken there, and nothing stands in for it" in browser.get("/attention").text
    page = browser.get(f"/studies/{NORMAL}").text
    assert "pacs does not take the segmentation, and nothing stands in for it." in page


def test_a_change_of_mind_is_told() -> None:
    detail = {"peer": "pacs", "gone": "seg", "new": "nothing"}
    sentence, _ = tell(Event(at=1.0, word="peer.changed", study_uid=None, detail=detail))
    assert sentence == "pacs takes no longer: seg; takes now: nothing."
