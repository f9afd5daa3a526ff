"""An audit message as a value, and its XML (PS3.15 A.5.1).

Promises: elements and attributes in the order and with the names of the schema; text that came from outside
cannot break out of its attribute, and characters that XML cannot hold are replaced.
Never: a patient's name. A study is found by its UID and its patient by the ID.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree import ElementTree as Xml

from appliance.core.clock import as_datetime

Action = Literal["C", "R", "U", "D", "E"]
# PS3.15 A.5.1: nominal success, minor failure, serious failure.
SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"
# What XML 1.0 can hold; the rest is written as the replacement character.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_KNOWN = "<none>"


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A coded value (PS3.15 A.5.1 CodedValueType)."""

    code: str
    meaning: str
    scheme: str = "DCM"


@dataclass(frozen=True, kw_only=True)
class Participant:
    """Somebody or something that took part (ActiveParticipant); `host` is a machine name or an IP address."""

    user_id: str
    is_requestor: bool
    role: Coded | None = None
    process_id: str = ""
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class ObjectIdentification:
    """What it was done to (ParticipantObjectIdentification).

    Attributes:
        type_code: 1 person, 2 system object.
        role: 1 patient, 3 report (a study), 13 security resource.
        sop_classes: (SOP Class UID, number of instances) of a study.
    """

    object_id: str
    type_code: str
    role: str
    id_type: Coded
    sop_classes: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, kw_only=True)
class Message:
    """One audit message; `at` in epoch seconds."""

    event: Coded
    action: Action
    at: float
    participants: Sequence[Participant]
    types: Sequence[Coded] = ()
    outcome: str = SUCCESS
    description: str = ""
    objects: Sequence[ObjectIdentification] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who reports (AuditSourceIdentification): the site, and the box's name in it."""

    site_name: str
    ae_title: str


def encode(message: Message, source: Source) -> str:
    """Write a message as one line of XML without a declaration (PS3.15 A.5.1)."""
    assert message.participants, "the schema asks for one participant at least"
    root = Xml.Element("AuditMessage")
    _event(root, message)
    for participant in message.participants:
        _participant(root, participant)
    reporter = _add(root, "AuditSourceIdentification")
    _set(reporter, AuditEnterpriseSiteID=source.site_name, AuditSourceID=source.ae_title)
    _set(_add(reporter, "AuditSourceTypeCode"), **{"csd-code": "4"})
    for item in message.objects:
        _object(root, item)
    return Xml.tostring(root, encoding="unicode")


def study_object(study_uid: str, sop_classes: Sequence[tuple[str, int]] = ()) -> ObjectIdentification:
    """Name a study (PS3.15 A.5.3.6)."""
    kind = Coded(code="110180", meaning="Study Instance UID")
    return ObjectIdentification(
        object_id=study_uid, type_code="2", role="3", id_type=kind, sop_classes=sop_classes
    )


def patient_object(patient_id: str) -> ObjectIdentification:
    """Name a patient by the Patient ID; one that is not known is said to be none."""
    kind = Coded(code="2", meaning="Patient Number", scheme="RFC-3881")
    return ObjectIdentification(object_id=patient_id or _NOT_KNOWN, type_code="1", role="1", id_type=kind)


def audit_log_object() -> ObjectIdentification:
    """Name the trail itself (PS3.15 A.5.3.2)."""
    kind = Coded(code="12", meaning="URI", scheme="RFC-3881")
    return ObjectIdentification(object_id="Security Audit Log", type_code="2", role="13", id_type=kind)


def _event(root: Xml.Element, message: Message) -> None:
    event = _add(root, "EventIdentification")
    moment = as_datetime(message.at).astimezone(UTC)
    _set(
        event,
        EventActionCode=message.action,
        EventDateTime=_written(moment),
        EventOutcomeIndicator=message.outcome,
    )
    _coded(event, "EventID", message.event)
    for kind in message.types:
        _coded(event, "EventTypeCode", kind)
    if message.description:
        _add(event, "EventOutcomeDescription").text = _clean(message.description)


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _participant(root: Xml.Element, participant: Participant) -> None:
    element = _add(root, "ActiveParticipant")
    _set(element, UserID=participant.user_id or _NOT_KNOWN)
    if participant.process_id:
        _set(element, AlternativeUserID=participant.process_id)
    _set(element, UserIsRequestor="true" if participant.is_requestor else "false")
    if participant.host:
        kind = "2" if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:]+", participant.host) else "1"
        _set(element, NetworkAccessPointID=participant.host, NetworkAccessPointTypeCode=kind)
    if participant.role is not None:
        _coded(element, "RoleIDCode", participant.role)


def _object(root: Xml.Element, item: ObjectIdentification) -> None:
    element = _add(root, "ParticipantObjectIdentification")
    _set(
        element,
        ParticipantObjectID=item.object_id,
        ParticipantObjectTypeCode=item.type_code,
        ParticipantObjectTypeCodeRole=item.role,
    )
    _coded(element, "ParticipantObjectIDTypeCode", item.id_type)
    # The schema asks for the element; what it would hold of a patient is left out.
    _add(element, "ParticipantObjectName")
    if item.sop_classes:
        description = _add(element, "ParticipantObjectDescription")
        for uid, count in item.sop_classes:
            _set(_add(description, "SOPClass"), UID=uid, NumberOfInstances=str(count))


def _coded(parent: Xml.Element, name: str, value: Coded) -> None:
    _set(
        _add(parent, name),
        **{"csd-code": value.code, "codeSystemName": value.scheme, "originalText": value.meaning},
    )


def _add(parent: Xml.Element, name: str) -> Xml.Element:
    return Xml.SubElement(parent, name)


def _set(element: Xml.Element, **attributes: str) -> None:
    for name, value in attributes.items():
        element.set(name, _clean(value))


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text)
