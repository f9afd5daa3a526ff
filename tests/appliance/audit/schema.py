"""The schema of audit messages (PS3.15 A.5.1, RELAX NG), as rules that a test holds a message to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree as Xml

_CODED = {"csd-code": ".+", "codeSystemName": ".+", "originalText": ".+"}
_DATE_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"


@dataclass(frozen=True)
class Rule:
    """What an element must and may have; `children` is a pattern over the children's names."""

    must: dict[str, str] = field(default_factory=dict)
    may: dict[str, str] = field(default_factory=dict)
    children: str = ""


_RULES = {
    "AuditMessage": Rule(
        children="EventIdentification (ActiveParticipant )+AuditSourceIdentification "
        "(ParticipantObjectIdentification )*"
    ),
    "EventIdentification": Rule(
        must={"EventDateTime": _DATE_TIME, "EventOutcomeIndicator": "0|4|8|12"},
        may={"EventActionCode": "[CRUDE]"},
        children="EventID (EventTypeCode )*(EventOutcomeDescription )?",
    ),
    "EventID": Rule(must=_CODED),
    "EventTypeCode": Rule(must=_CODED),
    "EventOutcomeDescription": Rule(),
    "ActiveParticipant": Rule(
        must={"UserID": ".+", "UserIsRequestor": "true|false"},
        may={
            "AlternativeUserID": ".*",
            "NetworkAccessPointID": ".+",
            "NetworkAccessPointTypeCode": "[1-5]",
        },
        children="(RoleIDCode )*",
    ),
    "RoleIDCode": Rule(must=_CODED),
    "AuditSourceIdentification": Rule(
        must={"AuditSourceID": ".+"},
        may={"AuditEnterpriseSiteID": ".+"},
        children="(AuditSourceTypeCode )*",
    ),
    "AuditSourceTypeCode": Rule(must={"csd-code": "[1-9]"}),
    "ParticipantObjectIdentification": Rule(
        must={"ParticipantObjectID": ".+"},
        may={
            "ParticipantObjectTypeCode": "[1-4]",
            "ParticipantObjectTypeCodeRole": "[1-9]|1[0-9]|2[0-6]",
        },
        children="ParticipantObjectIDTypeCode ParticipantObjectName (ParticipantObjectDescription )*",
    ),
    "ParticipantObjectIDTypeCode": Rule(must=_CODED),
    "ParticipantObjectName": Rule(),
    "ParticipantObjectDescription": Rule(children="(SOPClass )*"),
    "SOPClass": Rule(must={"UID": r"[0-9.]+", "NumberOfInstances": r"\d+"}),
}


def faults(body: str) -> list[str]:
    """Say what of a message the schema does not allow."""
    return list(_faults(Xml.fromstring(body)))


def _faults(element: Xml.Element):
    rule = _RULES.get(element.tag)
    if rule is None:
        yield f"{element.tag}: no such element"
        return
    for name in rule.must.keys() - element.attrib.keys():
        yield f"{element.tag}: {name} is missing"
    for name, value in element.attrib.items():
        pattern = {**rule.must, **rule.may}.get(name)
        if pattern is None or not re.fullmatch(pattern, value, re.DOTALL):
            yield f"{element.tag}: {name}={value!r}"
    if not re.fullmatch(rule.children, "".join(f"{child.tag} " for child in element)):
        yield f"{element.tag}: holds {[child.tag for child in element]}"
    for child in element:
        yield from _faults(child)
