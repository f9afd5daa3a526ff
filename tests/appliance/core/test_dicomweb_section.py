"""[dicomweb]: off unless it has a port, and never open by accident."""

from __future__ import annotations

import pytest

from appliance.core.config import Config, ConfigError, parse

TOKEN = {"name": "archive", "token_sha256": "ab" * 32}
TLS = {"certificate": "/c.pem", "key": "/k.pem"}


def site(**dicomweb: object) -> Config:
    return parse({"site": {"name": "s"}, "storage": {"root": "/s"}, "dicomweb": dicomweb})


def faults(**dicomweb: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        site(**dicomweb)
    return caught.value.faults


def test_there_is_no_port_unless_it_is_asked_for():
    assert site().dicomweb.port is None


def test_clients_have_titles_and_fingerprints_as_tools_write_them():
    section = site(port=8043, clients=[TOKEN | {"token_sha256": "AB:" * 31 + "AB"}]).dicomweb
    assert section.clients[0].token_sha256 == ("ab" * 32,)
    assert section.clients[0].title == "archive"
    long = site(port=8043, clients=[TOKEN | {"name": "an-archive-with-a-long-name"}]).dicomweb
    assert long.clients[0].title == "an-archive-with-"


@pytest.mark.parametrize(
    ("dicomweb", "word"),
    [
        ({"clients": [TOKEN]}, "dicomweb.port"),
        ({"port": 1}, "dicomweb.clients"),
        ({"port": 1, "host": "0.0.0.0", "clients": [TOKEN]}, "dicomweb.tls"),
        ({"port": 1, "host": "0.0.0.0", "open": True, "tls": TLS}, "dicomweb.open"),
        ({"port": 1, "host": "pacs.example", "open": True, "plain": True}, "dicomweb.open"),
        ({"port": 1, "clients": [{"name": "a"}]}, "token_sha256"),
        ({"port": 1, "clients": [{"name": "a", "certificate_sha256": "ab" * 32}]}, "dicomweb.tls.ca"),
        ({"port": 1, "tls": TLS, "clients": [{"name": "a", "certificate_sha256": "ab" * 32}]}, "tls.ca"),
        ({"port": 1, "clients": [TOKEN, TOKEN]}, "twice"),
        ({"port": 1, "clients": [TOKEN, TOKEN | {"name": "b"}]}, "one token"),
    ],
)
def test_what_would_let_in_nobody_or_everybody_is_a_fault(dicomweb, word):
    assert any(word in fault for fault in faults(**dicomweb))


@pytest.mark.parametrize(
    "dicomweb",
    [
        {"port": 1, "clients": [TOKEN]},
        {"port": 1, "host": "0.0.0.0", "plain": True, "clients": [TOKEN]},
        {"port": 1, "host": "0.0.0.0", "tls": TLS, "clients": [TOKEN]},
        {"port": 1, "open": True},
        {"port": 1, "host": "::1", "open": True},
        {
            "port": 1,
            "tls": TLS | {"ca": "/a.pem"},
            "clients": [{"name": "a", "certificate_sha256": "ab" * 32}],
        },
    ],
)
def test_what_is_secured_or_stated_is_sound(dicomweb):
    assert site(**dicomweb).dicomweb.port == 1


def peers(*entries: dict[str, object]) -> Config:
    route = {"name": "r", "when": "true", "model": "m", "send_to": [str(one["name"]) for one in entries]}
    given = {"site": {"name": "s"}, "storage": {"root": "/s"}, "peers": list(entries), "routes": [route]}
    return parse(given)


def test_a_peer_may_take_results_by_stow_rs_alone():
    (peer,) = peers({"name": "p", "ae_title": "P", "dicomweb": "https://pacs.example:8443/dicom-web"}).peers
    assert (peer.deliverable, peer.reachable, peer.fetchable, peer.retrieve) == (True, False, False, "move")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "pacs.example",
            "ftp://pacs",
            "http://",
            "http://user:word@pacs/",
            "http://pacs/a?b",
            "http://pa cs/",
        ),
        *("http://pacs:99999/", "http://pacs:0/", "http://pacs/ä", "http://päcs/", "http://pacs/a#b"),
    ],
)
def test_an_address_that_is_none_is_a_fault(address):
    with pytest.raises(ConfigError):
        peers({"name": "p", "ae_title": "P", "dicomweb": address})


@pytest.mark.parametrize("address", ["http://pacs", "https://[::1]:8443/a/b~c/", "http://10.0.0.1:80/x%20y"])
def test_an_address_that_is_one_is_sound(address):
    assert peers({"name": "p", "ae_title": "P", "dicomweb": address}).peers[0].dicomweb == address


def test_a_token_without_an_address_is_a_fault():
    with pytest.raises(ConfigError, match="needs dicomweb"):
        peers({"name": "p", "ae_title": "P", "host": "h", "port": 1, "dicomweb_token": "/t"})


def test_who_can_be_fetched_from():
    both = {"ae_title": "P", "host": "h", "port": 1, "may": ["store", "query"], "retrieve": "get"}
    assert peers({"name": "p"} | both).peers[0].fetchable
    assert not peers({"name": "p"} | both | {"may": ["query"]}).peers[0].fetchable
