"""Where a box reads its registry's tree: copies inside the hospital in their order, the registry itself last.

Promises: a copy that is behind, broken or changed costs a try and never a wrong byte: the lists are verified
whoever gives them, and a release that one copy began is gone on with from the next.
Never: makes the copies agree. Both lists of one look come from one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.core.registry_section import Registry
from appliance.sync.carrier import Carrier, NotThere, Part, carrier_of
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import PASSING, Refusal

_log = log.get("registry")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Several carriers of one tree; as a carrier itself it gives each file from the first that has it."""

    carriers: tuple[Carrier, ...]

    @contextmanager
    def part(self, path: str, *, start: int, seconds_max: float) -> Iterator[Part]:
        """Give a file of the tree from a byte on."""
        with ExitStack() as stack:
            yield self._first(stack, path, start, seconds_max)

    def close(self) -> None:
        """Let go of all of them."""
        for carrier in self.carriers:
            carrier.close()

    def _first(self, stack: ExitStack, path: str, start: int, seconds_max: float) -> Part:
        *copies, last = self.carriers
        for carrier in copies:
            try:
                return stack.enter_context(carrier.part(path, start=start, seconds_max=seconds_max))
            except (NotThere, Refusal):
                continue
        return stack.enter_context(last.part(path, start=start, seconds_max=seconds_max))


class Pace:
    """Keeps what comes under a rate; waits in small steps, so that nobody who listens is late."""

    def __init__(
        self,
        bytes_per_second_max: float | None,
        *,
        clock: Clock = SYSTEM,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the rate; none: as fast as it comes."""
        self._rate, self._clock, self._sleep = bytes_per_second_max, clock, sleep
        self._due = clock.elapsed()

    def spend(self, count: int) -> None:
        """Wait until `count` more bytes are due."""
        if self._rate is None:
            return
        self._due = max(self._due, self._clock.elapsed()) + count / self._rate
        if (wait := self._due - self._clock.elapsed()) > 0:
            self._sleep(wait)


def carrier_for(registry: Registry, *, limits: FetchLimits = FETCH) -> Carrier:
    """Return what reads the tree as a site configured it."""
    if not registry.mirrors:
        return carrier_of(registry.url, limits=limits)
    urls = (*registry.mirrors, registry.url)
    return Sources(carriers=tuple(carrier_of(url, limits=limits) for url in urls))


def limits_for(registry: Registry, *, limits: FetchLimits = FETCH) -> FetchLimits:
    """Return the bounds of fetching as a site configured them."""
    return replace(limits, bytes_per_second_max=registry.bytes_per_second_max)


def sources_of(carrier: Carrier) -> tuple[Carrier, ...]:
    """Return each source of a tree; most have one."""
    return carrier.carriers if isinstance(carrier, Sources) else (carrier,)


def first_good(carrier: Carrier, look: Callable[[Carrier], T]) -> T:
    """Return what a look at the first source gives whose lists hold.

    Raises:
        Refusal: none of them holds. What the last one says counts, unless it was only out of reach.
    """
    refusals: list[Refusal] = []
    *copies, last = sources_of(carrier)
    for number, source in enumerate(copies, 1):
        try:
            return look(source)
        except Refusal as refusal:
            _log.warning("registry.mirror", mirror=number, word=refusal.word.value, reason=refusal.sentence)
            refusals.append(Refusal(refusal.word, f"mirror {number}: {refusal.sentence}"))
    try:
        return look(last)
    except Refusal as refusal:
        if refusal.word in PASSING:
            for earlier in refusals:
                if earlier.word not in PASSING:
                    raise earlier from refusal
        raise
