"""Health and metrics: open to this machine only, and free of identifiers."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.core.limits import DEFAULT
from appliance.ledger import services
from tests.appliance.console.filling import FROM_HERE, NORMAL, PASSWORD

PROBES = ("/health/live", "/health/ready", "/metrics")


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_needs_no_log_in(filled, path, address):
    assert filled.visitor((address, 1)).get(path).status_code == 200


@pytest.mark.parametrize("path", PROBES)
def test_everybody_else_does(filled, path):
    stranger = filled.visitor()
    assert stranger.get(path).status_code == 401
    assert stranger.get(path, auth=("amina", PASSWORD)).status_code == 200
    assert filled.logged_in().get(path).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
def test_what_came_through_a_proxy_is_not_from_this_machine(filled, header):
    assert filled.visitor(FROM_HERE).get("/metrics", headers={header: "127.0.0.1"}).status_code == 401


def test_ready_only_while_every_service_is_heard(console):
    probe = console.visitor(FROM_HERE)
    assert probe.get("/health/ready").json() == {"ready": False, "reasons": ["No service was heard yet."]}
    with console.ledger.write() as tx:
        services.started(tx, "worker", pid=1, at=console.clock.now(), detail={})
    console.clock.advance(3 * DEFAULT.heartbeat_seconds)
    assert probe.get("/health/ready").json() == {"ready": True, "reasons": []}
    console.clock.advance(1)
    answer = probe.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["The service worker was last heard 16 seconds ago."]


def test_not_ready_when_the_ledger_does_not_answer(console, ledger_url, tmp_path):
    if not ledger_url.startswith("sqlite"):
        pytest.skip("breaks the file of an SQLite ledger")
    console.ledger.close()
    for leftover in tmp_path.glob("ledger.sqlite3*"):
        leftover.unlink()
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all" * 100)
    answer = console.visitor(FROM_HERE).get("/health/ready")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["The ledger does not answer."])
    assert console.visitor(FROM_HERE).get("/health/live").status_code == 200


def scraped(console):
    text = console.visitor(FROM_HERE).get("/metrics").text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return text, {(s.name, *s.labels.values()): s.value for s in samples}


def test_metrics_are_the_counts(filled):
    _, values = scraped(filled)
    assert values["readside_studies", "HELD"] == 1
    assert values["readside_jobs", "FAILED"] == 1
    assert values["readside_jobs", "HELD"] == 0
    assert values["readside_deliveries", "DEAD"] == 2
    assert values["readside_results", "not eligible"] == 1
    assert values["readside_balance",] == 0
    assert values["readside_job_queue_age_seconds",] == pytest.approx(8000 - 701)
    assert values["readside_service_beat_age_seconds", "worker"] == pytest.approx(2)
    assert values["readside_disk_free_bytes",] > 0


def test_metrics_and_health_name_no_patient_and_no_study(filled):
    probe = filled.visitor(FROM_HERE)
    text = "".join(probe.get(path).text for path in PROBES)
    for secret in ("Nowak", "MRN", "A2026", NORMAL, "1.2.826"):
        assert secret not in text


def test_two_consoles_do_not_share_a_registry(make_console):
    first, second = make_console(), make_console()
    assert scraped(first)[0]
    assert scraped(second)[0]
