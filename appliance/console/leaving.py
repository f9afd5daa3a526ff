"""What left this site: every batch and every notice that is kept, decoded, byte for byte, with an export.

Promises: a page shows exactly the bytes that were sent, and what they say by the list that made them; nothing
is summed up. What was forgotten for age or room is counted.
Never: sends anything, or shows patient data: what left holds none.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response, StreamingResponse

from appliance.console.browse import page_of
from appliance.console.faults import Fault
from appliance.console.room import Here, LoggedIn, Room
from appliance.core.clock import as_text

router = APIRouter(include_in_schema=False)
_PER_PAGE = 50
_NUMBER_MAX = 2**53
Number = Annotated[int, Path(ge=1, le=_NUMBER_MAX)]


class Gone(Protocol):
    """Bytes that left.

    Attributes:
        at: when, in epoch seconds.
        way: to whom: "registry", "webhook" or "mail".
        answer: what was answered, a fixed word.
    """

    id: int
    at: float
    way: str
    body: bytes
    answer: str


class Left(Protocol):
    """Where what left is kept."""

    def departures(self, count: int, *, before: int | None = None) -> Sequence[Any]:
        """Return what left, each a `Gone`, the newest first; with `before` what left before that number."""
        ...

    def departure(self, number: int) -> Any:
        """Return one of what left; none where nothing under its number is kept."""
        ...

    def number(self, name: str) -> float | None:
        """Return a count of what was forgotten."""
        ...

    def said(self, gone: Gone) -> Sequence[Mapping[str, Any]]:
        """Return what the bytes say: a table for each record, or one for a notice."""
        ...


@router.get("/left")
def left(
    here: Here, visitor: LoggedIn, before: Annotated[int, Query(ge=1, le=_NUMBER_MAX)] = _NUMBER_MAX
) -> Response:
    """Show what left, the newest first."""
    kept = here.left
    gone = [] if kept is None else list(kept.departures(_PER_PAGE + 1, before=before))
    return page_of(
        here,
        visitor,
        "left.html",
        tab="left",
        gone=[(one, () if kept is None else kept.said(one)) for one in gone[:_PER_PAGE]],
        more=gone[_PER_PAGE - 1].id if len(gone) > _PER_PAGE else None,
        forgotten=0 if kept is None else int(kept.number("departures_forgotten") or 0),
        level=here.config.registry.told,
        ways=here.config.alerts.ways,
    )


# A name of its own, so that it is no number.
@router.get("/left/all.jsonl")
def export(here: Here, visitor: LoggedIn) -> Response:
    """Give everything that is kept as JSON Lines: the bytes in Base64, their digest, and what they say."""
    headers = {"content-disposition": 'attachment; filename="left.jsonl"', "cache-control": "no-store"}
    return StreamingResponse(_lines(here), media_type="application/jsonl", headers=headers)


@router.get("/left/{number}")
def exact(here: Here, visitor: LoggedIn, number: Number) -> Response:
    """Give the bytes of one as they left."""
    gone = None if here.left is None else here.left.departure(number)
    if gone is None:
        raise Fault(404, "Nothing under this number is kept.")
    headers = {"content-disposition": f'attachment; filename="left-{gone.id}"', "cache-control": "no-store"}
    return Response(gone.body, media_type="application/octet-stream", headers=headers)


def _lines(here: Room) -> Iterator[str]:
    kept, before = here.left, None
    while kept is not None:
        page = kept.departures(_PER_PAGE, before=before)
        if not page:
            return
        for gone in page:
            yield json.dumps(_row(kept, gone), sort_keys=True) + "\n"
        before = page[-1].id


def _row(kept: Left, gone: Gone) -> dict[str, Any]:
    return {
        "id": gone.id,
        "at": as_text(gone.at),
        "way": gone.way,
        "answer": gone.answer,
        "sha256": hashlib.sha256(gone.body).hexdigest(),
        "bytes": base64.b64encode(gone.body).decode("ascii"),
        "says": list(kept.said(gone)),
    }
