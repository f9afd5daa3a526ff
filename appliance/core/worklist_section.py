"""[worklist]: a UPS-RS worklist whose workitems the box performs (PS3.18 11, IHE AIW-I)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from appliance.core.credential import SecretFile
from appliance.core.sections import Name, Peer, Route, Section, WebAddress

# A code's value and its scheme, as in CT-CHEST^99HOSP; without a scheme that of any is meant (PS3.3 8.1).
CodeText = Annotated[
    str, StringConstraints(pattern=r"^[!-\[\]_-~][ -\[\]_-~]{0,63}(\^[!-\[\]_-~]{1,16})?$", max_length=81)
]


class WorklistItem(Section):
    """[[worklist.items]]: a kind of workitem, and the route whose answer it waits for.

    Attributes:
        code: of its Scheduled Workitem Code Sequence.
    """

    code: CodeText
    route: Name


class Worklist(Section):
    """[worklist]: where the worklist is, and which of its workitems are this box's.

    Attributes:
        url: of the worklist's DICOMweb service; /workitems follows. None: no worklist is asked.
        token: file with the token that the service is shown.
        station: code of this box among the scheduled stations; none: workitems for any station, or for none.
        at_once: how many workitems the box claims before it ended others.
    """

    url: WebAddress | None = None
    token: SecretFile | None = None
    poll_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0
    station: CodeText | None = None
    items: Annotated[tuple[WorklistItem, ...], Field(max_length=64)] = ()
    at_once: Annotated[int, Field(ge=1, le=64)] = 8

    @model_validator(mode="after")
    def _knows_its_own(self) -> Self:
        if self.url is None:
            if self.token is not None or self.station is not None or self.items:
                raise ValueError("worklist.url: must be given with what else stands in [worklist]")
        elif self.station is None and not self.items:
            raise ValueError(
                "worklist.station: must be given, or worklist.items: without either every workitem would be"
                " claimed"
            )
        codes = [item.code for item in self.items]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"worklist.items: {twice[0]!r} stands there twice")
        return self


def worklist_faults(section: Worklist, peers: Sequence[Peer], routes: Sequence[Route]) -> list[str]:
    """Return a sentence for everything of the section that other entries do not go with."""
    if section.url is None:
        return []
    faults = [] if any(peer.fetchable for peer in peers) else [_NO_SOURCE]
    by_name = {route.name: route for route in routes}
    return faults + [
        fault for item in section.items if (fault := _route_fault(item, by_name.get(item.route)))
    ]


_NO_SOURCE = (
    'worklist: no peer has host, port and may = ["store", "query"]: the images that workitems name could not'
    " be fetched"
)


def _route_fault(item: WorklistItem, route: Route | None) -> str:
    where = f"worklist.items.{item.code}"
    if route is None:
        return f"{where}: no route is called {item.route!r}"
    if route.mode == "shadow" or not route.send_to:
        return f"{where}: route {item.route!r} sends to nobody: its workitems could never be completed"
    return ""
