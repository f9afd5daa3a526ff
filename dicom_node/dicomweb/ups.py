"""Ask a worklist for workitems, claim, follow and end them: a UPS-RS user agent (PS3.18 11).

What goes out is the pull performer's half: search, retrieve, change state, update. Creation, cancellation of
others' workitems and subscription (events over a WebSocket) are not asked for.

Promises: every answer is one of a few, each with its log word; an answer is bounded in time and size.
Never: raises for what the other side does, or keeps the Warning texts, which may say anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote, urlencode

from dicom_node.dicomweb.limits import DEFAULT, WebLimits
from dicom_node.dicomweb.outward import Answer, Request, Unanswered, WebPeer, ask
from dicom_node.dicomweb.report import JSON_TYPE
from dicom_node.dicomweb.workitem import StepState, Workitem, read_all, read_one, state_change
from dicom_node.limits import Limits

# What a search has to bring besides what the standard has it bring (PS3.18 11.9.2).
_INCLUDED: Final = (
    "SOPInstanceUID",
    "ProcedureStepState",
    "InputReadinessState",
    "ScheduledWorkitemCodeSequence",
    "ScheduledStationNameCodeSequence",
)
_NO_SUCH_RESOURCE: Final = ("worklist.not_found", "worklist.not_served")
# PS3.18 11.6.3.2, 11.7.3.2: texts that the Warning field of a failure holds.
_WRONG_UID: Final = ("transaction uid is incorrect", "transaction uid is missing")


class Said(StrEnum):
    """What an answer means to whoever asked (PS3.18 Tables 11.5.3-1, 11.6.3-1, 11.7.3-1)."""

    # 2xx.
    DONE = "done"
    # 409: the workitem is in another state; it was claimed, or it ended.
    CONFLICT = "conflict"
    # 400: a wrong Transaction UID, a final state, or a data set that the server does not take.
    REFUSED = "refused"
    # 404, 410: there is no such workitem, or no longer.
    ABSENT = "absent"
    # Anything else, silence among it: nothing is known of what came of it.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Told:
    """An answer about one workitem.

    Attributes:
        word: for log and status; it says what to look at where the answer is UNKNOWN.
        workitem: what was retrieved.
        not_ours: the server says that the Transaction UID is another's.
    """

    said: Said
    word: str
    workitem: Workitem | None = None
    not_ours: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer to a search: `word` is none where it was one; `more` says whether to ask for the rest."""

    workitems: Sequence[Workitem] = field(default=())
    word: str | None = None
    more: bool = False


class UpsClient:
    """One worklist; belongs to one thread."""

    def __init__(
        self, peer: WebPeer, *, requester: str, limits: Limits | None = None, web: WebLimits = DEFAULT
    ) -> None:
        """Take the address of the service, /workitems follows, and the AE title of whoever asks."""
        self._peer, self._limits, self._web = peer, limits or Limits(), web
        self._requester = quote(requester, safe="")

    def search(self, *, station: str = "", code: str = "", offset: int = 0) -> Found:
        """Ask for SCHEDULED workitems of a station, with a workitem code, or both (PS3.18 11.9).

        A server may pass over what it cannot match: whoever asked compares once more.
        """
        asked = [("ProcedureStepState", StepState.SCHEDULED.value)]
        if station:
            asked.append(("ScheduledStationNameCodeSequence.CodeValue", station))
        if code:
            asked.append(("ScheduledWorkitemCodeSequence.CodeValue", code))
        asked += [("includefield", name) for name in _INCLUDED]
        asked += [("limit", str(self._web.ups_page_max)), ("offset", str(offset))]
        try:
            answer = self._ask("GET", f"/workitems?{urlencode(asked, quote_via=quote)}")
        except Unanswered as failure:
            return Found(word=f"worklist.{failure.word}")
        if answer.status == 204:
            return Found()
        if answer.status not in (200, 206):
            return Found(word=_word(answer.status))
        found = read_all(answer.body)
        if found is None:
            return Found(word="worklist.protocol_error")
        # Not more than was asked for: a server that pages otherwise would be asked for ever.
        found = found[: self._web.ups_page_max]
        return Found(workitems=found, more=len(found) == self._web.ups_page_max)

    def retrieve(self, uid: str) -> Told:
        """Ask for one workitem (PS3.18 11.5)."""
        try:
            answer = self._ask("GET", f"/workitems/{uid}")
        except Unanswered as failure:
            return _unknown(failure)
        if answer.status != 200:
            return _told(answer)
        workitem = read_one(answer.body, uid)
        if workitem is None:
            return Told(said=Said.UNKNOWN, word="worklist.protocol_error")
        return Told(said=Said.DONE, word="worklist.retrieved", workitem=workitem)

    def change(self, uid: str, state: StepState, transaction_uid: str) -> Told:
        """Ask for another state (PS3.18 11.7); to be asked for the state that it is in is no error.

        Editions since 2026 name the requester in the query. A server that has nothing there is asked once
        more with it in the path: dcm4chee up to 5.35 knows no other way.
        """
        payload, resource = state_change(state, transaction_uid), f"/workitems/{uid}/state"
        told = self._send("PUT", f"{resource}?requester={self._requester}", payload)
        if told.word not in _NO_SUCH_RESOURCE:
            return told
        other = self._send("PUT", f"{resource}/{self._requester}", payload)
        return told if other.word in _NO_SUCH_RESOURCE else other

    def update(self, uid: str, transaction_uid: str, payload: bytes) -> Told:
        """Change attributes of a workitem that is ours (PS3.18 11.6).

        The payload names the Transaction UID too: how the query does has changed with the editions.
        """
        return self._send("POST", f"/workitems/{uid}?transaction-uid={transaction_uid}", payload)

    def _send(self, method: str, target: str, payload: bytes) -> Told:
        try:
            return _told(self._ask(method, target, payload))
        except Unanswered as failure:
            return _unknown(failure)

    def _ask(self, method: str, target: str, payload: bytes = b"") -> Answer:
        fields = [("Accept", JSON_TYPE)]
        if payload:
            fields.append(("Content-Type", JSON_TYPE))
        request = Request(
            method=method,
            target=target,
            fields=fields,
            pieces=[payload] if payload else [],
            seconds_max=self._web.ups_seconds_max,
            answer_bytes_max=self._web.reply_bytes_max,
        )
        return ask(self._peer, request, limits=self._limits, web=self._web)


def _told(answer: Answer) -> Told:
    status, warning = answer.status, answer.fields.get("warning", "").lower()
    if 200 <= status < 300:
        return Told(said=Said.DONE, word="worklist.done")
    said = {400: Said.REFUSED, 404: Said.ABSENT, 409: Said.CONFLICT, 410: Said.ABSENT}.get(status)
    not_ours = said is not None and any(text in warning for text in _WRONG_UID)
    return Told(said=said or Said.UNKNOWN, word=_word(status), not_ours=not_ours)


def _unknown(failure: Unanswered) -> Told:
    return Told(said=Said.UNKNOWN, word=f"worklist.{failure.word}")


def _word(status: int) -> str:
    """Return the log word of an answer that is no success."""
    known = {
        400: "refused",
        401: "unauthorised",
        403: "unauthorised",
        404: "not_found",
        405: "not_served",
        409: "conflict",
    }
    known |= {410: "gone", 413: "too_large", 429: "busy", 503: "busy"}
    if 300 <= status < 400:
        return "worklist.redirected"
    return f"worklist.{known.get(status, 'failed')}"
