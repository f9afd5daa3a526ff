"""Who gets which objects of a result, when some destinations do not take what they should get.

Promises: what a peer is known to refuse is replaced by what shows the same, and each replacement has its
line; what nothing stands in for is listed, never left out in silence. Where a peer never answered, what would
stand in is made too, and kept in reserve.
Never: asks a peer, encodes or writes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from appliance.core.config import Config, Peer
from appliance.core.outputs import INSTEAD, OUTPUTS, Output
from appliance.core.words import Outcome
from appliance.ledger.acceptances import UNASKED, Answer
from appliance.ledger.results import StandIn
from models.findings import Findings

# What a reader must be told even by a peer that did not ask for pages of text: silence is never a negative
# (P8).
_MUST_BE_READ = frozenset(Outcome) - {Outcome.FINDING, Outcome.MEASURED}
_SEGMENTATIONS = frozenset({"seg", "seg-fractional", "seg-labelmap"})
# Nothing was found, so there is nothing that these could show.
OF_FINDINGS: frozenset[str] = _SEGMENTATIONS | {"sr", "sr-cornerstone", "gsps", "pmap", "kos"}


@dataclass(frozen=True, kw_only=True)
class Addressing:
    """What to make of a result, and for whom.

    Attributes:
        outputs: what to encode, the reserves among them.
        send_to: peer -> the outputs it gets.
        stand_ins: what goes in the place of what; each also in `send_to`.
        untaken: peer -> what it should get, refuses, and nothing stands in for.
        stands_in: output -> what it is there for, for the words inside the object.
    """

    outputs: frozenset[str]
    send_to: Mapping[str, Sequence[str]]
    stand_ins: Sequence[StandIn]
    untaken: Mapping[str, Sequence[str]]
    stands_in: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one peer gets, and what it would get if it refused something."""

    gets: Sequence[str]
    stand_ins: Sequence[StandIn]
    untaken: Sequence[str]
    reserves: Sequence[StandIn]


def destinations(config: Config, route_name: str) -> list[Peer]:
    """Return the peers that get a route's results; nobody for a shadow route or one that is gone."""
    route = next((r for r in config.routes if r.name == route_name), None)
    if route is None or route.mode == "shadow":
        return []
    return [config.peer(name) for name in route.send_to]


def nothing_to_show(findings: Findings, *, placed: bool) -> frozenset[str]:
    """Return the outputs that findings have no content for, so that nothing needs to stand in for them.

    Args:
        findings: what the model found.
        placed: whether the images have a place in the patient, which a segmentation needs.
    """
    regions = any(segment.mask.any() for segment in findings.segments)
    absent: set[str] = set() if regions and placed else set(_SEGMENTATIONS)
    if not (regions or findings.lesions or findings.detections):
        absent.add("gsps")
    return frozenset(absent if findings.maps else absent | {"pmap"})


def address(
    peers: Sequence[Peer], answers: Mapping[str, Answer], *, outcome: Outcome, absent: Collection[str]
) -> Addressing:
    """Decide what to encode of a result, and who gets what.

    Args:
        peers: the destinations.
        answers: what each said it takes, by name; one that is missing never said anything.
        outcome: what the result says.
        absent: the outputs that the result has nothing for.
    """
    shares = {
        peer.name: _share(peer, answers.get(peer.name, UNASKED), outcome=outcome, absent=absent)
        for peer in peers
    }
    gets = frozenset(output for share in shares.values() for output in share.gets)
    stand_ins = [each for share in shares.values() for each in share.stand_ins]
    untaken = {name: share.untaken for name, share in shares.items() if share.untaken}
    spare = [each for share in shares.values() for each in share.reserves if each.output not in gets]
    return Addressing(
        # A report is always made, whoever takes it.
        outputs=gets
        | {each.output for each in spare}
        | {"sr"}
        | {output for each in untaken.values() for output in each},
        send_to={name: share.gets for name, share in shares.items()},
        stand_ins=stand_ins,
        untaken=untaken,
        stands_in=_only_for(spare) | {each.output: each.wanted for each in reversed(stand_ins)},
    )


def _only_for(spare: Sequence[StandIn]) -> dict[str, str]:
    """Return what each reserve would stand in for, of those that have one such purpose.

    A reserve goes only where something was refused, so its words are true wherever they are read.
    """
    wanted: dict[str, set[str]] = {}
    for each in spare:
        wanted.setdefault(each.output, set()).add(each.wanted)
    return {output: next(iter(wants)) for output, wants in wanted.items() if len(wants) == 1}


def _share(peer: Peer, answer: Answer, *, outcome: Outcome, absent: Collection[str]) -> _Share:
    wanted = {*peer.outputs} | ({"text-sr"} if outcome in _MUST_BE_READ else set())
    chains: dict[str, list[str]] = {}
    for output in (output for output in OUTPUTS if output in wanted):
        links = _chain(output)[:1] if output in absent else _chain(output)
        chains[output] = [link for link in links if answer.takes_output(link) is not False]
    gets = list(dict.fromkeys(chain[0] for chain in chains.values() if chain))
    return _Share(
        gets=gets,
        stand_ins=[
            StandIn(peer=peer.name, output=chain[0], wanted=want)
            for want, chain in chains.items()
            if chain and chain[0] != want
        ],
        untaken=[want for want, chain in chains.items() if not chain and want not in absent],
        reserves=[
            StandIn(peer=peer.name, output=spare, wanted=want)
            for want, chain in chains.items()
            for spare in _reserves(chain, answer, gets)
        ],
    )


def _chain(output: Output) -> list[str]:
    """Return an output and, in order, what stands in for it."""
    chain: list[str] = []
    after: Output | None = output
    while after is not None:
        chain.append(after)
        after = INSTEAD.get(after)
    return chain


def _reserves(chain: Sequence[str], answer: Answer, gets: Collection[str]) -> list[str]:
    """Return what to keep in case that the head of a chain is refused, up to something that goes anyway."""
    reserves: list[str] = []
    for output, after in pairwise(chain):
        if answer.takes_output(output) is not None or after in gets:
            break
        reserves.append(after)
    return reserves
