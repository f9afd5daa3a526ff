"""A tree is read from a server, through a proxy, under TLS, or from a folder; every wait ends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.sync.carrier import Carrier, Folder, NotThere, Server, carrier_of, read_all
from appliance.sync.limits import FETCH
from appliance.sync.refusal import Refusal, Word
from tests.certificates import Authority
from tests.provisioning import origin
from tests.provisioning.origin import Origin, serving

HASTY = replace(FETCH, list_seconds_max=0.5)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with one list."""
    (tmp_path / "tree" / "image").mkdir(parents=True)
    (tmp_path / "tree" / "image" / "list.json").write_bytes(b'{"a": 1}')
    return tmp_path / "tree"


@pytest.fixture
def plain(tree: Path) -> Iterator[Origin]:
    """The folder behind a server."""
    with serving(tree) as made:
        yield made


@pytest.fixture
def secured(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """The folder behind a server under TLS, whose authority this machine knows."""
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("server")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with serving(tree, context) as made:
        yield made


def read(carrier: Carrier, path: str = "image/list.json") -> bytes:
    with closing(carrier):
        return read_all(carrier, path, bytes_max=100, limits=HASTY)


def word(carrier: Carrier, path: str = "image/list.json") -> Word:
    with pytest.raises(Refusal) as refused:
        read(carrier, path)
    return refused.value.word


def test_a_list_is_the_same_from_everywhere(tree: Path, plain: Origin, secured: Origin):
    addresses = [plain.url, f"{plain.url}/", secured.url.replace("http", "https"), f"file://{tree}"]
    assert {read(carrier_of(address)) for address in addresses} == {b'{"a": 1}'}
    for address in addresses:
        with pytest.raises(NotThere):
            read(carrier_of(address), "image/other.json")


def test_a_server_that_the_machine_does_not_know_is_not_spoken_with(
    secured: Origin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert word(carrier_of(secured.url.replace("http", "https"))) is Word.UNREACHABLE
    assert secured.asked == []


@pytest.mark.parametrize("in_header", [False, True])
def test_a_drip_under_tls_ends_too(secured: Origin, in_header: bool):
    secured.fault = origin.dripping("list.json", in_header=in_header)
    assert word(carrier_of(secured.url.replace("http", "https"))) is Word.TOO_SLOW


def test_a_proxy_of_the_environment_is_taken(plain: Origin, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", plain.url)

    def through(answer: origin.Answer) -> bool:
        answer.name = answer.name.removeprefix("http://models.invalid/")
        answer.give(answer.data())
        return True

    plain.fault = through
    assert read(Server(url="http://models.invalid")) == b'{"a": 1}'
    assert plain.asked[0].path == "http://models.invalid/image/list.json"


@pytest.mark.parametrize("status", [407, 429, 500, 502, 503])
def test_an_error_of_the_way_is_said_with_its_number(plain: Origin, status: int):
    def failing(answer: origin.Answer) -> bool:
        answer.head(status, {"Content-Length": "0"})
        return True

    plain.fault = failing
    with pytest.raises(Refusal, match=str(status)) as refused:
        read(Server(url=plain.url))
    assert refused.value.word is Word.UNREACHABLE


def test_a_page_under_a_status_of_its_own_is_a_portal(plain: Origin):
    def portal(answer: origin.Answer) -> bool:
        answer.head(511, {"Content-Length": "0"})
        return True

    plain.fault = portal
    assert word(Server(url=plain.url)) is Word.CAPTIVE_PORTAL


def test_nobody_there_is_unreachable(plain: Origin):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert word(Server(url=f"http://127.0.0.1:{port}")) is Word.UNREACHABLE


def test_a_part_of_unknown_place_is_no_registrys(plain: Origin):
    def unsaid(answer: origin.Answer) -> bool:
        answer.head(206, {"Content-Length": "3"})
        answer.send(b"abc")
        return True

    plain.fault = unsaid
    with (
        closing(Server(url=plain.url)) as carrier,
        pytest.raises(Refusal) as refused,
        carrier.part("image/list.json", start=2, seconds_max=10),
    ):
        pass
    assert refused.value.word is Word.NOT_A_REGISTRY


def test_a_longer_list_is_told_from_one_without_end(tree: Path):
    (tree / "image" / "list.json").write_bytes(b"x" * 101)
    assert word(Folder(root=tree)) is Word.MIX_AND_MATCH
    (tree / "image" / "list.json").write_bytes(b"x" * (101 + FETCH.slack_bytes))
    assert word(Folder(root=tree)) is Word.ENDLESS_DATA


@pytest.mark.parametrize("path", ["../outside", "image/../../outside", "/etc/hostname"])
def test_a_folder_is_not_left(tree: Path, path: str):
    (tree.parent / "outside").write_bytes(b"secret")
    assert word(Folder(root=tree), path) is Word.TAMPERED


def test_a_folder_that_is_gone_is_said(tree: Path):
    assert word(Folder(root=tree / "away")) is Word.CARRIER_GONE
