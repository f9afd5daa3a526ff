"""Destinations are asked by real associations, each by itself, and a dead one holds nothing up."""

from __future__ import annotations

import fcntl
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.core.config import Config, parse
from appliance.core.limits import Limits
from appliance.demo.box import free_ports
from appliance.demo.pacs import StandInPacs
from appliance.ledger import acceptances
from appliance.ledger.engine import Ledger
from appliance.services.asker import BUSY, Asker, asking
from appliance.services.stage import Stage

SECONDS_MAX = 30.0
LIMITS = Limits(ask_again_seconds=0.05, drain_seconds=20.0)


def site(root: Path, **ports: int) -> Config:
    return parse(
        {
            "site": {"name": "Test"},
            "storage": {"root": str(root)},
            "peers": [
                {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": port}
                for name, port in ports.items()
            ],
            "routes": [{"name": "r", "when": "true", "model": "ct-tissue-bands", "send_to": list(ports)}],
        }
    )


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StandInPacs]:
    """A stand-in PACS that does not listen yet."""
    stand_in = StandInPacs(tmp_path / "pacs", "PACS", peers=["READSIDE"])
    yield stand_in
    stand_in.stop()


@contextmanager
def asked(ledger: Ledger, config: Config) -> Iterator[Stage]:
    stage = Stage(name="courier", config=config, ledger=ledger, limits=LIMITS)
    asker = Asker(stage, config)
    asker.start()
    try:
        yield stage
    finally:
        stage.stop()
        asker.join()


def asked_at(ledger: Ledger, peer: str) -> float | None:
    with ledger.read() as tx:
        return acceptances.answer_of(tx, peer).asked_at


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_silent_peer_holds_up_no_other(ledger: Ledger, pacs: StandInPacs, tmp_path: Path) -> None:
    # It lets us connect and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = site(tmp_path / "box", mute=mute.getsockname()[1], pacs=pacs.start())
        with asked(ledger, config):
            until(lambda: asked_at(ledger, "pacs") is not None)
            assert asked_at(ledger, "mute") is None
            # Its end of the line goes, or the test would wait for the bound.
            connection, _ = mute.accept()
            mute.close()
            connection.close()
    assert pacs.journal == [], "nothing was sent"


def test_a_peer_that_was_down_at_set_up_is_asked_until_it_answers(
    ledger: Ledger, pacs: StandInPacs, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with asked(ledger, site(tmp_path / "box", pacs=port)):
        time.sleep(3 * LIMITS.ask_again_seconds)
        assert asked_at(ledger, "pacs") is None
        pacs.start(port)
        until(lambda: asked_at(ledger, "pacs") is not None)


def test_nobody_is_asked_twice_at_once(ledger: Ledger, pacs: StandInPacs, tmp_path: Path) -> None:
    config = site(tmp_path / "box", pacs=pacs.start())
    config.run_dir.mkdir(parents=True)
    with (config.run_dir / "asking.pacs.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        said = asking(config, ledger).ask(config.peer("pacs"))
    assert (said.answered, said.word) == (False, BUSY)
    assert asking(config, ledger).ask(config.peer("pacs")).answered
