"""The console's words: what an event, a state or an outcome is called, and how loudly it is shown.

Promises: only the outcome "no finding" is ever written as a negative (P8);
a result that is not an inference says so in its own words, with a sign and a colour of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.console.text import one_line
from appliance.core.words import DeliveryState, JobState, Outcome, StudyState
from appliance.ledger.events import Event
from appliance.ledger.inventory import REMOVED, SERVING, STANDING_BY
from appliance.ledger.states import VersionState


class Tone(StrEnum):
    """How loudly something is shown."""

    PLAIN = "plain"
    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Label:
    """A short text with a sign that does not rely on colour, and the sentence behind it."""

    text: str
    sign: str
    css: str
    meaning: str


OUTCOMES: Mapping[Outcome, Label] = {
    Outcome.FINDING: Label(text="finding", sign="▲", css="finding", meaning="The model reports a finding."),
    Outcome.NO_FINDING: Label(
        text="no finding", sign="○", css="no-finding", meaning="The model ran and reports nothing."
    ),
    Outcome.MEASURED: Label(
        text="measured", sign="≡", css="measured", meaning="The model measured; it makes no yes-or-no claim."
    ),
    Outcome.ABSTAINED: Label(
        text="abstained",
        sign="?",
        css="abstained",
        meaning="The model ran but declines to answer. Not a negative.",
    ),
    Outcome.NOT_ELIGIBLE: Label(
        text="not eligible",
        sign="⊘",
        css="not-eligible",
        meaning="Not analysed: the images do not fit the model.",
    ),
    Outcome.FAILED: Label(
        text="failed", sign="✕", css="failed", meaning="Not analysed: the analysis failed."
    ),
    Outcome.NOT_RUN: Label(
        text="not run", sign="‖", css="not-run", meaning="Not analysed: the model did not run."
    ),
}

STUDY_STATES: Mapping[StudyState, tuple[str, Tone]] = {
    StudyState.GATHERING: ("receiving", Tone.BUSY),
    StudyState.READY: ("deciding", Tone.BUSY),
    StudyState.DECIDED: ("working", Tone.BUSY),
    StudyState.CLOSED: ("done", Tone.PLAIN),
    StudyState.HELD: ("held", Tone.BAD),
}

JOB_STATES: Mapping[JobState, tuple[str, Tone]] = {
    JobState.WAITING: ("waiting", Tone.BUSY),
    JobState.LEASED: ("running", Tone.BUSY),
    JobState.DONE: ("done", Tone.PLAIN),
    JobState.FAILED: ("failed", Tone.BAD),
    JobState.HELD: ("held", Tone.BAD),
}

DELIVERY_STATES: Mapping[DeliveryState, tuple[str, Tone]] = {
    DeliveryState.PENDING: ("to be sent", Tone.BUSY),
    DeliveryState.SENDING: ("being sent", Tone.BUSY),
    DeliveryState.LATER: ("tried again later", Tone.WARN),
    DeliveryState.ACCEPTED: ("accepted", Tone.GOOD),
    DeliveryState.COMMITTED: ("accepted and committed", Tone.GOOD),
    DeliveryState.DEAD: ("refused for good", Tone.BAD),
    DeliveryState.SETTLED: ("ended unsent", Tone.PLAIN),
}

VERSION_STATES: Mapping[str, tuple[str, Tone]] = {
    SERVING: ("serves", Tone.GOOD),
    STANDING_BY: ("stands by", Tone.PLAIN),
    VersionState.FETCHED: ("installed, does not serve", Tone.PLAIN),
    VersionState.BUILDING: ("engine is being built", Tone.BUSY),
    VersionState.VERIFYING: ("is being checked", Tone.BUSY),
    VersionState.ACTIVE: ("active", Tone.GOOD),
    VersionState.REJECTED: ("rejected", Tone.BAD),
    VersionState.RETIRED: ("retired", Tone.PLAIN),
    REMOVED: ("removed", Tone.PLAIN),
}

OUTPUTS: Mapping[str, str] = {
    "sr": "structured report",
    "seg": "segmentation",
    "gsps": "presentation state",
    "sc": "picture",
    "text-sr": "text report",
    "pdf": "printed page (PDF)",
    "sr-cornerstone": "report with contours",
    "seg-fractional": "fractional segmentation",
    "seg-labelmap": "label map",
    "pmap": "heat map",
    "kos": "selection of key images",
    "iocm": "rejection note",
}

# What happened -> its sentence and its tone. `{name}` is filled from the event's details.
_EVENTS: Mapping[str, tuple[str, Tone]] = {
    "assemble.opened": ("The first image arrived.", Tone.PLAIN),
    "assemble.reopened": ("A late image arrived; the study gathers again.", Tone.WARN),
    "assemble.ready": ("Complete with {instances} images: {reason}.", Tone.PLAIN),
    "assemble.held": ("Held: {reason}.", Tone.BAD),
    "assemble.released": ("A person released the study; it is judged anew.", Tone.PLAIN),
    "receive.changed": (
        "An image came again with other content; the newer one counts (revision {revision}).",
        Tone.WARN,
    ),
    "receive.came_back": ("An earlier version of an image came again and counts once more.", Tone.PLAIN),
    "receive.restored": ("An image came again whose bytes the box had given up.", Tone.PLAIN),
    "receive.refused": ("An image was refused: {reason}.", Tone.BAD),
    "assemble.beside": (
        "A late object without images came ({modality}); what was decided stands.",
        Tone.PLAIN,
    ),
    "result.returned": (
        "The result of route {route} came back from a peer; nothing is done anew.",
        Tone.PLAIN,
    ),
    "result.returned_changed": (
        "The {output} of a result came back from a peer with other content; it changes nothing here.",
        Tone.WARN,
    ),
    "assessment.read": ("A reader's word on result {result}: {verdict}.", Tone.GOOD),
    "assessment.unclear": (
        "A document names a result, and what it says of it cannot be told: {reason}.",
        Tone.WARN,
    ),
    "assessment.unreadable": ("An assessment could not be read: {reason}.", Tone.WARN),
    "reconcile.missed": ("{peer} has {absent} images of this study that never arrived here.", Tone.WARN),
    "reconcile.fetched": ("What never arrived was fetched from {peer}.", Tone.GOOD),
    "reconcile.incomplete": (
        "Not everything came from {peer} ({reason}, {failed} failed); it is fetched again.",
        Tone.WARN,
    ),
    "reconcile.gone": ("{peer} no longer has what never arrived here.", Tone.WARN),
    "notice.available": ("{peer} says that it has {instances} instances of this study.", Tone.PLAIN),
    "notice.in_progress": ("{peer} began a procedure step.", Tone.PLAIN),
    "notice.completed": ("{peer} completed a procedure step of {instances} instances.", Tone.PLAIN),
    "notice.discontinued": (
        "{peer} discontinued a procedure step, with {instances} instances: the study may not be whole.",
        Tone.WARN,
    ),
    "notice.wrong_entry": (
        "{peer} discontinued a procedure step because the wrong worklist entry was selected: its {instances}"
        " instances may be of another patient.",
        Tone.BAD,
    ),
    "notice.expired": ("{peer} announced {instances} instances, and none ever came.", Tone.WARN),
    "fetch.asked": ("{by} asked for this study from {peer}.", Tone.PLAIN),
    "fetch.done": ("What {peer} has of this study is here.", Tone.GOOD),
    "fetch.failed": (
        "The study could not be fetched from {peer} whole: {reason}; {absent} images are not here.",
        Tone.BAD,
    ),
    "priors.chosen": (
        "Route {route}: {found} earlier studies of the patient were named, {chosen} chosen to compare with.",
        Tone.PLAIN,
    ),
    "priors.ended": ("Route {route} is compared with {used} earlier studies.", Tone.PLAIN),
    "worklist.claimed": ("A workitem of the worklist asks for this study, from {peer}.", Tone.PLAIN),
    "worklist.completed": ("The workitem that asked for this study is completed.", Tone.GOOD),
    "worklist.canceled": ("The workitem that asked for this study is canceled: {reason}.", Tone.WARN),
    "worklist.taken": ("Somebody else has the workitem that asked for this study.", Tone.WARN),
    "worklist.gone": ("The worklist no longer has the workitem that asked for this study.", Tone.WARN),
    "route.decided": ("Route {route}: {verdict}.", Tone.PLAIN),
    "job.held": ("Job {job} of route {route} is held: its worker died {kills} times over it.", Tone.BAD),
    "job.released": ("Job {job} of route {route} was given back: its worker died.", Tone.WARN),
    "job.again": (
        "A person asked for the work of job {former} once more: job {job} of route {route}.",
        Tone.PLAIN,
    ),
    "job.done": ("Job {job} of route {route} is done.", Tone.GOOD),
    "job.not_eligible": ("Job {job} of route {route}: not eligible. {reason}.", Tone.WARN),
    "job.failed": ("Job {job} of route {route} failed: {reason}.", Tone.BAD),
    "courier.accepted": ("The {output} was accepted by {peer}.", Tone.GOOD),
    "courier.coerced": ("The {output} was accepted by {peer} with a warning ({status}).", Tone.GOOD),
    "courier.later": ("The {output} could not be sent to {peer}; it is tried again.", Tone.WARN),
    "courier.refused": ("The {output} was refused by {peer} ({status}).", Tone.BAD),
    "courier.unknown_peer": ("The {output} is for a peer that is no longer in the configuration.", Tone.BAD),
    "courier.no_context": ("{peer} does not take this kind of object: {output}.", Tone.BAD),
    "courier.stands_in": ("{peer} does not take the {wanted}: the {output} goes in its place.", Tone.WARN),
    "courier.no_stand_in": ("{peer} does not take the {wanted}, and nothing stands in for it.", Tone.BAD),
    "peer.changed": ("{peer} takes no longer: {gone}; takes now: {new}.", Tone.WARN),
    "confirm.committed": ("{peer} has committed the {output}.", Tone.GOOD),
    "confirm.missing": (
        "{peer} does not have the {output} that it accepted ({status}); it is sent again.",
        Tone.WARN,
    ),
    "confirm.lost": (
        "{peer} lost the {output} again and again ({status}); a person must look.",
        Tone.BAD,
    ),
    "confirm.unanswered": ("{peer} did not say whether it has the {output}; it is asked again.", Tone.WARN),
    "confirm.silent": ("{peer} never said whether it has the {output}; a person must look.", Tone.BAD),
    "confirm.refused": ("{peer} refuses to commit the {output}; a person must look.", Tone.BAD),
    "confirm.replaced": (
        "{peer} does not have the {output} that a newer result replaced; it is not sent again.",
        Tone.PLAIN,
    ),
    "commit.reported": ("{peer} was told that {instances} images are kept here.", Tone.PLAIN),
    "commit.absent": ("{peer} was told that {instances} images are not kept here.", Tone.WARN),
    "commit.given_up": ("{peer} asked whether images are kept, and could not be told.", Tone.WARN),
    "courier.again": ("{by} asked to send the {output} to {peer} once more.", Tone.PLAIN),
    "courier.settled": ("{by} ended the delivery of the {output} to {peer}.", Tone.PLAIN),
    "courier.found_there": ("{peer} has the {output} after all: its answer was lost.", Tone.GOOD),
    "custody.quarantined": ("An image was set aside: {reason}.", Tone.BAD),
    "custody.purged": ("{instances} images were removed after their time of keeping.", Tone.PLAIN),
    "custody.results_purged": (
        "{objects} objects of results were removed after their time of keeping; their numbers stay.",
        Tone.PLAIN,
    ),
    "sweep.quarantined": ("A spool file was set aside: {fault}.", Tone.BAD),
    "model.installed": ("{by} installed {model} {version}.", Tone.PLAIN),
    "model.repaired": ("{by} installed {model} {version} again; its files had been changed.", Tone.WARN),
    "model.refused": ("{model} {version} was refused; nothing else changed.", Tone.BAD),
    "model.rejected": ("{model} {version} did not pass on this device; nothing else changed.", Tone.BAD),
    "model.activated": ("{by} activated {model} {version}.", Tone.GOOD),
    "model.rolled_back": ("{by} went back to {model} {version} from {instead_of}.", Tone.WARN),
    "model.retired": ("{by} retired {model} {version}.", Tone.WARN),
    "model.shadow_started": ("{by} let {model} {version} run beside the version that serves.", Tone.PLAIN),
    "model.shadow_ended": ("{model} {version} runs beside no more ({reason}).", Tone.PLAIN),
    "model.removed": ("{by} removed the files of {model} {version}.", Tone.PLAIN),
    "model.interrupted": ("The check of {model} {version} was cut off.", Tone.WARN),
    "model.returned": (
        "The box went back to {model} {version} from {instead_of} by itself: {reason}.",
        Tone.BAD,
    ),
    "registry.waits": ("{model} {version} could serve and waits: {reason}.", Tone.BUSY),
    "registry.committed": ("{model} {version} stays: nothing spoke against it in {jobs} jobs.", Tone.GOOD),
    "registry.held": ("{by} holds {model}: {reason}.", Tone.WARN),
    "registry.pinned": ("{by} keeps {model} at {version}: {reason}.", Tone.WARN),
    "registry.lifted": ("{by} lets {model} change again.", Tone.PLAIN),
    "registry.consented": ("{by} agreed to {model} {version}.", Tone.PLAIN),
    "console.viewed": ("{user} looked at this.", Tone.PLAIN),
    "console.login": ("{user} logged in.", Tone.PLAIN),
    "console.logout": ("{user} logged out.", Tone.PLAIN),
    "console.login_failed": ("A log-in failed ({user}).", Tone.WARN),
    "console.seen": ("{by} looked at what failed and needs nothing more.", Tone.PLAIN),
    "console.retry": ("{by} asked for another run.", Tone.PLAIN),
    "console.release": ("{by} released the study.", Tone.PLAIN),
}

# Why a delivery ended that the peer had accepted.
_UNCOMMITTED: Mapping[str | None, str] = {
    "confirm.lost": "accepted there, and lost",
    "confirm.silent": "accepted there, and never committed",
    "confirm.refused": "accepted there, and commitment refused",
}

_LOUDNESS = (Tone.PLAIN, Tone.GOOD, Tone.BUSY, Tone.WARN, Tone.BAD)
_BAD_ENDINGS = ("fault", "failed", "held", "refused", "quarantined", "dead", "lost")
_WARN_ENDINGS = ("later", "postponed", "released", "changed", "reopened", "no_answer", "stepped_down")


class _Details(dict[str, str]):
    """Details for a sentence; one that is not there is written as an ellipsis, never as an error."""

    def __missing__(self, key: str) -> str:
        return "…"


def tell(event: Event, *, peer: str | None = None) -> tuple[str, Tone]:
    """Write an event as a sentence; a word that is not known here is written with its details."""
    details = _details(event.detail, peer)
    known = _EVENTS.get(event.word)
    if known is None and event.detail.get("job") and event.detail.get("reason"):
        # A job's ending carries the word of what went wrong, from whichever room met it.
        known = (
            "Job {job} of route {route}: {reason}.",
            max(tone_of(event.word), Tone.WARN, key=_LOUDNESS.index),
        )
    if known is None:
        return _unknown(event.word, details), tone_of(event.word)
    return known[0].format_map(details).replace("..", "."), known[1]


def tone_of(word: str) -> Tone:
    """Say how loud an event is by its word alone."""
    if word in _EVENTS:
        return _EVENTS[word][1]
    if word.endswith(_BAD_ENDINGS):
        return Tone.BAD
    return Tone.WARN if word.endswith(_WARN_ENDINGS) else Tone.PLAIN


def _unknown(word: str, details: Mapping[str, str]) -> str:
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in details.items() if value)
    room, _, what = word.partition(".")
    head = f"{room.capitalize()}: {what.replace('_', ' ').replace('.', ' ')}" if what else room.capitalize()
    return f"{head} ({said})." if said else f"{head}."


def _details(detail: Mapping[str, Any], peer: str | None) -> _Details:
    written = _Details(
        {key: one_line(value, chars_max=300) for key, value in detail.items() if value is not None}
    )
    if isinstance(detail.get("status"), int):
        written["status"] = status(detail["status"])
    for name in {"output", "wanted"} & written.keys():
        written[name] = OUTPUTS.get(written[name], written[name])
    if peer is not None:
        written["peer"] = peer
    return written


def status(code: int | None) -> str:
    """Write a DICOM status as the standards do (PS3.7 annex C)."""
    return "no answer" if code is None else f"status {code:04X}H"


def refusal(code: int | None, word: str | None) -> str:
    """Say how a peer refused an object: what it said, or that the box never offered it."""
    if word in _UNCOMMITTED:
        return _UNCOMMITTED[word]
    if word == "courier.no_stand_in":
        return "not taken there, and nothing stands in for it"
    return "not taken there" if word == "courier.no_context" else status(code)
