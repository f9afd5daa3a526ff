"""What a roll-out is going to do: which slots in which ring, what opens a gate, how many at once.

Promises: every slot stands in one ring; a ring is never empty; where a ring has room for it, it holds one
slot of each kind (GPU and scanner vendor) before it holds a second of any, and slots of one kind come from
different sites in turn.
Never: changes once it was made: another plan is another roll-out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from appliance.sync.phase import Phase
from provisioning.registry.faults import RegistryFault

_HOUR, _DAY = 3_600.0, 86_400.0
# Ten in a hundred, then the rest: what follows the rings that slots are put into by name.
SHARES: Final = (0.1, 1.0)
# How long a device may stand in one phase before it is called late; where the hospital decides, nobody is.
DEADLINES: Final[Mapping[Phase, float]] = MappingProxyType(
    {
        Phase.UNKNOWN: 6 * _HOUR,
        Phase.ASSIGNED: 6 * _HOUR,
        Phase.FETCHING: 24 * _HOUR,
        Phase.VERIFIED: 6 * _HOUR,
        Phase.BUILT: 24 * _HOUR,
        Phase.DRAINING: 12 * _HOUR,
        Phase.ACTIVATING: 2 * _HOUR,
        Phase.SOAK: 7 * _DAY,
    }
)


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What must be known of a ring before the next one begins.

    Attributes:
        committed_share_min: of the ring's devices that can be reached.
        rolled_back_max, rolled_back_share_max: devices that rejected the release or went back; the greater of
            the number and of the share of those that can be reached is allowed.
        vanished_max, vanished_share_max: devices that went silent after the release served there; the
            greater of the number and of the share of those where it served is allowed.
        studies_min: analysed with the release in this ring.
        soak_seconds_min: since the share of committed devices was reached.
        working_seconds_min: of these, Mondays to Fridays, 07:00 to 19:00 UTC.
        failures_points_max: by how much the ratio of failed studies may be above that of the version before
            on the same devices (0.005: half a point in a hundred).
        slower_ratio_max: 95 of 100 studies are no slower than this, as a multiple of the time in which the
            version before did 95 of 100 on the same devices.
        positives_points_max: by how much the share of studies with a finding may differ from that of the
            version before on the same devices.
        stratum_studies_min: of each scanner vendor in the ring.
        z: how sure a failure must be, in standard deviations of a normal distribution.
    """

    committed_share_min: float = 0.8
    rolled_back_max: int = 1
    rolled_back_share_max: float = 0.02
    vanished_max: int = 1
    vanished_share_max: float = 0.2
    studies_min: int = 200
    soak_seconds_min: float = 24 * _HOUR
    working_seconds_min: float = 8 * _HOUR
    failures_points_max: float = 0.005
    slower_ratio_max: float = 1.2
    positives_points_max: float = 0.1
    stratum_studies_min: int = 30
    z: float = 2.576

    def __post_init__(self) -> None:
        """Refuse what would make a gate that is always open or never.

        Raises:
            RegistryFault: a number is negative, is none, or a share is above 1.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if not math.isfinite(value) or value < 0:
                raise RegistryFault(f"the gate's {one.name} is {value}; it must be a number, 0 or more")
        shares = (self.committed_share_min, self.rolled_back_share_max, self.vanished_share_max)
        if max(shares) > 1 or self.z <= 0:
            raise RegistryFault("a share of devices is from 0 to 1, and z above 0")


_GATES: TypeAdapter[Gates] = TypeAdapter(Gates)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One slot and the strata that it stands in."""

    name: str
    site: str
    gpu: str
    vendor: str
    ring: int | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """Return what evidence of another slot may stand in for."""
        return self.gpu, self.vendor


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One roll-out of one release.

    Attributes:
        digest: of the release's package: its number in what devices report is made of it.
        rings: names of slots, in the order in which they begin.
        at_once_max: devices that may fetch, build or change over at the same time.
        silent_seconds_max: who has not reported for longer is offline.
        ask_seconds: a ring that is not decided after this long is put before a person.
        made_by: who may not approve it.
    """

    model: str
    version: str
    digest: str
    rings: tuple[tuple[str, ...], ...]
    members: Mapping[str, Member]
    made_by: str
    gates: Gates = field(default_factory=Gates)
    at_once_max: int = 50
    silent_seconds_max: float = _HOUR
    ask_seconds: float = 7 * _DAY

    def __post_init__(self) -> None:
        """Refuse a plan that could not be carried out.

        Raises:
            RegistryFault: a ring is empty, a slot stands in two, or nothing may happen at once.
        """
        named = [slot for ring in self.rings for slot in ring]
        if not self.rings or not all(self.rings):
            raise RegistryFault("a roll-out needs rings, and each of them a slot")
        if len(set(named)) < len(named) or set(named) != set(self.members):
            raise RegistryFault("each slot of a roll-out stands in one ring")
        if self.at_once_max < 1:
            raise RegistryFault("at least one device at once")


def rings_of(members: Iterable[Member], shares: Sequence[float] = SHARES) -> tuple[tuple[str, ...], ...]:
    """Put slots into rings: those that have a ring of their own first, the rest by cumulative shares.

    A share that adds nobody makes no ring. The same slots always give the same rings.

    Raises:
        RegistryFault: there is no slot, or the shares do not grow to 1.
    """
    if not shares or shares[-1] != 1.0 or list(shares) != sorted(set(shares)) or shares[0] <= 0:
        raise RegistryFault("shares grow from above 0 to 1, like 0.1 and 1")
    named, rest = defaultdict(list), []
    for member in sorted(members, key=lambda one: one.name):
        if member.ring is None:
            rest.append(member)
        else:
            named[member.ring].append(member.name)
    rings = [tuple(named[number]) for number in sorted(named)]
    order = [member.name for member in _spread(rest)]
    begin = 0
    for share in shares:
        end = math.ceil(share * len(order))
        if order[begin:end]:
            rings.append(tuple(order[begin:end]))
        begin = max(begin, end)
    if not rings:
        raise RegistryFault("no slot is there to roll out to")
    return tuple(rings)


def gates_of(said: Mapping[str, Any]) -> Gates:
    """Read gates as a person wrote them; what is not given is the default.

    Raises:
        RegistryFault: a name is unknown, or a value is none that can be.
    """
    known = {one.name for one in fields(Gates)}
    if unknown := sorted(set(said) - known):
        raise RegistryFault(f"a gate has no {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    try:
        return _GATES.validate_json(json.dumps(dict(said)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise RegistryFault(f"the gate's {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _spread(members: Sequence[Member]) -> list[Member]:
    """Order slots so that any beginning of the list is like the whole, and holds every kind if it can."""
    kinds = defaultdict(list)
    for member in members:
        kinds[member.kind].append(member)
    keyed = []
    for own in kinds.values():
        for rank, member in enumerate(_sites_in_turn(own)):
            # The first of each kind comes before any second; from there on each kind by its share.
            keyed.append(((rank / len(own), -len(own), _mixed(member.name)), member))
    return [member for _, member in sorted(keyed, key=lambda one: one[0])]


def _sites_in_turn(members: Sequence[Member]) -> list[Member]:
    seen: dict[str, int] = defaultdict(int)
    keyed = []
    for member in sorted(members, key=lambda one: _mixed(one.name)):
        keyed.append(((seen[member.site], _mixed(member.name)), member))
        seen[member.site] += 1
    return [member for _, member in sorted(keyed, key=lambda one: one[0])]


def _mixed(name: str) -> str:
    """Return a key that puts names into an order that means nothing, and is always the same."""
    return hashlib.sha256(name.encode()).hexdigest()
