"""Who calls whom, as a configuration means it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from appliance.core.addresses import is_loopback
from appliance.core.config import Config
from provisioning.host.flows import ANYBODY, EVERY, Flow, Way, flows_of

SITE = """
[site]
name = "ward"

[dicom]
ae_title = "READSIDE"

[storage]
root = "/var/lib/readside"

[console]
host = "0.0.0.0"

[registry]
url = "https://models.example/readside"
device = "ward"
mirrors = ["http://10.0.0.9:8080/copy"]

[[peers]]
name = "pacs"
ae_title = "PACS"
host = "10.0.0.2"
port = 104

[[peers]]
name = "ct"
ae_title = "CT1"
"""


def config(text: str = SITE, **more: Any) -> Config:
    return Config.model_validate(tomllib.loads(text) | more)


def found(flows: list[Flow], **values: Any) -> list[Flow]:
    return [flow for flow in flows if all(getattr(flow, name) == value for name, value in values.items())]


def test_each_peer_comes_in_and_those_with_an_address_are_called() -> None:
    flows = flows_of(config())
    assert {(flow.peer, flow.address, flow.port) for flow in found(flows, way=Way.IN, protocol="DICOM")} == {
        ("pacs", "10.0.0.2", 11112),
        ("ct", ANYBODY, 11112),
    }
    assert [(flow.address, flow.port) for flow in found(flows, way=Way.OUT, protocol="DICOM")] == [
        ("10.0.0.2", 104)
    ]


def test_pages_that_are_open_to_the_network_are_open_to_anybody() -> None:
    (pages,) = found(flows_of(config()), service="console")
    assert pages.address == ANYBODY
    (pages,) = found(flows_of(config(console={"port": 8042})), service="console")
    assert is_loopback(pages.address)


def test_a_registry_gets_no_patient_data_and_its_mirror_is_called_too() -> None:
    calls = found(flows_of(config()), service="sync")
    assert {(flow.address, flow.port, flow.tls) for flow in calls} == {
        ("models.example", 443, True),
        ("10.0.0.9", 8080, False),
    }
    assert not any(flow.patient_data for flow in calls)


def test_numbers_and_alarms_go_where_the_site_says() -> None:
    mail = {"mail_host": "mail.example", "mail_from": "box@x.example", "mail_to": ["it@x.example"]}
    alerts = {"webhook": "https://chat.example:8443/hook", **mail}
    calls = found(flows_of(config(alerts=alerts)), service="telemetry")
    assert {(flow.address, flow.port) for flow in calls} == {
        ("models.example", 443),
        ("chat.example", 8443),
        ("mail.example", 587),
    }
    quiet = config(registry={"url": "https://models.example", "device": "ward", "telemetry": "off"})
    assert not found(flows_of(quiet), service="telemetry")


def test_a_worklist_is_called_by_the_conductor() -> None:
    url = "https://worklist.example:8443/dicom-web"
    peers = [{"name": "pacs", "ae_title": "PACS", "host": "10.0.0.2", "port": 104, "may": ["store", "query"]}]
    (flow,) = found(
        flows_of(config(worklist={"url": url, "station": "BOX"}, peers=peers)), service="conductor"
    )
    assert (flow.address, flow.port, flow.tls, flow.patient_data) == ("worklist.example", 8443, True, True)
    assert not found(flows_of(config()), service="conductor")


def test_names_are_looked_up_only_where_there_are_names() -> None:
    assert found(flows_of(config()), protocol="DNS")
    assert not found(flows_of(config(registry={})), protocol="DNS")


def test_a_database_elsewhere_is_called_by_every_service() -> None:
    (flow,) = found(flows_of(config(ledger={"url": "postgresql://box@db.example/readside"})), service=EVERY)
    assert (flow.address, flow.port) == ("db.example", 5432)
    assert not found(flows_of(config()), service=EVERY)


@pytest.mark.parametrize("plain", [False, True])
def test_with_tls_the_plain_port_is_meant_only_where_it_is_kept(plain: bool) -> None:
    files = dict.fromkeys(("certificate", "key", "ca"), "/etc/readside/x.pem")
    dicom = {"tls": {**files, "plain": plain}}
    peers = [{"name": "pacs", "ae_title": "PACS", "tls": True}, {"name": "ct", "ae_title": "CT1"}]
    ports = {
        flow.port for flow in found(flows_of(config(dicom=dicom, peers=peers)), way=Way.IN, protocol="DICOM")
    }
    assert ports == ({11112, 2762} if plain else {2762})
