"""The pages for people: studies, one study, attention, models, health. Each look at a patient is recorded."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse, Response

from appliance.console import agreement, attention, studypage, taking
from appliance.console.access import Visitor
from appliance.console.faults import Fault
from appliance.console.heading import Heading, heading
from appliance.console.picture import picture
from appliance.console.room import Here, LoggedIn, Room
from appliance.console.wording import Tone, tell, tone_of
from appliance.core import viewerlink
from appliance.core.words import StudyState
from appliance.ledger import deliveries, reading, results
from appliance.ledger.engine import Tx
from appliance.ledger.events import Event
from appliance.ledger.studies import find as find_study

router = APIRouter(include_in_schema=False)

StudyUid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
RowId = Annotated[int, Path(ge=1, le=2**53)]
Seen = Annotated[str, Query(max_length=32)]
# What a redirect after a button may say; anything else is not shown.
_DONE = {
    "again": "The work was asked for once more.",
    "released": "The study was released; it is judged anew.",
    "sent": "The objects will be sent once more.",
    "settled": "The deliveries were ended.",
    "agreed": "Noted: it may begin to serve.",
    "seen": "Noted: nothing more is needed for what failed.",
}
_FILTERS = ("all", "attention", *(state.value for state in StudyState))


@router.get("/")
@router.get("/studies")
def studies(
    here: Here,
    visitor: LoggedIn,
    show: Annotated[str, Query(max_length=16)] = "all",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    """Show what arrived, newest first."""
    show = show if show in _FILTERS else "all"
    part, _ = _study_rows(here, visitor, show, page)
    with here.ledger.read() as tx:
        tallies = {"all": reading.count_lines(tx), "attention": reading.count_lines(tx, attention=True)}
        tallies |= {state.value: reading.count_lines(tx, state=state) for state in StudyState}
    return page_of(here, visitor, "studies.html", tab="studies", part=part, show=show, tallies=tallies)


@router.get("/studies/rows")
def study_rows(
    here: Here,
    visitor: LoggedIn,
    show: Annotated[str, Query(max_length=16)] = "all",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    seen: Seen = "",
) -> Response:
    """Return the list's rows if they changed."""
    return _if_changed(_study_rows(here, visitor, show if show in _FILTERS else "all", page), seen)


@router.get("/studies/{study_uid}")
def study(
    here: Here, visitor: LoggedIn, study_uid: StudyUid, done: Annotated[str, Query(max_length=16)] = ""
) -> Response:
    """Show one study: what arrived, what was decided and why, what came of it."""
    part, _ = _study_part(here, visitor, study_uid)
    return page_of(here, visitor, "study.html", tab="studies", part=part, done=_DONE.get(done, ""))


@router.get("/studies/{study_uid}/live")
def study_live(here: Here, visitor: LoggedIn, study_uid: StudyUid, seen: Seen = "") -> Response:
    """Return the study's page body if it changed."""
    return _if_changed(_study_part(here, visitor, study_uid), seen)


@router.get("/objects/{object_id}/preview.png")
def preview(here: Here, visitor: LoggedIn, object_id: RowId) -> Response:
    """Return the picture of a result object that the ledger knows."""
    with here.ledger.read() as tx:
        item = results.find_object(tx, object_id)
        result = None if item is None else results.find(tx, item.result_id)
    if item is None or result is None or item.preview_file is None:
        raise Fault(404, "There is no picture under this address.")
    here.viewings.study(visitor, result.study_uid, "study")
    return Response(picture(here.spool_root, item.preview_file, here.limits), media_type="image/png")


@router.get("/attention")
def needs_attention(
    here: Here, visitor: LoggedIn, done: Annotated[str, Query(max_length=16)] = ""
) -> Response:
    """Show what needs a person."""
    zone = here.config.site.zone
    found = attention.collect(here.ledger, here.watch.look(), here.limits, zone=zone)
    here.viewings.several(visitor, sorted(found.headings), "attention")
    return page_of(here, visitor, "attention.html", tab="attention", found=found, done=_DONE.get(done, ""))


@router.get("/models")
def models(here: Here, visitor: LoggedIn, done: Annotated[str, Query(max_length=16)] = "") -> Response:
    """Show the versions of models on this box, which serves, and why others do not."""
    cards, faults = here.models.cards()
    shown = {"releases": here.models.releases(), "holds": here.models.holds(at=here.clock.now())}
    return page_of(
        here,
        visitor,
        "models.html",
        tab="models",
        cards=cards,
        faults=faults,
        history=here.models.history(),
        beside=here.models.beside(),
        agreement_lines=agreement.lines,
        done=_DONE.get(done, ""),
        **shown,
    )


@router.get("/health")
def health(here: Here, visitor: LoggedIn) -> Response:
    """Show how the box itself is doing."""
    part, _ = _health_part(here)
    return page_of(here, visitor, "health.html", tab="health", part=part)


@router.get("/health/rows")
def health_rows(here: Here, visitor: LoggedIn, seen: Seen = "") -> Response:
    """Return the health page's body if it changed."""
    return _if_changed(_health_part(here), seen)


def _study_rows(here: Room, visitor: Visitor, show: str, page: int) -> tuple[str, str]:
    size = here.limits.studies_per_page
    chosen: dict[str, Any] = {"attention": show == "attention"}
    chosen["state"] = StudyState(show) if show not in ("all", "attention") else None
    with here.ledger.read() as tx:
        total = reading.count_lines(tx, **chosen)
        lines = reading.lines(tx, size, offset=(page - 1) * size, **chosen)
    here.viewings.several(visitor, [line.study.study_uid for line in lines], "studies")
    return here.pages.live(
        "rows.html",
        address=f"/studies/rows?{urlencode({'show': show, 'page': page})}",
        every_seconds=here.limits.refresh_seconds,
        rows=[(heading(line), line) for line in lines],
        show=show,
        page=page,
        total=total,
        first=(page - 1) * size + 1,
        more=page * size < total,
    )


def _study_part(here: Room, visitor: Visitor, study_uid: str) -> tuple[str, str]:
    found = look_up(here, visitor, study_uid, "study")
    return here.pages.live(
        "studybody.html",
        address=f"/studies/{study_uid}/live",
        every_seconds=here.limits.refresh_seconds,
        page=found,
        csrf=visitor.csrf,
        viewer_link=viewer_link(here, found.heading),
    )


def viewer_link(here: Room, head: Heading) -> str | None:
    """Return where a study opens in the site's own viewer."""
    pattern = here.config.console.viewer_link
    return viewerlink.filled(pattern, study_uid=head.study_uid, accession_number=head.accession)


def look_up(here: Room, visitor: Visitor, study_uid: str, page: str) -> studypage.StudyPage:
    """Read a study for somebody; that it was looked at is durable before it is shown."""
    with here.ledger.read() as tx:
        known = find_study(tx, study_uid) is not None
    if known:
        here.viewings.study(visitor, study_uid, page)
    found = studypage.collect(here.ledger, study_uid, here.limits) if known else None
    if found is None:
        raise Fault(404, "No image of this study was ever kept here.")
    return found


def _health_part(here: Room) -> tuple[str, str]:
    snapshot = here.watch.look()
    with here.ledger.read() as tx:
        happened = reading.recent_events(tx, 500, without=("console.viewed",))
        models = reading.models_used(tx, limit=50)
        takings = taking.of_all(tx, here.config)
        loud = [event for event in happened if tone_of(event.word) in (Tone.WARN, Tone.BAD)]
        warnings = [
            (event, *tell(event, peer=_peer(tx, event))) for event in loud[: here.limits.warnings_max]
        ]
    return here.pages.live(
        "healthbody.html",
        address="/health/rows",
        every_seconds=here.limits.refresh_seconds,
        now=snapshot,
        faults=[(n, attention.FAULTS.get(name, name)) for name, n in snapshot.counts.faults.items() if n],
        models=models,
        config=here.config,
        takings=takings,
        warnings=warnings,
    )


def _peer(tx: Tx, event: Event) -> str | None:
    """Return the destination that an event about a delivery speaks of."""
    number = event.detail.get("delivery")
    delivery = deliveries.find(tx, number) if isinstance(number, int) else None
    return None if delivery is None else delivery.peer


def _if_changed(part: tuple[str, str], seen: str) -> Response:
    body, mark = part
    return Response(status_code=204) if mark == seen else HTMLResponse(body)


def page_of(here: Room, visitor: Visitor, name: str, **values: Any) -> Response:
    """Return a whole page, with what stands around every one of them."""
    snapshot = here.watch.look()
    page = here.pages.render(
        name,
        visitor=visitor,
        csrf=visitor.csrf,
        attention_count=attention.count(here.ledger, snapshot, here.limits),
        box=snapshot,
        **values,
    )
    return HTMLResponse(page)
