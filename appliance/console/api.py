"""`/api/v1`: what the pages show, for programs. By session or HTTP basic; errors are JSON sentences."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field, model_validator

from appliance.console import acts, studypage
from appliance.console.browse import StudyUid, look_up
from appliance.console.faults import Fault
from appliance.console.heading import heading
from appliance.console.limits import DEFAULT
from appliance.console.room import Caller, Here, Writer
from appliance.core.words import StudyState
from appliance.ledger import reading

router = APIRouter(prefix="/api/v1", tags=["Readside"])

_Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
_Id = Annotated[int, Field(ge=1, le=2**53)]


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Retry(_Wish):
    """Run one ended job again, or whatever of one study failed or is held."""

    job: _Id | None = None
    study: _Uid | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.job is None) == (self.study is None):
            raise ValueError("give either job or study")
        return self


class Settle(_Wish):
    """Send dead deliveries again or end them; by their numbers, or all of one study."""

    deliveries: Annotated[tuple[_Id, ...], Field(max_length=DEFAULT.settle_at_once_max)] = ()
    study: _Uid | None = None
    act: Literal["again", "settle"]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.deliveries) == bool(self.study):
            raise ValueError("give either deliveries or study")
        return self


@router.get("/status")
def status(here: Here, _caller: Caller) -> dict[str, Any]:
    """Return the conservation counts, the balance, the services, the disk and the queues."""
    return here.watch.look().as_dict()


@router.get("/studies")
def studies(
    here: Here,
    caller: Caller,
    state: StudyState | None = None,
    attention: bool = False,
    limit: Annotated[int, Query(ge=1, le=DEFAULT.studies_per_page_max)] = DEFAULT.studies_per_page,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> dict[str, Any]:
    """Return studies, newest arrival first."""
    with here.ledger.read() as tx:
        total = reading.count_lines(tx, state=state, attention=attention)
        lines = reading.lines(tx, limit, offset=offset, state=state, attention=attention)
    here.viewings.several(caller, [line.study.study_uid for line in lines], "api")
    return {"total": total, "offset": offset, "studies": [_line(line) for line in lines]}


@router.get("/studies/{study_uid}")
def study(here: Here, caller: Caller, study_uid: StudyUid) -> dict[str, Any]:
    """Return one study: why each model ran or not, jobs, results, deliveries and timeline."""
    found = look_up(here, caller, study_uid, "api")
    return {
        "heading": vars(found.heading),
        "study": vars(found.study),
        "why": found.why.as_dict(),
        "series": [vars(row) for row in found.series],
        "jobs": [vars(job) for job in found.jobs],
        "results": [_card(card) for card in found.results],
        "timeline": [vars(moment) for moment in found.timeline],
    }


@router.get("/models")
def models(here: Here, _caller: Caller) -> dict[str, Any]:
    """Return every model package of the box: where it stands, what it passed, why it was refused."""
    cards, faults = here.models.cards()
    beside = here.models.beside().as_json()
    return {"models": [card.as_dict() for card in cards], "faults": faults, "beside": beside}


@router.post("/retry")
def retry(here: Here, caller: Writer, wish: Retry) -> dict[str, Any]:
    """Ask for work once more; a held study is released instead, and then no job is named."""
    try:
        if wish.study is not None:
            made = acts.retry_study(here.ledger, wish.study, by=caller.name, clock=here.clock)
        else:
            assert wish.job is not None, "the model checked this"
            made = [acts.run_again(here.ledger, wish.job, by=caller.name, clock=here.clock)]
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return {"jobs": made, "released": not made}


@router.post("/settle")
def settle(here: Here, caller: Writer, wish: Settle) -> dict[str, Any]:
    """Send dead deliveries again or end them."""
    wanted = wish.deliveries if wish.study is None else acts.dead_of(here.ledger, wish.study)
    try:
        again = wish.act == "again"
        done = acts.settle(here.ledger, wanted, by=caller.name, send_again=again, clock=here.clock)
    except acts.Refused as refused:
        raise Fault(409, str(refused)) from None
    return {"settled": done}


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, _caller: Caller) -> dict[str, Any]:
    """Return the description of this interface (OpenAPI 3)."""
    app = request.app
    assert isinstance(app, FastAPI)
    return get_openapi(title="Readside", version=app.version, routes=app.routes)


def _line(line: reading.StudyLine) -> dict[str, Any]:
    head = heading(line)
    return {
        **vars(head),
        "state": line.study.state,
        "first_at": line.study.first_at,
        "last_at": line.study.last_at,
        "routes": [vars(route) for route in line.routes],
        "deliveries": line.deliveries,
    }


def _card(card: studypage.ResultCard) -> dict[str, Any]:
    plain = {key: value for key, value in vars(card.result).items() if key != "evidence"}
    return {
        **plain,
        "superseded": card.superseded,
        "instances_used": len(card.result.evidence),
        "model": None
        if card.job is None
        else [card.job.model_name, card.job.model_version, card.job.model_digest],
        "objects": [_object(item) for item in card.objects],
        "deliveries": [vars(delivery) for delivery in card.deliveries],
        "assessments": [vars(said) for said in card.spoken],
    }


def _object(item: Any) -> dict[str, Any]:
    hidden = ("location", "preview_file")
    return {key: value for key, value in vars(item).items() if key not in hidden}
