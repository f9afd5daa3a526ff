"""The port for STOW-RS as the configuration has it, and what the timeline says of strangers there."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, parse
from appliance.ledger import events
from appliance.ledger.engine import open_ledger
from appliance.services.doors import Doors, count_of
from appliance.services.stage import Stage
from dicom_node.tls import TlsFault
from tests.certificates import Authority
from tests.dicom_node.dicomweb.client import RELATED, TOKEN, body_of, file_of, post
from tests.dicom_node.samples import LIMITS, Shelf, sample

BODY = body_of([file_of(sample())])
ARCHIVE = {"name": "archive", "token_sha256": sha256(TOKEN.encode()).hexdigest()}


def site(folder: Path, **dicomweb: Any) -> Config:
    return parse(
        {
            "site": {"name": "s"},
            "dicom": {"host": "127.0.0.1", "port": 0},
            "storage": {"root": str(folder)},
            "dicomweb": {"port": 0} | dicomweb,
        }
    )


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    made: list[Doors] = []

    def make(**dicomweb: Any) -> tuple[int, Shelf, Stage]:
        config, shelf = site(tmp_path, **dicomweb), Shelf()
        stage = Stage(name="listener", config=config, ledger=ledger)
        doors = Doors(stage, config, intake=shelf, limits=LIMITS, on_refused=lambda _: None)
        made.append(doors)
        bound = doors.start()
        assert set(bound) == {"port", "stow_port"}
        assert count_of(config) == 2
        return bound["stow_port"], shelf, stage

    make.doors = made  # type: ignore[attr-defined]
    yield make
    for doors in made:
        doors.drain(1.0)
        doors.stop()
    ledger.close()


def test_a_known_client_stores_and_a_stranger_is_in_the_timeline(opened: Any) -> None:
    port, shelf, stage = opened(clients=[ARCHIVE])
    assert post(port, BODY).status == 200
    assert [(a.peer_name, a.calling_ae, a.called_ae) for a in shelf.arrivals] == [
        ("archive", "archive", "READSIDE")
    ]
    assert post(port, BODY, token="another").status == 401
    with stage.ledger.read() as tx:
        told = [one.detail for one in events.latest(tx, 10) if one.word == "dicomweb.stranger"]
    assert [(one["reason"], one["address"]) for one in told] == [("wrong_token", "127.0.0.1")]


def test_an_open_port_is_open(opened: Any) -> None:
    port, shelf, _ = opened(open=True)
    assert post(port, BODY, token=None).status == 200
    assert shelf.arrivals[0].calling_ae == "ANYBODY"


@pytest.mark.parametrize("has_ca", [True, False])
def test_a_client_with_a_foreign_certificate_is_asked_for_it_only_where_one_is_known_by_one(
    opened: Any, tmp_path: Path, has_ca: bool
) -> None:
    authority, foreign = Authority(tmp_path / "ca"), Authority(tmp_path / "foreign").issue("archive")
    own = authority.issue("box")
    tls = {"certificate": str(own.certificate), "key": str(own.key)}
    port, shelf, _ = opened(clients=[ARCHIVE], tls=tls | ({"ca": str(authority.path)} if has_ca else {}))
    context = ssl.create_default_context(cafile=str(authority.path))
    context.load_cert_chain(foreign.certificate, foreign.key)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        headers = {"Content-Type": RELATED, "Authorization": f"Bearer {TOKEN}"}
        connection.request("POST", "/studies", BODY, headers)
        stored = connection.getresponse().status == 200
    except (ssl.SSLError, ConnectionError, http.client.HTTPException):
        stored = False
    finally:
        connection.close()
    assert stored is not has_ca
    assert len(shelf.arrivals) == stored


def test_files_that_cannot_be_used_open_nothing(opened: Any, tmp_path: Path) -> None:
    tls = {"certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    with pytest.raises(TlsFault):
        opened(clients=[ARCHIVE], tls=tls)


def test_new_files_that_are_none_are_told_and_the_former_ones_stay(opened: Any, tmp_path: Path) -> None:
    own = Authority(tmp_path / "ca").issue("box")
    tls = {"certificate": str(own.certificate), "key": str(own.key)}
    _, _, stage = opened(clients=[ARCHIVE], tls=tls)
    own.key.write_text("x")
    opened.doors[-1].look()
    with stage.ledger.read() as tx:
        assert [one.word for one in events.latest(tx, 5)] == ["tls.refused_files"]
