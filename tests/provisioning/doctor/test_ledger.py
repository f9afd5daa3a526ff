"""The ledger's own check, on files that are as they should be and on one that a disk spoilt."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import parse
from appliance.ledger.engine import open_ledger
from provisioning.doctor.checks.ledger import CHECK, DAMAGED
from provisioning.doctor.site import Site
from tests.appliance.ledger import given
from tests.appliance.ledger.test_soundness import damage


def test_a_spoilt_page_is_a_fault_of_its_own(tmp_path: Path) -> None:
    site = Site(read=parse({"site": {"name": "Test"}, "storage": {"root": str(tmp_path)}}))
    ledger = open_ledger(site.config.ledger_url)
    with ledger.write() as tx:
        given.kept(tx, *range(1, 40))
    ledger.close()
    (sound,) = CHECK.look(site, "")
    assert sound.fault is None
    damage(tmp_path / "ledger.sqlite3", "instances")
    (wrong,) = CHECK.look(site, "")
    assert wrong.fault is DAMAGED
    assert wrong.text.startswith("SQLite says")
