"""A stand-in origin server of a worklist, as strict as PS3.18 11 and PS3.4 CC let it be.

It keeps workitems in memory, knows every state and Transaction UID, and writes down what was asked of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from pydicom.dataset import Dataset

from tests.certificates import Pair

JSON = "application/dicom+json"
SERVICE = "299 stand-in: "
NOT_CLAIMED = "The submitted request is inconsistent with the current state of the Workitem."
# PS3.4 Table CC.2.5-3: what has to be there in a final state (P: for COMPLETED; X: for CANCELED).
_FOR_COMPLETED = ("00404028", "00404050", "00404019", "00404051", "00404033")
_FOR_CANCELED = ("00404052", "0074100E")

Json = dict[str, Any]


def code_item(value: str, scheme: str = "99HOSP", meaning: str = "a meaning") -> Json:
    return {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }


def sequence(*items: Json) -> Json:
    return {"vr": "SQ", "Value": list(items)}


def input_item(study_uid: str, *, series_uid: str = "", ae_title: str = "", url: str = "") -> Json:
    item: Json = {
        "0040E020": {"vr": "CS", "Value": ["DICOM"]},
        "0020000D": {"vr": "UI", "Value": [study_uid]},
    }
    if series_uid:
        item["0020000E"] = {"vr": "UI", "Value": [series_uid]}
    if ae_title:
        item["0040E021"] = sequence({"00080054": {"vr": "AE", "Value": [ae_title]}})
    if url:
        item["0040E025"] = sequence({"00081190": {"vr": "UR", "Value": [url]}})
    return item


@dataclass
class Held:
    """One workitem; `attributes` are what a retrieval shows, the Transaction UID never among them."""

    attributes: Json
    transaction_uid: str = ""
    # The states that it was in, and the payloads of its updates.
    states: list[str] = field(default_factory=lambda: ["SCHEDULED"])
    updates: list[Json] = field(default_factory=list)
    # Who asked for other states.
    requesters: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.states[-1]

    def move(self, state: str) -> None:
        self.states.append(state)
        self.attributes["00741000"] = {"vr": "CS", "Value": [state]}

    @property
    def dataset(self) -> Dataset:
        return Dataset.from_json(self.attributes)


@dataclass
class Origin:
    """The server's mind. `before` may answer in its place: it gets method and path, and gives a status."""

    workitems: dict[str, Held] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str, str], int | None] = lambda method, path: None
    # The same after the request was done: its answer is lost.
    after: Callable[[str, str], int | None] = lambda method, path: None
    # As dcm4chee had it: /state/{requester}, and nothing at /state.
    requester_in_path: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def schedule(
        self, uid: str, *inputs: Json, code: str = "CT-AI", station: str = "", readiness: str = "READY"
    ) -> Held:
        """Put a workitem on the list, with a patient in it."""
        attributes: Json = {
            "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.34.6.1"]},
            "00080018": {"vr": "UI", "Value": [uid]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "SECRET^PATIENT"}]},
            "00100020": {"vr": "LO", "Value": ["SECRET-ID"]},
            "00404018": sequence(code_item(code)),
            "00404041": {"vr": "CS", "Value": [readiness]},
            "00404021": sequence(*inputs),
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
            "00741200": {"vr": "CS", "Value": ["MEDIUM"]},
            "00741204": {"vr": "LO", "Value": ["SECRET LABEL"]},
        }
        if station:
            attributes["00404025"] = sequence(code_item(station))
        held = self.workitems[uid] = Held(attributes)
        return held

    def search(self, query: Sequence[tuple[str, str]]) -> list[Json]:
        """Match as PS3.4 CC.2.8 has it; return what a search returns, the inputs not among it."""
        wanted = {
            "ProcedureStepState": ("00741000",),
            "ScheduledWorkitemCodeSequence.CodeValue": ("00404018", "00080100"),
            "ScheduledStationNameCodeSequence.CodeValue": ("00404025", "00080100"),
        }
        found = []
        for held in self.workitems.values():
            if all(value in _values(held.attributes, wanted[key]) for key, value in query if key in wanted):
                found.append({tag: v for tag, v in held.attributes.items() if tag != "00404021"})
        numbers = {key: int(value) for key, value in query if key in ("limit", "offset")}
        start = numbers.get("offset", 0)
        return found[start : start + numbers.get("limit", len(found))]

    def change(self, uid: str, asked: Json) -> tuple[int, str]:
        """Change the state (PS3.4 Table CC.1.1-2); return status and Warning."""
        held = self.workitems[uid]
        state, transaction = _value(asked, "00741000"), _value(asked, "00081195")
        if not transaction:
            return 400, "The Transaction UID is missing."
        if state == "IN PROGRESS":
            if held.state != "SCHEDULED":
                return 409, NOT_CLAIMED
            held.transaction_uid = transaction
            held.move(state)
            return 200, ""
        if state not in ("COMPLETED", "CANCELED") or held.state == "SCHEDULED":
            return 409, NOT_CLAIMED
        if held.state != "IN PROGRESS":
            already = f"The UPS is already in the requested state of {state}."
            return (200, already) if held.state == state else (409, NOT_CLAIMED)
        if transaction != held.transaction_uid:
            return 400, "The Transaction UID is incorrect."
        if not self._may_end(held, state):
            return 409, NOT_CLAIMED
        held.move(state)
        return 200, ""

    @staticmethod
    def _may_end(held: Held, state: str) -> bool:
        kind, needed = ("00741216", _FOR_COMPLETED) if state == "COMPLETED" else ("00741002", _FOR_CANCELED)
        items = held.attributes.get(kind, {}).get("Value", [])
        return len(items) == 1 and all(items[0].get(tag, {}).get("Value") for tag in needed)

    def update(self, uid: str, transaction: str, changes: Json) -> tuple[int, str]:
        """Change attributes (PS3.18 11.6); return status and Warning."""
        held = self.workitems[uid]
        if held.state in ("COMPLETED", "CANCELED"):
            return 400, NOT_CLAIMED
        if held.state == "SCHEDULED":
            return 409, "The target URI did not reference a claimed Workitem."
        if transaction != held.transaction_uid:
            return 400, f"The Transaction UID is {'incorrect' if transaction else 'missing'}."
        if "00741000" in changes or "00080018" in changes:
            return 400, NOT_CLAIMED
        changes = {tag: value for tag, value in changes.items() if tag != "00081195"}
        held.updates.append(changes)
        held.attributes |= changes
        return 200, ""


def _value(tree: Json, tag: str) -> str:
    values = tree.get(tag, {}).get("Value", [])
    return str(values[0]) if values else ""


def _values(tree: Json, path: tuple[str, ...]) -> list[str]:
    values = tree.get(path[0], {}).get("Value", [])
    return values if len(path) == 1 else [v for item in values for v in _values(item, path[1:])]


def app_of(origin: Origin) -> FastAPI:
    """Serve the origin's workitems under /dicom-web."""
    app = FastAPI()

    @app.api_route("/dicom-web/workitems{rest:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def answer(rest: str, request: Request) -> Response:
        body = await request.body()
        with origin.lock:
            origin.asked.append((request.method, rest))
            if status := origin.before(request.method, rest):
                return Response(status_code=status)
            done = _answer(origin, request, rest.strip("/").split("/") if rest else [], body)
            if status := origin.after(request.method, rest):
                return Response(status_code=status)
            return done

    return app


def _answer(origin: Origin, request: Request, steps: list[str], body: bytes) -> Response:
    if not steps and request.method == "GET":
        found = origin.search(request.query_params.multi_items())
        return _json(found) if found else Response(status_code=204)
    if not steps or steps[0] not in origin.workitems:
        return Response(status_code=404)
    held = origin.workitems[steps[0]]
    if len(steps) == 1 and request.method == "GET":
        return _json([held.attributes])
    if request.headers.get("content-type") != JSON:
        return Response(status_code=415)
    (asked,) = _payload(body)
    if steps[1:2] == ["state"] and request.method == "PUT":
        requester = request.query_params.get("requester", "")
        if origin.requester_in_path:
            requester = steps[2] if len(steps) == 3 else ""
        if len(steps) != 2 + origin.requester_in_path or not requester:
            return Response(status_code=404)
        held.requesters.append(requester)
        return _done(*origin.change(steps[0], asked))
    if len(steps) == 1 and request.method == "POST":
        return _done(*origin.update(steps[0], request.query_params.get("transaction-uid", ""), asked))
    return Response(status_code=405)


def _payload(body: bytes) -> list[Json]:
    """Return the data sets of a payload, each of which a library can read."""
    tree: list[Json] = json.loads(body)
    for one in tree:
        Dataset.from_json(one)
    return tree


def _json(tree: Any) -> Response:
    return Response(content=json.dumps(tree), media_type=JSON)


def _done(status: int, warning: str) -> Response:
    return Response(status_code=status, headers={"Warning": SERVICE + warning} if warning else {})


@contextmanager
def serving(origin: Origin, pair: Pair | None = None) -> Iterator[str]:
    """Serve over loopback, under TLS with a certificate; give the address of the service."""
    config = uvicorn.Config(app_of(origin), host="127.0.0.1", port=0, log_level="error")
    if pair is not None:
        config.ssl_certfile, config.ssl_keyfile = pair.certificate, pair.key
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(200):
        if server.started:
            break
        waited.wait(0.05)
    assert server.started, "the stand-in worklist did not start"
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http{'s' if pair else ''}://127.0.0.1:{port}/dicom-web"
    finally:
        server.should_exit = True
        thread.join(20)
