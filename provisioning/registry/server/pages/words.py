"""The pages' words: what a phase, a reason, an alert or a stage is called, and how loudly it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from appliance.console.wording import Tone
from appliance.core.alarming import AlarmKind
from appliance.sync.phase import Phase, word_of
from appliance.sync.refusal import Word
from provisioning.registry.database.words import Alarm, DeviceState
from provisioning.registry.rollout.facts import Stand
from provisioning.registry.rollout.gate import Check, Verdict
from provisioning.registry.rollout.reader import phase_of
from provisioning.registry.rollout.state import Stage
from provisioning.registry.rollout.view import sentence
from provisioning.registry.server.alarms import BOX

Label = tuple[str, Tone]

PHASES: Final[Mapping[Phase, Label]] = {
    Phase.UNKNOWN: ("unknown", Tone.PLAIN),
    Phase.ASSIGNED: ("assigned", Tone.BUSY),
    Phase.FETCHING: ("fetching", Tone.BUSY),
    Phase.VERIFIED: ("fetched and verified", Tone.BUSY),
    Phase.BUILT: ("built, could serve", Tone.BUSY),
    Phase.SHADOW: ("runs as a shadow", Tone.PLAIN),
    Phase.WAITING_WINDOW: ("waits for its window", Tone.PLAIN),
    Phase.WAITING_CONSENT: ("waits for the hospital's consent", Tone.PLAIN),
    Phase.DRAINING: ("finishing what runs", Tone.BUSY),
    Phase.ACTIVATING: ("changing over", Tone.BUSY),
    Phase.SOAK: ("serves, watched", Tone.BUSY),
    Phase.COMMITTED: ("serves", Tone.GOOD),
    Phase.ROLLED_BACK: ("went back by itself", Tone.BAD),
    Phase.HELD: ("held at the site", Tone.WARN),
    Phase.REFUSED: ("refused", Tone.BAD),
}
SERVES: Final = frozenset({Phase.SOAK, Phase.COMMITTED})
# What the word means; a word whose phase says it all has none.
REASONS: Final[Mapping[Word, str]] = {
    Word.CURRENT: "",
    Word.ACTIVATED: "",
    Word.WAITING_WINDOW: "",
    Word.WAITING_CONSENT: "",
    Word.DRAINING: "",
    Word.ON_HOLD: "a person at the site holds the model",
    Word.SHADOW: "",
    Word.UNREACHABLE: "the registry cannot be reached from there",
    Word.CUT_OFF: "the link broke; it goes on from there",
    Word.TOO_SLOW: "the link is too slow; it goes on from there",
    Word.CARRIER_GONE: "the stick or the share is gone",
    Word.CAPTIVE_PORTAL: "a log-in page of the network answers in place of the registry",
    Word.NOT_A_REGISTRY: "there is no whole registry at its address",
    Word.STOPPED: "its service was stopped in the middle",
    Word.WRONG_KEY: "a list is signed by a key that may not",
    Word.TOO_FEW_SIGNATURES: "a list has too few signatures",
    Word.TAMPERED: "bytes are not the signed ones",
    Word.ENDLESS_DATA: "more bytes came than were signed for",
    Word.ROLLBACK: "it is older than what was seen or served there",
    Word.FREEZE: "the lists it gets have ended",
    Word.FAST_FORWARD: "a stamp was made with a stolen key: rotate it",
    Word.MIX_AND_MATCH: "the lists it gets are of different times",
    Word.CLOCK_BEHIND: "its clock is behind",
    Word.CLOCK_AHEAD: "its clock is ahead, or the root was not renewed",
    Word.UNASSIGNED: "the director does not know it: claim it",
    Word.DISAGREE: "the director assigns what was not signed offline",
    Word.UNKNOWN_FORM: "its Readside is too old for these lists",
    Word.RECALLED: "the release is recalled",
    Word.INCOMPATIBLE: "the device lacks what the release needs",
    Word.PROVENANCE: "no signature of who made the model holds there",
    Word.REJECTED: "its golden cases did not come out right there",
    Word.HELD: "a person at the box said that nothing changes now",
    Word.NO_ROOM: "there is no room on its disk",
    Word.BUSY: "another command works on its models",
    Word.BOX_REFUSED: "the box cannot do it now; its own log says why",
    Word.NOT_CLAIMED: "its roots or its name are missing or wrong",
    Word.FLOORS_DAMAGED: "its floors cannot be read",
    Word.FAILING_JOBS: "its jobs failed on three studies in a row",
    Word.WORKER_DEATHS: "workers died three times of its jobs",
    Word.FAILURE_RATIO: "more of its jobs failed than of the version before",
    Word.SLOWER: "it was more than twice as slow as the version before",
}
_BOX: Final[Mapping[AlarmKind, str]] = {
    AlarmKind.NO_ARRIVALS: "no images arrive, although they used to at this hour",
    AlarmKind.NO_FINDINGS: "a model has stopped finding anything",
    AlarmKind.STEPPED_DOWN: "a model does not run on the engine it should",
    AlarmKind.CERTIFICATE_ENDS: "a certificate of the box ends soon",
    AlarmKind.METADATA_ENDS: "the signed lists that the box has end soon",
    AlarmKind.QUEUE_OLD: "jobs wait too long for a worker",
    AlarmKind.DISK_LOW: "its disk is almost full",
    AlarmKind.CLOCK_OFF: "its clock is off",
    AlarmKind.SERVICE_SILENT: "one of its services is not heard of",
    AlarmKind.GPU_SILENT: "its GPU does not answer",
    AlarmKind.NOT_DELIVERED: "results are not accepted by their destination",
    AlarmKind.DRIFT: "what a model is given or answers has moved",
}
ALERTS: Final[Mapping[str, str]] = {
    Alarm.DEVICE_SILENT: "the device says nothing: look at its power, its network, its clock",
    Alarm.CERTIFICATE_ENDS: "the device's certificate ends soon, and it did not fetch another",
    Alarm.METADATA_ENDS: "a signed list ends soon: `readside registry renew`, and see that the server stamps",
    Alarm.ROLLOUT_FAILED: "a roll-out took its release back by itself",
    Alarm.ROLLOUT_HELD: "the gate of a roll-out could not decide for days: an approver must",
    **{f"{BOX}{kind.word}": f"the box says: {said}" for kind, said in _BOX.items()},
}
STAGES: Final[Mapping[Stage, Label]] = {
    Stage.PROPOSED: ("waits for approval", Tone.WARN),
    Stage.RUNNING: ("running", Tone.BUSY),
    Stage.PAUSED: ("paused", Tone.WARN),
    Stage.DONE: ("done", Tone.GOOD),
    Stage.STOPPED: ("stopped", Tone.PLAIN),
    Stage.BACK: ("back everywhere", Tone.BAD),
    Stage.SUPERSEDED: ("a newer one began", Tone.PLAIN),
}
STANDS: Final[Mapping[Stand, Label]] = {
    Stand.PENDING: ("pending", Tone.PLAIN),
    Stand.MOVING: ("moving", Tone.BUSY),
    Stand.WAITING: ("waiting", Tone.PLAIN),
    Stand.SOAKING: ("soaking", Tone.BUSY),
    Stand.COMMITTED: ("committed", Tone.GOOD),
    Stand.FAILED: ("failed", Tone.BAD),
    Stand.REFUSED: ("refused", Tone.WARN),
    Stand.LATE: ("late", Tone.WARN),
    Stand.BACK: ("back", Tone.PLAIN),
    Stand.LEFT: ("left alone", Tone.PLAIN),
}
VERDICTS: Final[Mapping[Verdict, Label]] = {
    Verdict.PASS: ("pass", Tone.GOOD),
    Verdict.FAIL: ("fail", Tone.BAD),
    Verdict.NOT_ENOUGH: ("not enough evidence", Tone.WARN),
}
STATES: Final[Mapping[DeviceState, Label]] = {
    DeviceState.PENDING: ("pending", Tone.WARN),
    DeviceState.ENROLLED: ("enrolled", Tone.GOOD),
    DeviceState.REPLACED: ("replaced", Tone.PLAIN),
    DeviceState.REVOKED: ("revoked", Tone.BAD),
    DeviceState.DECOMMISSIONED: ("decommissioned", Tone.PLAIN),
}
# Of these the sentence is about what is wrong, which a check that passed did not find.
_PASSED: Final[Mapping[str, str]] = {
    "every_gpu": "no kind of GPU has only failures",
    "every_vendor": "enough studies of every maker of scanners",
    "drift": "no device's own test says that input or output moved",
}


def phase(numbers: Mapping[str, Any]) -> Label:
    """Say the phase of a release as a device reported it."""
    found = phase_of(numbers.get("phase"))
    if found in SERVES and numbers.get("serving") is False:
        return "served before", Tone.PLAIN
    return ("unknown to this version", Tone.WARN) if found is None else PHASES[found]


def reason(code: Any) -> str:
    """Say why a release stands where it stands; empty where the phase says it all."""
    word = word_of(code) if isinstance(code, int) else None
    if word is None:
        return f"reason {code}, which this version does not know" if code else ""
    return REASONS[word]


def alert(kind: str) -> str:
    """Say what an alert is about."""
    return ALERTS.get(kind, "something that this version has no words for")


def check(one: Check) -> str:
    """Say what a check of a gate was answered by, also where it passed."""
    name = one.name.partition(".")[0]
    if one.verdict is Verdict.PASS and name in _PASSED:
        return _PASSED[name]
    return sentence(one).partition(": ")[2]
