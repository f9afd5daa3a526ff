"""The preview of a result: its images with what the model marked, and the data behind the page.

Promises: an address holds the number of a result and nothing of a patient; each look is a row in the ledger;
no answer with pixels may be written to a cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse, JSONResponse, Response

from appliance.console.access import Visitor
from appliance.console.browse import RowId, Seen, page_of, viewer_link
from appliance.console.faults import Fault
from appliance.console.heading import Heading, heading
from appliance.console.preview.modelwindow import model_window
from appliance.console.room import Caller, Here, LoggedIn, Room
from appliance.console.studypage import is_outdated
from appliance.ledger import jobs, reading, results, studies
from appliance.ledger.jobs import Job
from appliance.ledger.results import Result

router = APIRouter()
ImageNumber = Annotated[int, Path(ge=1, le=10**6)]

# Pixels and marks lie in the page's memory and nowhere else.
_KEEP_NOTHING = {"cache-control": "private, no-store"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A result with what the page says of it."""

    result: Result
    job: Job
    heading: Heading
    superseded: bool
    outdated: bool
    # The newest result of the route, where it is another one.
    newest_id: int | None


@router.get("/results/{result_id}/view", include_in_schema=False)
def view(here: Here, visitor: LoggedIn, result_id: RowId) -> Response:
    """Show the images of a result, the marks over them."""
    found = _look_up(here, visitor, result_id)
    job = found.job
    window = model_window(
        here.config, name=job.model_name, version=job.model_version, digest=job.model_digest
    )
    standing, _ = _standing(here, found)
    return page_of(
        here,
        visitor,
        "view.html",
        tab="studies",
        found=found,
        standing=standing,
        window=window,
        viewer_link=viewer_link(here, found.heading),
    )


@router.get("/results/{result_id}/view/standing", include_in_schema=False)
def view_standing(here: Here, visitor: LoggedIn, result_id: RowId, seen: Seen = "") -> Response:
    """Return whether the result still stands, if that changed: a page may be open for long."""
    body, mark = _standing(here, _look_up(here, visitor, result_id))
    return Response(status_code=204) if mark == seen else HTMLResponse(body)


@router.get("/api/v1/results/{result_id}/preview", tags=["Readside"])
def scene(here: Here, caller: Caller, result_id: RowId) -> Response:
    """Return a result's images, its marks and segments as its objects hold them; images count from 1."""
    result = _recorded(here, caller, result_id)
    return JSONResponse(here.desk.described(result), headers=_KEEP_NOTHING)


@router.get("/api/v1/results/{result_id}/preview/{number}/pixels", tags=["Readside"])
def pixels(here: Here, caller: Caller, result_id: RowId, number: ImageNumber) -> Response:
    """Return one image: rows of little-endian numbers (u1, u2, i2) or of rgb bytes; X-Image says which."""
    made = here.desk.slice(_recorded(here, caller, result_id), number)
    return Response(
        made.body,
        media_type="application/octet-stream",
        headers={**_KEEP_NOTHING, "x-image": json.dumps(made.about)},
    )


@router.get("/api/v1/results/{result_id}/preview/{number}/regions", tags=["Readside"])
def regions(here: Here, caller: Caller, result_id: RowId, number: ImageNumber) -> Response:
    """Return the masks of the segmentation on one image; bits are base64, rows padded to whole bytes."""
    found = here.desk.regions(_recorded(here, caller, result_id), number)
    return JSONResponse({"regions": found}, headers=_KEEP_NOTHING)


def _recorded(here: Room, visitor: Visitor, result_id: int) -> Result:
    """Find a result for somebody; that it was looked at is durable before it is shown."""
    with here.ledger.read() as tx:
        result = results.find(tx, result_id)
    if result is None:
        raise Fault(404, "There is no such result.")
    here.viewings.study(visitor, result.study_uid, "preview")
    return result


def _look_up(here: Room, visitor: Visitor, result_id: int) -> Shown:
    result = _recorded(here, visitor, result_id)
    with here.ledger.read() as tx:
        work = jobs.of_study(tx, result.study_uid)
        made = [one for one in results.of_study(tx, result.study_uid) if one.route == result.route]
        study, line = studies.find(tx, result.study_uid), reading.line(tx, result.study_uid)
    assert study is not None, "a result belongs to a study"
    assert line is not None, "a result belongs to a study"
    return Shown(
        result=result,
        job=next(job for job in work if job.id == result.job_id),
        heading=heading(line),
        superseded=any(one.supersedes_id == result.id for one in made),
        outdated=is_outdated(study, result, work),
        newest_id=made[-1].id if made[-1].id != result.id else None,
    )


def _standing(here: Room, found: Shown) -> tuple[str, str]:
    values: Mapping[str, Any] = {"found": found}
    return here.pages.live(
        "viewstanding.html",
        address=f"/results/{found.result.id}/view/standing",
        every_seconds=here.limits.refresh_seconds,
        **values,
    )
