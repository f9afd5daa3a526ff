"""A turn that is killed at any step is finished by the next one, and nothing that serves is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.ledger import controls
from appliance.sync.phase import Phase
from appliance.sync.refusal import Word
from tests.provisioning.field import NAME, NEXT, NOW, OLDER, SERVES, Field
from tests.provisioning.test_hospital import failed_jobs, phase, watch
from tests.provisioning.test_line import with_registry

_ROOT = Path(__file__).resolve().parents[2]
_KILLED = """
import sys, time
from pathlib import Path
from appliance.core.clock import HeldClock
from appliance.core.config import load
from appliance.ledger.engine import open_ledger
from appliance.sync import activate, soak, steps, turn
from appliance.sync.box import ModelBox
from appliance.sync.carrier import carrier_of

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(600)

{step} = stop
config = load(Path(sys.argv[1]))
ledger = open_ledger(config.ledger_url, clock=HeldClock({now}))
box = ModelBox(config=config, ledger=ledger, by="jo")
turn.Syncer(box=box, carrier=carrier_of(config.registry.url)).turn()
soak.Watch(box=box, floors=turn.book_of(config)).look()
"""


def killed_at(field: Field, step: str) -> None:
    """Take a turn and a look in a process of its own, and kill it where it comes to a step."""
    site = field.folder / "site.toml"
    registry = field.box.config.registry
    site.write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{field.box.root}"\nfloor_gib = 0.01\n'
        f'[ledger]\nurl = "{field.box.config.ledger.url}"\n'
        f'[registry]\nurl = "{registry.url}"\ndevice = "{registry.device}"\nroots = "{registry.roots}"\n'
        f"consent = {str(registry.consent).lower()}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", _KILLED.format(step=step, now=field.clock.seconds), str(site)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any(line == "here\n" for line in process.stdout)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(60)


@pytest.mark.parametrize(
    ("step", "serves", "then", "fetches"),
    [
        pytest.param("turn.install", SERVES, Word.ACTIVATED, 1, marks=pytest.mark.long),
        pytest.param("turn.activate", SERVES, Word.ACTIVATED, 1, marks=pytest.mark.long),
        ("turn.Syncer._settle", NEXT, Word.CURRENT, 1),
        pytest.param("steps.passages.drain", SERVES, Word.ACTIVATED, 1, marks=pytest.mark.long),
    ],
)
def test_a_killed_turn_is_finished_by_the_next(
    field: Field, step: str, serves: str, then: Word, fetches: int
):
    field.offer()
    killed_at(field, step)
    assert field.serving() == serves
    assert field.word() is then
    assert field.serving() == NEXT
    assert len(field.origin.fetched(".zip")) == fetches, "what had come was not fetched again"
    field.promote(OLDER)
    assert field.word() is Word.ROLLBACK, "its counter was kept"


@pytest.mark.parametrize("step", ["activate.prove", "activate.versions.passed"])
@pytest.mark.long
def test_a_check_before_the_wait_that_is_killed_is_done_again(field: Field, step: str):
    field.box = with_registry(field.box, consent=True)
    field.offer()
    killed_at(field, step)
    assert phase(field)[0] is Phase.VERIFIED
    assert field.word() is Word.WAITING_CONSENT
    with field.box.ledger.write() as tx:
        controls.consent(tx, NAME, NEXT, by="Dr. A", at=NOW)
    assert field.word() is Word.ACTIVATED
    assert len(field.origin.fetched(".zip")) == 1


@pytest.mark.parametrize("step", ["soak.Watch._begun", "soak.FloorBook.change", "soak.Watch._change"])
@pytest.mark.long
def test_a_way_back_that_is_killed_is_gone_by_the_next_look(field: Field, step: str):
    field.offer()
    if step == "soak.Watch._begun":
        killed_at(field, "turn.Syncer._settle")
        assert phase(field)[0] is Phase.ACTIVATING
    else:
        assert field.word() is Word.ACTIVATED
    failed_jobs(field, NEXT)
    field.origin.tree = field.folder / "nowhere"
    killed_at(field, step)
    assert field.serving() == NEXT
    watch(field).look()
    assert field.serving() == SERVES, "and no registry was needed"
    assert phase(field) == (Phase.ROLLED_BACK, "failing_jobs")
