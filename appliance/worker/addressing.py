"""Who gets which objects of a result, when some destinations do not take what they should get.

Promises: what a peer is known to refuse is replaced by what shows the same, and each replacement has its
line; what nothing stands in for is listed, never left out in silence. Whatever a peer chose, each result
gives it something to read or to see (P8), and the segmentation that its report refers to if it takes it.
Where a peer never answered, what would stand in is made too, and kept in reserve.
Never: asks a peer, encodes or writes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pydicom import Dataset

from appliance.core.config import Config, Peer
from appliance.core.outputs import INSTEAD, OUTPUTS, SOP_CLASSES, Output
from appliance.core.words import Outcome
from appliance.ledger.acceptances import UNASKED, Answer
from appliance.ledger.priors import MODE as PRIOR_MODE
from appliance.ledger.results import StandIn
from appliance.results.drawable import drawable
from appliance.results.lacking import lacking
from appliance.results.parametric import FROM_MAPS, too_large
from models.findings import Findings
from models.tensors import Volume

# What a reader must be told even by a peer that did not ask for pages of text: silence is never a negative
# (P8).
_MUST_BE_READ = frozenset(Outcome) - {Outcome.FINDING, Outcome.MEASURED}
# In this order the report refers to one of them.
_SEGMENTATIONS: tuple[Output, ...] = ("seg", "seg-fractional", "seg-labelmap")
# It takes a former result away, and says nothing of this one.
_SHOWS_NOTHING = frozenset({"iocm"})
# Nothing was found, so there is nothing that these could show.
OF_FINDINGS: frozenset[str] = frozenset({*_SEGMENTATIONS, "sr", "sr-cornerstone", "gsps", "pmap", "kos"})


@dataclass(frozen=True, kw_only=True)
class Addressing:
    """What to make of a result, and for whom.

    Attributes:
        outputs: what to encode, the reserves among them.
        send_to: peer -> the outputs it gets.
        stand_ins: what goes in the place of what; each also in `send_to`.
        untaken: peer -> what it should get, refuses, and nothing stands in for.
        stands_in: output -> what it is there for, for the words inside the object.
        refers_to: which of several segmentations the report refers to; None where no peer gets one.
    """

    outputs: frozenset[str]
    send_to: Mapping[str, Sequence[str]]
    stand_ins: Sequence[StandIn]
    untaken: Mapping[str, Sequence[str]]
    stands_in: Mapping[str, str]
    refers_to: Output | None


@dataclass(frozen=True, kw_only=True)
class _Share:
    """What one peer gets, and what it would get if it refused something."""

    gets: Sequence[str]
    stand_ins: Sequence[StandIn]
    untaken: Sequence[str]
    reserves: Sequence[StandIn]


def destinations(config: Config, route_name: str, mode: str = "release") -> list[Peer]:
    """Return the peers that get a route's results; nobody for a shadow route or one that is gone.

    Nobody either where a study was analysed only for another to be compared with: that is the job's mode.
    """
    if mode == PRIOR_MODE:
        return []
    route = next((r for r in config.routes if r.name == route_name), None)
    if route is None or route.mode == "shadow":
        return []
    return [config.peer(name) for name in route.send_to]


def maps_wanted(config: Config, route_name: str) -> bool:
    """Say whether any destination of a route gets objects that are made from heat maps."""
    return any(FROM_MAPS.intersection(peer.outputs) for peer in destinations(config, route_name))


def nothing_to_show(findings: Findings, *, volume: Volume, source: Dataset) -> frozenset[str]:
    """Return the outputs that findings have no content for, so that nothing needs to stand in for them.

    Args:
        findings: what the model found.
        volume: the grid of the findings.
        source: a header of an image the model saw.
    """
    drawn = drawable(findings, volume.shape)
    absent = frozenset(lacking(drawn, volume=volume, source=source, outputs=OUTPUTS))
    all_too_large = len(too_large(findings, volume)) == len(findings.maps)
    return absent | {"pmap"} if all_too_large else absent


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
    refers_to = _referred(shares.values())
    if refers_to is not None:
        shares = {
            name: _with_referred(share, refers_to, answers.get(name, UNASKED))
            for name, share in shares.items()
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
        refers_to=refers_to,
    )


def _referred(shares: Collection[_Share]) -> Output | None:
    """Choose the segmentation that the report refers to: one that goes to somebody, the binary one first."""
    return next((form for form in _SEGMENTATIONS if any(form in share.gets for share in shares)), None)


def _with_referred(share: _Share, refers_to: Output, answer: Answer) -> _Share:
    """Give a peer the segmentation that its report refers to, where it gets another and takes this one."""
    forms = [form for form in _SEGMENTATIONS if form in share.gets]
    if "sr" not in share.gets or not forms or refers_to in forms:
        return share
    classes = {SOP_CLASSES[form] for form in forms}
    alike = SOP_CLASSES[refers_to] in classes
    if alike or answer.takes_output(refers_to):
        return replace(share, gets=[*share.gets, refers_to])
    return share


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
    chains = _with_page(_chains(wanted, answer, absent), answer, absent)
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


def _chains(wanted: Collection[str], answer: Answer, absent: Collection[str]) -> dict[str, list[str]]:
    """Return each output that is wanted with what the peer may take of it and of what stands in for it."""
    chains: dict[str, list[str]] = {}
    for output in (output for output in OUTPUTS if output in wanted):
        links = _chain(output)[:1] if output in absent else _chain(output)
        chains[output] = [link for link in links if answer.takes_output(link) is not False]
    return chains


def _with_page(
    chains: Mapping[str, list[str]], answer: Answer, absent: Collection[str]
) -> Mapping[str, list[str]]:
    """Add a page of text where a peer would get nothing that tells it of the result (P8)."""
    if any(chain and chain[0] not in _SHOWS_NOTHING.union(absent) for chain in chains.values()):
        return chains
    more = _chains({*chains, "text-sr"}, answer, absent)
    # One line for a person to look at is enough where it takes nothing at all.
    untaken = any(not chain and want not in absent for want, chain in chains.items())
    return more if more["text-sr"] or not untaken else chains


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
