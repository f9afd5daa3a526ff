"""A workitem of the Unified Procedure Step (PS3.3 B.26, PS3.4 CC) as DICOM JSON (PS3.18 F): read and written.

Promises: what is read of somebody's answer is what is named here, checked and bounded; what is written holds
nothing about a patient.
Never: keeps or returns a patient's name or identity, though a workitem carries them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from dicom_node.values import AeTitle, Uid

# One workitem names at most this many series, and so many places that have one of them.
INPUTS_MAX: Final = 4_096
_PLACES_MAX: Final = 16
_CODES_MAX: Final = 64
# LO and ST of PS3.5 6.2; a code's value may be long (PS3.3 8.1).
_TEXT_MAX: Final = 64
_VALUE_MAX: Final = 256
_REASON_MAX: Final = 1_024

Json = dict[str, Any]


class StepState(StrEnum):
    """Procedure Step State (0074,1000) (PS3.4 Table CC.1.1-1)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Input:
    """One item of the Input Information Sequence: a study, or a series of it, and who has it.

    Attributes:
        series_uid: none: the whole study.
        ae_titles: whom it is retrieved from by C-MOVE or C-GET.
        urls: where it is retrieved by WADO-RS.
    """

    study_uid: str
    series_uid: str | None
    ae_titles: tuple[str, ...]
    urls: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Workitem:
    """What a performer has to know of a workitem.

    Attributes:
        state: none where the answer does not say, or says what no state is.
        ready: whether its inputs can be retrieved (Input Readiness State).
        inputs_sound: whether every item of its Input Information Sequence could be read.
        cancel_asked: whether somebody asked for its cancellation and the origin server says so in it.
    """

    uid: str
    state: StepState | None
    ready: bool
    codes: tuple[Code, ...]
    stations: tuple[Code, ...]
    inputs: tuple[Input, ...]
    inputs_sound: bool
    cancel_asked: bool


@dataclass(frozen=True, kw_only=True)
class Output:
    """Objects of one series in one place: an item of the Output Information Sequence (PS3.3 10-3b).

    `references` are SOP Class and SOP Instance UIDs; of `ae_title` and `url` one is given, or both.
    """

    study_uid: str
    series_uid: str
    references: Sequence[tuple[str, str]]
    ae_title: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What was done; times as DT (PS3.5 6.2) with their offset from UTC."""

    station: Code
    workitem_code: Code | None
    started: str
    ended: str
    parameters: Sequence[tuple[Code, str]] = ()
    outputs: Sequence[Output] = ()


def read_one(data: bytes, uid: str) -> Workitem | None:
    """Read the answer to the retrieval of a workitem; None where it is not that one."""
    found = _trees(data)
    if found is None or len(found) != 1 or _uid(found[0], "00080018") not in (None, uid):
        return None
    return _workitem(found[0], uid)


def read_all(data: bytes) -> list[Workitem] | None:
    """Read the answer to a search; None where it is none. Workitems without a sound UID are passed over."""
    found = _trees(data)
    if found is None:
        return None
    named = [(tree, _uid(tree, "00080018")) for tree in found]
    return [_workitem(tree, uid) for tree, uid in named if uid is not None]


def _trees(data: bytes) -> list[Json] | None:
    try:
        tree = json.loads(data) if data.strip() else []
    except (ValueError, RecursionError):
        return None
    if isinstance(tree, dict):
        tree = [tree]
    if not isinstance(tree, list) or not all(isinstance(one, dict) for one in tree):
        return None
    return tree


def _workitem(tree: Json, uid: str) -> Workitem:
    inputs = [_input(item) for item in _items(tree, "00404021")]
    progress = [*_items(tree, "00741002")]
    return Workitem(
        uid=uid,
        state=next((one for one in StepState if one == _text(tree, "00741000")), None),
        ready=_text(tree, "00404041") in ("", "READY"),
        codes=_codes(tree, "00404018"),
        stations=_codes(tree, "00404025"),
        inputs=tuple(one for one in inputs if one is not None),
        inputs_sound=bool(inputs) and len(inputs) <= INPUTS_MAX and None not in inputs,
        cancel_asked=any(_text(item, "00741238") or any(_items(item, "0074100E")) for item in progress),
    )


def _input(item: Json) -> Input | None:
    """Return what one item refers to; None where it is no DICOM study, or cannot be told."""
    study, has_series = _uid(item, "0020000D"), bool(_values(item, "0020000E"))
    series = _uid(item, "0020000E")
    if study is None or (has_series and series is None) or _text(item, "0040E020") not in ("", "DICOM"):
        return None
    titles = [title for one in _items(item, "0040E021") for title in _values(one, "00080054")]
    urls = [url for one in _items(item, "0040E025") for url in _values(one, "00081190")]
    return Input(
        study_uid=study,
        series_uid=series,
        ae_titles=tuple(islice(filter(None, map(_ae_title, titles)), _PLACES_MAX)),
        urls=tuple(url for url in urls[:_PLACES_MAX] if isinstance(url, str)),
    )


def _codes(tree: Json, tag: str) -> tuple[Code, ...]:
    return tuple(islice(filter(None, map(_code, _items(tree, tag))), _CODES_MAX))


def _code(item: Json) -> Code | None:
    """Read a code; its value may be a long one or a URN (PS3.3 Table 8.8-1)."""
    value = _text(item, "00080100") or _text(item, "00080119") or _text(item, "00080120")
    if not value or len(value) > _VALUE_MAX:
        return None
    scheme, meaning = _text(item, "00080102"), _text(item, "00080104")
    return Code(value=value, scheme=scheme[:_TEXT_MAX], meaning=meaning[:_TEXT_MAX])


def _ae_title(value: object) -> str | None:
    try:
        return AeTitle.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _uid(tree: Json, tag: str) -> str | None:
    try:
        return str(Uid.parse(_text(tree, tag)))
    except ValueError:
        return None


def _text(tree: Json, tag: str) -> str:
    """Return the first value as text, stripped; "" where there is none."""
    values = _values(tree, tag)
    return values[0].strip(" \0") if values and isinstance(values[0], str) else ""


def _items(tree: Json, tag: str) -> Iterator[Json]:
    # One more than is taken, so that too many can be told.
    return (item for item in _values(tree, tag)[: INPUTS_MAX + 1] if isinstance(item, dict))


def _values(tree: Json, tag: str) -> list[Any]:
    attribute = tree.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def state_change(state: StepState, transaction_uid: str) -> bytes:
    """Return the payload of a Change Workitem State request (PS3.18 11.7.1.4)."""
    return _payload({**_one("00741000", "CS", state), **_one("00081195", "UI", transaction_uid)})


def progress(transaction_uid: str, *, percent: int, text: str) -> bytes:
    """Return the payload of an update that says how far it is (PS3.3 C.30.1)."""
    said = {**_one("00741004", "DS", percent), **_one("00741006", "ST", text[:_REASON_MAX])}
    return _payload({**_one("00081195", "UI", transaction_uid), **_sequence("00741002", [said])})


def completed(transaction_uid: str, performed: Performed) -> bytes:
    """Return the payload of the last update before COMPLETED (PS3.4 CC.2.5.1.1)."""
    said = {**_one("00741004", "DS", 100)}
    return _payload(
        {
            **_one("00081195", "UI", transaction_uid),
            **_sequence("00741002", [said]),
            **_sequence("00741216", [_performed(performed)]),
        }
    )


def discontinued(transaction_uid: str, performed: Performed, *, why: Code, text: str) -> bytes:
    """Return the payload of the last update before CANCELED: the reason as a code and in words."""
    said = {
        **_one("00404052", "DT", performed.ended),
        **_one("00741238", "LT", text[:_REASON_MAX]),
        **_sequence("0074100E", [_coded(why)]),
    }
    return _payload(
        {
            **_one("00081195", "UI", transaction_uid),
            **_sequence("00741002", [said]),
            **_sequence("00741216", [_performed(performed)]),
        }
    )


def _performed(done: Performed) -> Json:
    """Return the item of the Unified Procedure Step Performed Procedure Sequence (PS3.3 C.30.3)."""
    codes = [] if done.workitem_code is None else [_coded(done.workitem_code)]
    found = {
        **_sequence("00404028", [_coded(done.station)]),
        **_one("00404050", "DT", done.started),
        **_one("00404051", "DT", done.ended),
        **_sequence("00404019", codes),
        **_sequence("00404033", [_output(one) for one in done.outputs]),
    }
    parameters = [_parameter(name, value) for name, value in done.parameters]
    return found | (_sequence("00741212", parameters) if parameters else {})


def _parameter(name: Code, value: str) -> Json:
    """Return a content item of a text (PS3.3 10.2)."""
    return {
        **_one("0040A040", "CS", "TEXT"),
        **_sequence("0040A043", [_coded(name)]),
        **_one("0040A160", "UT", value),
    }


def _output(one: Output) -> Json:
    found = {
        **_one("0040E020", "CS", "DICOM"),
        **_one("0020000D", "UI", one.study_uid),
        **_one("0020000E", "UI", one.series_uid),
        **_sequence(
            "00081199",
            [{**_one("00081150", "UI", kind), **_one("00081155", "UI", uid)} for kind, uid in one.references],
        ),
    }
    if one.ae_title:
        found |= _sequence("0040E021", [_one("00080054", "AE", one.ae_title)])
    if one.url:
        found |= _sequence("0040E025", [_one("00081190", "UR", one.url)])
    return found


def _coded(code: Code) -> Json:
    tag, vr = ("00080100", "SH") if len(code.value) <= 16 else ("00080119", "UC")
    return {
        **_one(tag, vr, code.value),
        **_one("00080102", "SH", code.scheme[:16]),
        **_one("00080104", "LO", (code.meaning or code.value)[:_TEXT_MAX]),
    }


def _one(tag: str, vr: str, value: str | int) -> Json:
    return {tag: {"vr": vr, "Value": [value]}}


def _sequence(tag: str, items: Sequence[Mapping[str, Any]]) -> Json:
    return {tag: {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}}


def _payload(tree: Json) -> bytes:
    # An array of one data set, which is what every origin server reads (PS3.18 F.2.1).
    return json.dumps([tree], separators=(",", ":")).encode()
