"""What each word of the timeline says in the audit trail: which event of PS3.15 A.5.3, by whom, to what.

Promises: every word in `WORDS` makes one message; the others are the box's own business (a job that waits,
a delivery that is tried again).
Never: a patient's name, a report's text or a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.audit.message import (
    MINOR_FAILURE,
    SERIOUS_FAILURE,
    SUCCESS,
    Action,
    Coded,
    Message,
    ObjectIdentification,
    Participant,
    audit_log_object,
    patient_object,
    study_object,
)
from appliance.core.config import Config
from appliance.ledger import audit as rows
from appliance.ledger.audit import Told
from appliance.ledger.engine import Tx

# PS3.16 CID 400 to 403.
ACTIVITY: Final = Coded(code="110100", meaning="Application Activity")
AUDIT_LOG_USED: Final = Coded(code="110101", meaning="Audit Log Used")
ACCESSED: Final = Coded(code="110103", meaning="DICOM Instances Accessed")
TRANSFERRED: Final = Coded(code="110104", meaning="DICOM Instances Transferred")
DELETED: Final = Coded(code="110105", meaning="DICOM Study Deleted")
ALERT: Final = Coded(code="110113", meaning="Security Alert")
AUTHENTICATION: Final = Coded(code="110114", meaning="User Authentication")
START: Final = Coded(code="110120", meaning="Application Start")
STOP: Final = Coded(code="110121", meaning="Application Stop")
LOGIN: Final = Coded(code="110122", meaning="Login")
LOGOUT: Final = Coded(code="110123", meaning="Logout")
SOFTWARE: Final = Coded(code="110131", meaning="Software Configuration")
NODE_AUTHENTICATION: Final = Coded(code="110126", meaning="Node Authentication")
RESTRICTED: Final = Coded(code="110132", meaning="Use of Restricted Function")
RECORDING_STARTED: Final = Coded(code="110134", meaning="Audit Recording Started")
OBJECT_CHANGED: Final = Coded(code="110135", meaning="Object Security Attributes Changed")
_APPLICATION: Final = Coded(code="110150", meaning="Application")
_DESTINATION: Final = Coded(code="110152", meaning="Destination Role ID")
_SOURCE: Final = Coded(code="110153", meaning="Source Role ID")
_NOT_AUTHORISED = "0124"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a message may ask for besides its event: an open transaction and the configuration."""

    tx: Tx
    config: Config

    def box(self, *, is_requestor: bool, role: Coded | None = None, process_id: str = "") -> Participant:
        """Name this box as a participant."""
        title = self.config.dicom.ae_title
        return Participant(
            user_id=f"AETITLES={title}", is_requestor=is_requestor, role=role, process_id=process_id
        )

    def peer(self, *, name: str = "", ae_title: str = "", is_requestor: bool, role: Coded) -> Participant:
        """Name a peer, by its name in the configuration or by its AE title."""
        found = next((p for p in self.config.peers if p.name == name or p.ae_title == ae_title), None)
        return Participant(
            user_id=f"AETITLES={found.ae_title if found else ae_title or name}",
            is_requestor=is_requestor,
            role=role,
            host=found.host if found else "",
        )

    def objects(self, told: Told, *, counted: bool = False) -> list[ObjectIdentification]:
        """Name the study of an event and its patient; nothing where it has no study."""
        uid = told.event.study_uid
        if uid is None:
            return []
        facts = rows.study_facts(self.tx, uid)
        return [study_object(uid, facts.sop_classes if counted else ()), patient_object(facts.patient_id)]


Teller = Callable[[Told, Scene], Message]


def tell(told: Told, scene: Scene) -> Message:
    """Make the message of one event whose word is in `WORDS`."""
    return WORDS[told.event.word](told, scene)


def recording_started(at: float, scene: Scene) -> Message:
    """Make the first message of a trail."""
    return Message(
        event=ALERT,
        types=(RECORDING_STARTED,),
        action="E",
        at=at,
        participants=[scene.box(is_requestor=True, role=_APPLICATION)],
        objects=[audit_log_object()],
    )


def signed(at: float, scene: Scene, checkpoint: str) -> Message:
    """Make the message that carries a checkpoint away (PS3.15 A.5.3.2: the trail was written to)."""
    return Message(
        event=AUDIT_LOG_USED,
        action="C",
        at=at,
        description=checkpoint,
        participants=[scene.box(is_requestor=True, role=_APPLICATION)],
        objects=[audit_log_object()],
    )


def _detail(told: Told, key: str) -> str:
    value = told.event.detail.get(key)
    return "" if value is None else str(value)


def _activity(kind: Coded) -> Teller:
    def made(told: Told, scene: Scene) -> Message:
        """PS3.15 A.5.3.1."""
        service = _detail(told, "service")
        process = f"{service}/{_detail(told, 'pid')}" if service else ""
        return Message(
            event=ACTIVITY,
            types=(kind,),
            action="E",
            at=told.event.at,
            participants=[scene.box(is_requestor=False, role=_APPLICATION, process_id=process)],
        )

    return made


def _authentication(kind: Coded, *, outcome: str = SUCCESS) -> Teller:
    def made(told: Told, scene: Scene) -> Message:
        """PS3.15 A.5.3.12."""
        return Message(
            event=AUTHENTICATION,
            types=(kind,),
            action="E",
            at=told.event.at,
            outcome=outcome,
            participants=[
                Participant(user_id=_detail(told, "user"), is_requestor=True),
                scene.box(is_requestor=False),
            ],
        )

    return made


def _accessed(action: Action, who: str) -> Teller:
    def made(told: Told, scene: Scene) -> Message:
        """PS3.15 A.5.3.6; without a study it is the box that a person acted on."""
        person = Participant(user_id=_detail(told, who), is_requestor=True)
        objects = scene.objects(told)
        return Message(
            event=ACCESSED if objects else ALERT,
            types=() if objects else (RESTRICTED,),
            action=action if objects else "E",
            at=told.event.at,
            participants=[person, scene.box(is_requestor=False)],
            objects=objects,
        )

    return made


def _received(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.7: what a study's senders brought, once it is complete."""
    assert told.event.study_uid is not None, "a study becomes ready, and nothing else"
    facts = rows.study_facts(scene.tx, told.event.study_uid)
    senders = [scene.peer(ae_title=title, is_requestor=True, role=_SOURCE) for title in facts.calling_aes]
    return Message(
        event=TRANSFERRED,
        action="C",
        at=told.event.at,
        participants=[*senders, scene.box(is_requestor=False, role=_DESTINATION)],
        objects=scene.objects(told, counted=True),
    )


def _changed(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.7: an instance came again with other content."""
    return Message(
        event=TRANSFERRED,
        action="U",
        at=told.event.at,
        participants=[scene.box(is_requestor=False, role=_DESTINATION)],
        objects=scene.objects(told),
    )


def _refused(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.7 with a failure; an unauthorised one, or one of no study, is an alert (A.5.3.11)."""
    objects = scene.objects(told)
    sender = scene.peer(name=_detail(told, "peer"), is_requestor=True, role=_SOURCE)
    box = scene.box(is_requestor=False, role=_DESTINATION)
    is_transfer = bool(objects) and _detail(told, "status") != _NOT_AUTHORISED
    return Message(
        event=TRANSFERRED if is_transfer else ALERT,
        types=() if is_transfer else (RESTRICTED,),
        action="C" if is_transfer else "E",
        at=told.event.at,
        outcome=MINOR_FAILURE,
        description=_detail(told, "reason"),
        participants=[sender, box],
        objects=objects,
    )


def _sent(outcome: str) -> Teller:
    def made(told: Told, scene: Scene) -> Message:
        """PS3.15 A.5.3.7: one object of a result to one destination."""
        delivery = told.event.detail.get("delivery")
        facts = rows.delivery_facts(scene.tx, int(delivery)) if delivery is not None else None
        box = scene.box(is_requestor=True, role=_SOURCE)
        destination = [scene.peer(name=facts.peer, is_requestor=False, role=_DESTINATION)] if facts else []
        objects = scene.objects(told)
        if objects and facts:
            objects[0] = study_object(objects[0].object_id, [(facts.sop_class_uid, 1)])
        return Message(
            event=TRANSFERRED,
            action="C",
            at=told.event.at,
            outcome=outcome,
            participants=[box, *destination],
            objects=objects,
        )

    return made


def _told_of(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.6: a peer was told which instances are kept here (storage commitment)."""
    return Message(
        event=ACCESSED,
        action="R",
        at=told.event.at,
        participants=[
            scene.peer(name=_detail(told, "peer"), is_requestor=True, role=_DESTINATION),
            scene.box(is_requestor=False, role=_SOURCE),
        ],
        objects=scene.objects(told),
    )


def _deleted(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.8: images were removed after their time of keeping."""
    return Message(
        event=DELETED,
        action="D",
        at=told.event.at,
        participants=[scene.box(is_requestor=True)],
        objects=scene.objects(told),
    )


def _alert(kind: Coded, outcome: str = SUCCESS) -> Teller:
    def made(told: Told, scene: Scene) -> Message:
        """PS3.15 A.5.3.11."""
        by = _detail(told, "by")
        people = [Participant(user_id=by, is_requestor=True)] if by else []
        said = [_detail(told, key) for key in ("model", "version", "reason", "fault")]
        return Message(
            event=ALERT,
            types=(kind,),
            action="E",
            at=told.event.at,
            outcome=outcome,
            description=" ".join([told.event.word, *filter(None, said)]),
            participants=[*people, scene.box(is_requestor=not people)],
            objects=scene.objects(told),
        )

    return made


def _node_turned_away(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.11: a machine whose certificate is not good, or not that of the AE title it used."""
    address = _detail(told, "address")
    caller = _detail(told, "calling_ae")
    return Message(
        event=ALERT,
        types=(NODE_AUTHENTICATION,),
        action="E",
        at=told.event.at,
        outcome=MINOR_FAILURE,
        description=f"{told.event.word} {_detail(told, 'reason')}",
        participants=[
            Participant(user_id=f"AETITLES={caller}" if caller else address, is_requestor=True, host=address),
            scene.box(is_requestor=False),
        ],
    )


def _log_used(told: Told, scene: Scene) -> Message:
    """PS3.15 A.5.3.2."""
    return Message(
        event=AUDIT_LOG_USED,
        action="R",
        at=told.event.at,
        participants=[
            Participant(user_id=_detail(told, "by"), is_requestor=True),
            scene.box(is_requestor=False),
        ],
        objects=[audit_log_object()],
    )


WORDS: Final[Mapping[str, Teller]] = {
    "service.started": _activity(START),
    "service.stopped": _activity(STOP),
    "console.login": _authentication(LOGIN),
    "console.login_failed": _authentication(LOGIN, outcome=SERIOUS_FAILURE),
    "console.logout": _authentication(LOGOUT),
    "console.viewed": _accessed("R", "user"),
    "console.retry": _accessed("U", "by"),
    "console.release": _accessed("U", "by"),
    "console.seen": _accessed("U", "by"),
    "courier.again": _accessed("U", "by"),
    "courier.settled": _accessed("U", "by"),
    "assemble.ready": _received,
    "receive.changed": _changed,
    "receive.refused": _refused,
    "courier.accepted": _sent(SUCCESS),
    "courier.coerced": _sent(SUCCESS),
    "courier.refused": _sent(MINOR_FAILURE),
    "courier.no_context": _sent(MINOR_FAILURE),
    "confirm.missing": _sent(MINOR_FAILURE),
    "confirm.lost": _sent(SERIOUS_FAILURE),
    "commit.reported": _told_of,
    "custody.purged": _deleted,
    "custody.quarantined": _alert(OBJECT_CHANGED, MINOR_FAILURE),
    "sweep.quarantined": _alert(OBJECT_CHANGED, MINOR_FAILURE),
    "disk.digest_mismatch": _alert(OBJECT_CHANGED, SERIOUS_FAILURE),
    "model.installed": _alert(SOFTWARE),
    "model.repaired": _alert(SOFTWARE),
    "model.refused": _alert(SOFTWARE, MINOR_FAILURE),
    "model.rejected": _alert(SOFTWARE, MINOR_FAILURE),
    "model.activated": _alert(SOFTWARE),
    "model.rolled_back": _alert(SOFTWARE),
    "model.retired": _alert(SOFTWARE),
    "model.removed": _alert(SOFTWARE),
    "model.shadow_started": _alert(SOFTWARE),
    "model.shadow_ended": _alert(SOFTWARE),
    "model.returned": _alert(SOFTWARE, SERIOUS_FAILURE),
    "registry.refused": _alert(SOFTWARE, MINOR_FAILURE),
    "registry.held": _alert(SOFTWARE),
    "registry.pinned": _alert(SOFTWARE),
    "registry.lifted": _alert(SOFTWARE),
    "registry.consented": _alert(SOFTWARE),
    "audit.verified": _log_used,
    "tls.refused": _node_turned_away,
    "roster.identity_mismatch": _node_turned_away,
    "roster.user_refused": _node_turned_away,
    "dicomweb.stranger": _node_turned_away,
    "tls.reloaded": _alert(SOFTWARE),
    "tls.refused_files": _alert(SOFTWARE, MINOR_FAILURE),
}
