"""When peers are asked, what of their answers is kept, and that silence changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.core.config import Config, Peer, parse
from appliance.core.limits import Limits
from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.ledger import acceptances, events
from appliance.ledger.engine import Ledger
from appliance.outbox.asking import PAIRS, Asking, destinations
from dicom_node.accepts import Accepts

PACS = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
LIMITS = Limits()
DAY = LIMITS.acceptance_seconds_max


class Desk:
    """A peer whose answers the test chooses."""

    def __init__(self, ledger: Ledger) -> None:
        self.refused: set[str] = set()
        self.silent = False
        self.asked = 0
        self.ledger = ledger
        self.asking = Asking(ledger, self._ask, LIMITS)

    def _ask(self, peer, pairs):
        assert peer == PACS
        self.asked += 1
        if self.silent:
            return Accepts(answered=False, word="accepts.rejected", accepted=frozenset())
        taken = frozenset(pair for pair in pairs if pair[0] not in self.refused)
        return Accepts(answered=True, word="accepts.answered", accepted=taken)

    def takes(self, output: str) -> bool | None:
        with self.ledger.read() as tx:
            return acceptances.answer_of(tx, "pacs").takes_output(output)

    def changes(self) -> list[dict[str, str]]:
        with self.ledger.read() as tx:
            return [event.detail for event in events.latest(tx, 10, word="peer.changed")]


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    return Desk(ledger)


def test_every_kind_of_object_is_asked_about_whoever_wants_it(desk: Desk):
    desk.refused = {SOP_CLASSES["seg"]}
    assert desk.asking.ask(PACS).answered
    assert {output: desk.takes(output) for output in OUTPUTS} == {
        output: not output.startswith("seg") or output == "seg-labelmap" for output in OUTPUTS
    }
    assert len(PAIRS) == len(set(PAIRS)) <= 128


def test_silence_changes_nothing(desk: Desk):
    desk.silent = True
    assert desk.asking.ask(PACS).word == "accepts.rejected"
    assert desk.takes("seg") is None
    desk.silent = False
    desk.asking.ask(PACS)
    desk.silent = True
    desk.asking.ask(PACS)
    assert desk.takes("seg") is True


def test_a_peer_is_due_at_once_then_after_a_day_and_a_restart_does_not_forget(desk: Desk, clock: HeldClock):
    assert desk.asking.due_in_seconds(PACS) == 0.0
    desk.asking.ask(PACS)
    assert desk.asking.due_in_seconds(PACS) == DAY
    clock.advance(DAY - 10)
    assert Desk(desk.ledger).asking.due_in_seconds(PACS) == pytest.approx(10)
    clock.advance(10)
    assert desk.asking.due_in_seconds(PACS) == 0.0


def test_a_clock_that_went_back_puts_the_next_question_off_by_a_day_at_most(desk: Desk, clock: HeldClock):
    desk.asking.ask(PACS)
    clock.advance(-365 * DAY)
    assert desk.asking.due_in_seconds(PACS) == DAY


def test_a_refusal_on_the_way_does_not_pass_for_an_answer(desk: Desk, clock: HeldClock):
    with desk.ledger.write() as tx:
        acceptances.refused(tx, "pacs", PAIRS[0], at=clock.now())
    assert desk.asking.due_in_seconds(PACS) == 0.0


def test_a_change_of_mind_is_an_event_and_the_first_answer_is_none(desk: Desk):
    desk.asking.ask(PACS)
    desk.asking.ask(PACS)
    assert desk.changes() == []
    desk.refused = {SOP_CLASSES["seg"]}
    desk.asking.ask(PACS)
    assert desk.changes() == [{"peer": "pacs", "gone": "seg, seg-fractional", "new": "nothing"}]
    assert desk.takes("seg") is False


def test_only_peers_that_a_route_names_and_that_have_an_address_are_asked(tmp_path: Path):
    config: Config = parse(
        {
            "site": {"name": "x"},
            "storage": {"root": str(tmp_path)},
            "peers": [
                {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104},
                {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 105},
                {"name": "modality", "ae_title": "CT1"},
            ],
            "routes": [{"name": "r", "when": "true", "model": "ct-tissue-bands", "send_to": ["pacs"]}],
        }
    )
    assert [peer.name for peer in destinations(config)] == ["pacs"]
