"""The conductor's look at the ledger's file: a fault ends the service, nothing else does."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from appliance.core.config import parse
from appliance.core.limits import Limits
from appliance.ledger.engine import open_ledger
from appliance.services.soundness import Looking
from appliance.services.stage import Stage
from tests.appliance.ledger import given
from tests.appliance.ledger.test_soundness import damage

LIMITS = Limits(ledger_first_look_seconds=0.01, ledger_look_every_seconds=0.01, drain_seconds=10.0)


def looked(root: Path, *, spoilt: bool) -> tuple[Stage, list[str]]:
    """A conductor's stage over a ledger, after a few looks; and what the log says."""
    config = parse({"site": {"name": "Test"}, "storage": {"root": str(root)}})
    ledger = open_ledger(config.ledger_url)
    with ledger.write() as tx:
        given.kept(tx, *range(1, 40))
    if spoilt:
        damage(root / "ledger.sqlite3", "instances")
    stage = Stage("conductor", config, ledger, LIMITS)
    looking = Looking(stage, config)
    with capture_logs() as logs:
        looking.start()
        stage.stopping.wait(20.0 if spoilt else 0.5)
        stage.stop()
        looking.join()
    ledger.close()
    return stage, [line["event"] for line in logs]


def test_a_damaged_ledger_ends_the_conductor(tmp_path: Path) -> None:
    stage, said = looked(tmp_path, spoilt=True)
    assert stage.faulty.is_set()
    assert said == ["ledger.damaged"]


def test_a_sound_one_does_not(tmp_path: Path) -> None:
    stage, said = looked(tmp_path, spoilt=False)
    assert (stage.exit_code, said) == (0, [])
