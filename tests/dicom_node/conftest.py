"""A listener on a free port, and peers that call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.receive import Refused
from dicom_node.values import Peer
from tests.dicom_node.samples import LIMITS, Shelf

PEERS = (
    Peer(name="modality", ae_title="CTSCAN", host="127.0.0.1", port=0, may=frozenset({"store"})),
    Peer(name="monitor", ae_title="MONITOR", host="127.0.0.1", port=0),
)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def quiet() -> list[str]:
    """Grows by one whenever an association ended."""
    return []


@pytest.fixture
def refused() -> list[Refused]:
    """Grows by one for each instance that was not kept."""
    return []


@pytest.fixture
def listen(shelf: Shelf, quiet: list[str], refused: list[Refused]) -> Iterator[Callable[..., Listener]]:
    """Make listeners that are stopped at the end."""
    made: list[Listener] = []

    def make(limits: Limits = LIMITS, intake: object = shelf) -> Listener:
        listener = Listener(
            ae_title="BOX",
            host="127.0.0.1",
            port=0,
            peers=PEERS,
            intake=intake,  # type: ignore[arg-type]
            limits=limits,
            on_quiet=lambda: quiet.append("quiet"),
            on_refused=refused.append,
        )
        made.append(listener)
        return listener

    yield make
    for listener in made:
        listener.stop()


@pytest.fixture
def box(listen: Callable[..., Listener]) -> Peer:
    """A running listener, as its peers know it."""
    return Peer(name="box", ae_title="BOX", host="127.0.0.1", port=listen().start(), may=frozenset({"store"}))
