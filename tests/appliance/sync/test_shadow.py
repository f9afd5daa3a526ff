"""A version runs beside only after it passed here, and never serves by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.ledger import comparisons, shadows, versions
from appliance.ledger.states import VersionState
from appliance.sync import activate as changes
from appliance.sync.box import ModelBox, Refused
from appliance.sync.install import install
from appliance.sync.shadow import start, stop
from tests.appliance import packages
from tests.appliance.packages import NAME


@pytest.fixture
def brought(box: ModelBox, tmp_path: Path) -> ModelBox:
    """A box with a version that is installed and does not serve."""
    install(box, packages.bands(tmp_path, "1.1.0"))
    return box


def running(box: ModelBox) -> list[str]:
    with box.ledger.read() as tx:
        return [one.version for one in shadows.running(tx).values()]


def state(box: ModelBox, version: str = "1.1.0") -> VersionState:
    with box.ledger.read() as tx:
        row = versions.find(tx, NAME, version)
    assert row is not None
    return row.state


def test_it_is_proved_and_runs_beside_and_what_serves_stays(brought: ModelBox):
    before = brought.catalogue().serving()[NAME].digest
    begun = start(brought, NAME, "1.1.0")
    assert running(brought) == ["1.1.0"]
    assert brought.catalogue().serving()[NAME].digest == before
    assert state(brought) is VersionState.FETCHED
    with brought.ledger.read() as tx:
        row = versions.find(tx, NAME, "1.1.0")
    assert row is not None
    assert row.evidence["prepared"]["golden"], "what was seen is kept"
    assert start(brought, NAME, "1.1.0") == begun, "asked again it goes on"
    with pytest.raises(Refused, match="runs as a shadow"):
        changes.remove(brought, NAME, "1.1.0")
    assert stop(brought, NAME).version == "1.1.0"
    assert running(brought) == []
    changes.remove(brought, NAME, "1.1.0")
    with pytest.raises(Refused, match="no version of"):
        stop(brought, NAME)


def test_a_version_whose_golden_cases_come_out_different_never_runs_beside(box: ModelBox, tmp_path: Path):
    row = packages.put(box.ledger, box.root, packages.blind(tmp_path, "1.2.0"))
    with pytest.raises(Refused, match="golden cases"):
        start(box, NAME, row.version)
    assert running(box) == []


def test_what_cannot_be_a_shadow_is_refused_in_words(brought: ModelBox, tmp_path: Path):
    with pytest.raises(Refused, match="is not installed"):
        start(brought, NAME, "9.9.9")
    with pytest.raises(Refused, match="nothing serves"):
        start(brought, "unknown", "1.0.0")
    install(brought, packages.bands(tmp_path, "1.3.0"))
    start(brought, NAME, "1.1.0")
    with pytest.raises(Refused, match=r"1\.1\.0 is the shadow of this model"):
        start(brought, NAME, "1.3.0")


def test_a_shadow_that_is_activated_serves_and_is_a_shadow_no_more(brought: ModelBox):
    start(brought, NAME, "1.1.0")
    changes.activate(brought, NAME, "1.1.0")
    assert running(brought) == []
    assert state(brought) is VersionState.ACTIVE
    with pytest.raises(Refused, match="it cannot run beside itself"):
        start(brought, NAME, "1.1.0")
    with brought.ledger.read() as tx:
        (ended,) = shadows.latest(tx, limit=9)
        assert comparisons.count_of(tx, ended.id) == {}
    assert ended.word == "shadow.activated"
