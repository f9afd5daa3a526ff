"""Which workitems are this box's, who has what they name, and where what came of it lies.

Promises: a workitem is the box's by what the site wrote, whatever the origin server matched; an input has a
peer that may be asked for it, or none.
Never: asks anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from appliance.core.config import Peer, Worklist
from appliance.ledger.performed import Why
from appliance.ledger.workitems import Placed, Wanted
from dicom_node.dicomweb.workitem import Code, Input, Output, Workitem

# HL7 v2 table 0396: a local code.
_LOCAL = "L"


def coded(text: str) -> Code:
    """Return the code that CODE^SCHEME of the configuration means; the scheme may be left out."""
    value, _, scheme = text.partition("^")
    return Code(value=value, scheme=scheme, meaning=value)


def own_station(section: Worklist, ae_title: str) -> Code:
    """Return the code of this box as the station that performed: as it is scheduled, or its AE title."""
    code = coded(section.station or ae_title)
    return Code(value=code.value, scheme=code.scheme or _LOCAL, meaning=code.meaning)


def searches(section: Worklist) -> list[tuple[str, str]]:
    """Return what is searched for: pairs of station and workitem code values, "" where any will do."""
    station = coded(section.station).value if section.station else ""
    return [(station, coded(item.code).value) for item in section.items] or [(station, "")]


def route_of(section: Worklist, workitem: Workitem) -> str | None:
    """Return whose answer a workitem waits for, "" for that of any route; None where it is not the box's."""
    if section.station and not _among(section.station, workitem.stations):
        return None
    if not section.items:
        return ""
    return next((item.route for item in section.items if _among(item.code, workitem.codes)), None)


def _among(text: str, codes: Sequence[Code]) -> bool:
    own = coded(text)
    return any(one.value == own.value and own.scheme in ("", one.scheme) for one in codes)


class Places:
    """The peers, by how the world outside names them."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        """Know these peers."""
        self._by_name = {peer.name: peer for peer in peers}
        self._sources = [peer for peer in peers if peer.fetchable]

    def wanted(self, workitem: Workitem) -> list[Wanted] | Why:
        """Return the studies that a workitem names, each with a peer that has it; or why that cannot be."""
        if not workitem.inputs_sound:
            return Why.UNREADABLE
        by_study: dict[str, list[Input]] = defaultdict(list)
        for one in workitem.inputs:
            by_study[one.study_uid].append(one)
        found = []
        for study_uid, inputs in by_study.items():
            peer = next(self._sources_of(inputs), None)
            if peer is None:
                return Why.NO_PEER
            series = [one.series_uid for one in inputs if one.series_uid is not None]
            # One item that names the whole study makes it the whole study.
            whole = len(series) < len(inputs)
            found.append(Wanted(study_uid=study_uid, series=[] if whole else sorted(set(series)), peer=peer))
        return found

    def _sources_of(self, inputs: Sequence[Input]) -> Iterator[str]:
        """Yield the peers that have it and may be asked by DIMSE, those that an AE title names first."""
        for one in inputs:
            yield from (p.name for title in one.ae_titles for p in self._sources if p.ae_title == title)
        for one in inputs:
            yield from (p.name for url in one.urls for p in self._sources if _serves(p, url))

    def outputs(self, placed: Sequence[Placed]) -> list[Output]:
        """Return where the objects lie that peers have accepted, a series of one peer at a time."""
        groups: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
        for one in placed:
            kind = (one.peer, one.study_uid, one.series_uid)
            groups[kind].append((one.sop_class_uid, one.sop_instance_uid))
        return [
            _output(self._by_name[peer], study_uid, series_uid, references)
            for (peer, study_uid, series_uid), references in groups.items()
            if peer in self._by_name
        ]


def _serves(peer: Peer, url: str) -> bool:
    return peer.dicomweb is not None and url.startswith(f"{peer.dicomweb.rstrip('/')}/studies/")


def _output(peer: Peer, study_uid: str, series_uid: str, references: Sequence[tuple[str, str]]) -> Output:
    url = ""
    if peer.dicomweb is not None:
        url = f"{peer.dicomweb.rstrip('/')}/studies/{study_uid}/series/{series_uid}"
    return Output(
        study_uid=study_uid,
        series_uid=series_uid,
        references=references,
        ae_title=peer.ae_title if peer.reachable or not url else "",
        url=url,
    )
