"""`priors` of a route, held against the peers that are asked and the time until a study is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.core.sections import Assembly, Peer, Priors, Route


def priors_faults(routes: Sequence[Route], peers: Sequence[Peer], assembly: Assembly) -> list[str]:
    """Return a sentence for everything that keeps a route from ever seeing an earlier study."""
    return [
        f"routes.{route.name}.priors.{fault}"
        for route in routes
        if route.priors is not None
        for fault in _faults(route.priors, peers, assembly)
    ]


def asked_for_priors(priors: Priors, peers: Sequence[Peer]) -> list[Peer]:
    """Return the peers that a route asks for earlier studies, in the order of the configuration."""
    return [peer for peer in peers if peer.fetchable and (not priors.ask or peer.name in priors.ask)]


def _faults(priors: Priors, peers: Sequence[Peer], assembly: Assembly) -> Iterator[str]:
    by_name = {peer.name: peer for peer in peers}
    for name in priors.ask:
        peer = by_name.get(name)
        if peer is None:
            yield f"ask: no peer is called {name!r}"
        elif not peer.fetchable:
            yield f'ask: peer {name!r} needs host, port and "store" and "query" in its `may` to be asked'
    if not priors.ask and not any(peer.fetchable for peer in peers):
        yield 'ask: no peer may be asked: one needs host, port and "store" and "query" in its `may`'
    # What is fetched has to fall quiet before it can be analysed.
    if assembly.confirm_with is None and priors.wait_seconds <= assembly.quiet_seconds:
        yield "wait_seconds: must be longer than assembly.quiet_seconds, or no study is ever there in time"
