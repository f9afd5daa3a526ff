"""What the buttons of the pages do. Every form carries its session's proof; every act is recorded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from appliance.console import acts
from appliance.console.browse import StudyUid
from appliance.console.faults import Fault
from appliance.console.forms import local_path
from appliance.console.room import Here, Poster

router = APIRouter(include_in_schema=False)

_Name = Annotated[str, Form(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Id = Annotated[int, Form(ge=1, le=2**53)]


@router.post("/studies/{study_uid}/again")
def again(here: Here, visitor: Poster, study_uid: StudyUid, job: _Id) -> Response:
    """Ask for a job's work once more."""
    try:
        acts.run_again(here.ledger, job, by=visitor.name, clock=here.clock)
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return _back(f"/studies/{study_uid}", "again")


@router.post("/studies/{study_uid}/release")
def release(here: Here, visitor: Poster, study_uid: StudyUid) -> Response:
    """Release a held study."""
    try:
        acts.release(here.ledger, study_uid, by=visitor.name, clock=here.clock)
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return _back(f"/studies/{study_uid}", "released")


@router.post("/studies/{study_uid}/seen")
def seen(here: Here, visitor: Poster, study_uid: StudyUid) -> Response:
    """Note that what failed needs nothing more."""
    acts.seen(here.ledger, study_uid, by=visitor.name, clock=here.clock)
    return _back(f"/studies/{study_uid}", "seen")


@router.post("/deliveries/settle")
def settle(
    here: Here,
    visitor: Poster,
    delivery: Annotated[list[int], Form(min_length=1)],
    act: Annotated[str, Form(pattern="^(again|settle)$")],
    back: Annotated[str, Form()] = "/attention",
) -> Response:
    """Send dead deliveries once more, or end them."""
    wanted = delivery[: here.limits.settle_at_once_max]
    try:
        acts.settle(here.ledger, wanted, by=visitor.name, send_again=act == "again", clock=here.clock)
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return _back(local_path(back), "sent" if act == "again" else "settled")


@router.post("/models/consent")
def consent(here: Here, visitor: Poster, model: _Name, version: _Name) -> Response:
    """Agree that an assigned release may begin to serve."""
    try:
        acts.consent(here.ledger, model, version, by=visitor.name, clock=here.clock)
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return _back("/models", "agreed")


def _back(path: str, done: str) -> Response:
    return RedirectResponse(f"{path.partition('?')[0]}?done={done}", 303)
