"""A listener that attacks are made on, a good peer beside them, and what the log said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from dicom_node.limits import Limits
from dicom_node.listener import Listener
from tests.dicom_node.conftest import PEERS
from tests.dicom_node.samples import Shelf

# Short waits, so that reaching one is a matter of a moment; nothing is asserted on how short.
QUICK: dict[str, Any] = {
    "acse_seconds_max": 3.0,
    "connect_seconds_max": 3.0,
    "dimse_seconds_max": 3.0,
    "network_seconds_max": 5.0,
    "abort_seconds_max": 1.0,
    "pdu_seconds_max": 3.0,
    "connections_per_address_max": 64,
}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def listen(shelf: Shelf) -> Iterator[Callable[..., Listener]]:
    """Make listeners whose limits a test changes; each is stopped at the end."""
    made: list[Listener] = []

    def make(
        *, intake: Any = shelf, tls: Any = None, port: int = 0, reuse_port: bool = False, **changes: Any
    ) -> Listener:
        limits = Limits(**{**QUICK, **changes})
        listener = Listener(
            ae_title="BOX",
            host="127.0.0.1",
            port=port,
            peers=PEERS,
            intake=intake,
            limits=limits,
            tls=tls,
            reuse_port=reuse_port,
        )
        made.append(listener)
        return listener

    yield make
    for listener in made:
        listener.stop()
