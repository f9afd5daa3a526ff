"""What a run is compared with, in plain sentences: earlier studies that it waits for, has and lacks, and why.

Promises: everything that is lacking has its reason; nothing found is never written as nothing there.
Never: writes a patient's name or identity.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.console.text import counted, moment
from appliance.ledger import priors
from appliance.ledger.engine import Tx
from appliance.ledger.priors import Ask, Prior, PriorState

# Why nobody was asked, or nothing was chosen.
_ENDED: Mapping[str, str] = {
    "priors.none": "none that fits was found",
    "priors.no_patient_id": "the images name no Patient ID, so nobody can be asked",
    "priors.odd_patient_id": "the Patient ID could mean other patients too, so nobody was asked",
    "priors.no_date": "the images name no Study Date, so nobody can tell what is earlier",
    "priors.several_issuers": "several issuers gave out this Patient ID, and the images name none of them",
    "priors.fault": "looking for one failed; the log of the conductor says where",
    "priors.no_answer": "no peer answered in time",
    "priors.not_wanted": "newer images came, or the route asks for none any more",
    priors.LATE: "no peer was asked in time",
}
# Why one that was chosen is not compared with.
_LACKING: Mapping[str, str] = {
    priors.LATE: "it was not here and analysed in time",
    "priors.not_wanted": "newer images of the study at hand came first",
    "priors.fault": "looking after it failed; the log of the conductor says where",
    "prior.not_fetched": "it could not be fetched",
    "prior.not_here": "it is not here",
    "prior.held": "it is held here until a person looks",
    "prior.not_judged": "it was judged here when the route was not there yet",
    "prior.no_match": "the route does not want any of its series",
    "prior.not_eligible": "the model does not take its series",
    "prior.no_answer": "the model gave no answer for it",
    "prior.no_report": "its result has no report",
    "prior.other_patient": "its images do not name the same patient",
    "prior.not_earlier": "its images are not surely earlier",
}


def waits(ask: Ask | None) -> str:
    """Return what a waiting job waits for; empty where it is a worker."""
    if ask is None or ask.ended_at is not None:
        return ""
    return f"earlier studies of the patient, until {moment(ask.until_at)} at the latest"


def sentences(tx: Tx, ask: Ask | None) -> list[str]:
    """Return what is known of the earlier studies for a job; nothing where its route asks for none."""
    if ask is None:
        return []
    chosen = priors.of_ask(tx, ask.id)
    silent = [f"{counted(ask.silent, 'peer')} did not answer."] if ask.silent else []
    if not chosen:
        return [_nothing(ask), *silent]
    return [f"Earlier studies that fit: {ask.fitting}.", *(_one(prior) for prior in chosen), *silent]


def _nothing(ask: Ask) -> str:
    if ask.ended_at is None:
        return "Earlier studies to compare with: the peers are being asked."
    found = f" ({counted(ask.found, 'earlier study')} named)" if ask.found else ""
    return f"Not compared with an earlier study: {_ENDED.get(ask.word or '', ask.word)}{found}."


def _one(prior: Prior) -> str:
    if prior.state is PriorState.USED:
        return f"Compared with the result of study {prior.study_uid}."
    if prior.state is PriorState.LACKING:
        return f"Not compared with study {prior.study_uid}: {_LACKING.get(prior.word or '', prior.word)}."
    came = f"is being fetched from {prior.peer}, or is analysed" if prior.peer else "is here and is analysed"
    return f"Study {prior.study_uid} {came}."
