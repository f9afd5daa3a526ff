"""What a run is compared with, as people read it: every word has its sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.console import comparing
from appliance.console.explain import why
from appliance.core.words import JobState
from appliance.ledger import jobs, priors
from appliance.ledger.priors import Answer, Choice
from tests.appliance.console.filling import LATE

ROOT = Path(__file__).resolve().parents[3]
OLD, OLDER = "1.2.3.9.1", "1.2.3.9.2"


@pytest.fixture
def waiting(filled) -> jobs.Job:
    """A job that nobody took yet and that waits for earlier studies."""
    ledger = filled.ledger
    with ledger.write() as tx:
        job = next(one for one in jobs.of_study(tx, LATE) if one.state is JobState.WAITING)
        named = {"study_uid": LATE, "route": job.route}
        assert priors.open_ask(tx, job.id, **named, wait_seconds=300.0, at=ledger.clock.now())
    return job


def said(filled) -> str:
    found = why(filled.ledger, LATE)
    assert found is not None
    return "\n".join(found.lines())


def chosen(filled, job: jobs.Job, *choices: Choice, silent: int = 0) -> priors.Ask:
    with filled.ledger.write() as tx:
        ask = priors.of_job(tx, job.id)
        assert ask is not None
        answer = Answer(found=5, fitting=4, silent=silent)
        priors.choose(tx, ask, choices, answer, at=filled.ledger.clock.now())
    return ask


def test_a_job_that_waits_says_for_what_and_how_long(filled, waiting):
    text = said(filled)
    assert "waits for earlier studies of the patient, until 20" in text
    assert "at the latest." in text
    assert "the peers are being asked." in text
    chosen(filled, waiting, Choice(study_uid=OLD, peer="pacs", only=True), silent=1)
    text = said(filled)
    assert "Earlier studies that fit: 4." in text
    assert f"Study {OLD} is being fetched from pacs, or is analysed." in text
    assert "1 peer did not answer." in text


def test_what_came_and_what_did_not_is_said_with_its_reason(filled, waiting):
    ask = chosen(
        filled,
        waiting,
        Choice(study_uid=OLD, peer="pacs", only=True),
        Choice(study_uid=OLDER, peer=None, only=False),
    )
    with filled.ledger.write() as tx:
        first, _ = priors.of_ask(tx, ask.id)
        priors.use(tx, first, 1, at=filled.ledger.clock.now())
        priors.end(tx, ask, priors.LATE, at=filled.ledger.clock.now())
    text = said(filled)
    assert f"Compared with the result of study {OLD}." in text
    assert f"Not compared with study {OLDER}: it was not here and analysed in time." in text
    assert "waits for earlier studies" not in text


def test_nothing_to_compare_with_is_said(filled, waiting):
    with filled.ledger.write() as tx:
        ask = priors.of_job(tx, waiting.id)
        assert ask is not None
        priors.end(tx, ask, "priors.no_patient_id", at=filled.ledger.clock.now())
    assert "Not compared with an earlier study: the images name no Patient ID" in said(filled)


def test_every_word_has_its_sentence():
    sources = [*(ROOT / "appliance" / "assemble").glob("*.py"), *(ROOT / "appliance" / "ledger").glob("*.py")]
    written = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    words = set(re.findall(r'"(priors?\.[a-z_]+)"', written))
    events = {"priors.chosen", "priors.ended", "priors.done", "prior.used"}
    assert words - events == {*comparing._ENDED, *comparing._LACKING}
