"""Which ports are open, and what the timeline says of who was turned away."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, parse
from appliance.ledger import events
from appliance.ledger.engine import open_ledger
from appliance.services.doors import Doors, count_of
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.echo import echo
from dicom_node.limits import Limits
from dicom_node.tls import Credentials, Files, TlsFault
from dicom_node.values import Peer
from tests.certificates import Authority
from tests.dicom_node.samples import LIMITS, Shelf

Open = Callable[..., Doors]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def site(tmp_path: Path, authority: Authority) -> Callable[..., Config]:
    """Make configurations on free ports; `changes` go into [dicom.tls]."""
    own = authority.issue("box")

    def make(*, tls: bool = True, **changes: Any) -> Config:
        section = {
            "certificate": str(own.certificate),
            "key": str(own.key),
            "ca": str(authority.path),
            "port": 0,
            **changes,
        }
        dicom = {"ae_title": "BOX", "host": "127.0.0.1", "port": 0}
        return parse(
            {
                "site": {"name": "s"},
                "dicom": dicom | ({"tls": section} if tls else {}),
                "peers": [
                    {"name": "safe", "ae_title": "SAFE", **({"tls": True} if tls else {})},
                    {"name": "old", "ae_title": "OLD"},
                ],
                "storage": {"root": str(tmp_path)},
            }
        )

    return make


@pytest.fixture
def stage(tmp_path: Path, site: Callable[..., Config]) -> Iterator[Stage]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    yield Stage(name="listener", config=site(), ledger=ledger)
    ledger.close()


@pytest.fixture
def opened(stage: Stage) -> Iterator[Open]:
    made: list[Doors] = []

    def make(config: Config) -> Doors:
        doors = Doors(stage, config, intake=Shelf(), limits=LIMITS, on_refused=lambda _: None)
        made.append(doors)
        return doors

    yield make
    for doors in made:
        doors.stop()


def word(port: int, title: str, credentials: Credentials | None = None) -> str:
    box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port, tls=credentials)
    return echo(box, calling_ae=title, limits=Limits(acse_seconds_max=5.0)).word


def test_tls_closes_the_plain_port_unless_it_is_kept(opened: Open, site: Callable[..., Config]) -> None:
    for config, ports in (
        (site(tls=False), {"port"}),
        (site(), {"tls_port"}),
        (site(plain=True), {"port", "tls_port"}),
    ):
        doors = opened(config)
        assert set(doors.start()) == ports
        assert count_of(config) == len(ports)
        doors.drain(1.0)


def test_who_is_turned_away_stands_in_the_timeline(
    opened: Open, site: Callable[..., Config], authority: Authority, stage: Stage
) -> None:
    doors = opened(site(plain=True))
    bound = doors.start()
    pair = authority.issue("SAFE", address="192.0.2.1")
    safe = Credentials(Files(certificate=pair.certificate, key=pair.key, ca=authority.path))
    assert word(bound["tls_port"], "SAFE", safe) == "echo.ok"
    assert word(bound["port"], "OLD") == "echo.ok"
    assert word(bound["port"], "SAFE") == "echo.rejected", "not in the clear"
    assert word(bound["tls_port"], "OLD", safe) == "echo.rejected", "not with another's certificate"
    with socket.create_connection(("127.0.0.1", bound["tls_port"]), 10) as stranger:
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with suppress(ConnectionError):
            while stranger.recv(4096):
                pass
    (authority.path.parent / "box.key").write_text("x")
    doors.look()
    doors.stop()
    with stage.ledger.read() as tx:
        told = [
            (one.word, one.detail.get("reason"), one.detail.get("calling_ae")) for one in events.latest(tx, 9)
        ]
    assert sorted(told, key=str) == [
        ("roster.identity_mismatch", "another_certificate", "OLD"),
        ("roster.identity_mismatch", "no_certificate", "SAFE"),
        ("tls.refused", "not_tls", ""),
        ("tls.refused_files", "key: holds no private key in PEM form", None),
    ]


def test_without_its_files_the_box_opens_no_port(
    opened: Open, site: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(TlsFault, match="key: cannot be read"):
        opened(site(key=str(tmp_path / "none"), plain=True))


def test_a_peer_with_tls_is_never_called_without(site: Callable[..., Config]) -> None:
    config = site()
    safe, old = (wire_peer(peer, config) for peer in config.peers)
    assert isinstance(safe.tls, Credentials)
    assert old.tls is None
    assert wire_peer(config.peers[0], config).tls is safe.tls, "the files are read once for all peers"
