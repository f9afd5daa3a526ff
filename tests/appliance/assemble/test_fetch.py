"""A study that was asked for: fetched whole, in part, not at all; every request ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from appliance.assemble.fetch import Fetcher, Source
from appliance.core.limits import DEFAULT
from appliance.ledger import fetches
from appliance.ledger.fetches import FetchState
from dicom_node.find import FoundInstance
from dicom_node.move import Moved
from tests.appliance.ledger import given

CT = "1.2.840.10008.5.1.4.1.1.2"


def image(number: int) -> FoundInstance:
    uid = f"{given.SERIES}.{number}"
    return FoundInstance(series_uid=given.SERIES, modality="CT", sop_instance_uid=uid, sop_class_uid=CT)


@dataclass
class Pacs:
    """A PACS that says, and brings, what it is told to."""

    there: list[FoundInstance] | None
    moved: Moved = field(default_factory=lambda: Moved(word="move.done"))
    brings: Callable[[], None] = lambda: None
    fetched: list[list[str]] = field(default_factory=list)

    def instances(self, study_uid):
        return self.there

    def fetch(self, study_uid, series_uids):
        self.fetched.append(list(series_uids))
        self.brings()
        return self.moved


@pytest.fixture
def make(ledger, clock):
    def make_(pacs):
        clock.seconds = given.NOW
        with ledger.write() as tx:
            fetches.ask(tx, given.STUDY, "pacs", by="ann", at=given.NOW)
        return Fetcher(ledger, "pacs", Source(instances=pacs.instances, fetch=pacs.fetch))

    return make_


def arrived(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2, 3)


def row_of(ledger):
    with ledger.read() as tx:
        return fetches.of_study(tx, given.STUDY)[-1]


def test_a_study_is_fetched_and_the_request_ends_when_all_of_it_is_here(ledger, clock, make):
    pacs = Pacs([image(n) for n in (1, 2, 3)], brings=lambda: arrived(ledger))
    fetcher = make(pacs)
    assert fetcher.turn() == 1
    assert pacs.fetched == [[given.SERIES]]
    assert (row_of(ledger).state, row_of(ledger).absent) == (FetchState.ASKED, 3)
    assert fetcher.turn() == 0
    clock.seconds += DEFAULT.fetch_check_seconds
    assert fetcher.turn() == 0
    assert (row_of(ledger).state, row_of(ledger).word) == (FetchState.FETCHED, "fetch.whole")


def test_what_is_here_already_is_not_fetched(ledger, make):
    arrived(ledger)
    pacs = Pacs([image(n) for n in (1, 2, 3)])
    assert make(pacs).turn() == 0
    assert (pacs.fetched, row_of(ledger).word) == ([], "fetch.was_here")


def test_what_the_peer_has_not_fails_at_once(ledger, make):
    make(Pacs([])).turn()
    assert (row_of(ledger).state, row_of(ledger).word) == (FetchState.FAILED, "fetch.not_there")


def until_it_ends(ledger, clock, fetcher) -> int:
    for turn in range(100):
        if row_of(ledger).ended_at is not None:
            return turn
        fetcher.turn()
        clock.seconds += 1000.0
    raise AssertionError("the request never ended")


@pytest.mark.parametrize(
    ("pacs", "word"),
    [
        (Pacs(None), "fetch.no_answer"),
        (Pacs([image(1)], moved=Moved(word="move.unknown_destination")), "move.unknown_destination"),
        (Pacs([image(1)]), "move.done"),
    ],
)
def test_what_never_comes_fails_after_a_bounded_number_of_tries(ledger, clock, make, pacs, word):
    turns = until_it_ends(ledger, clock, make(pacs))
    assert (row_of(ledger).state, row_of(ledger).word) == (FetchState.FAILED, word)
    assert turns <= DEFAULT.fetch_attempts_max + 1
    assert len(pacs.fetched) <= DEFAULT.fetch_attempts_max


def test_it_stops_between_studies_when_the_service_ends(ledger, make):
    pacs = Pacs([image(1)])
    assert make(pacs).turn(lambda: True) == 0
    assert pacs.fetched == []


def test_every_request_ends_whatever_the_peer_says(ledger, clock):
    chance = random.Random(9)
    words = ["move.done", "move.partly", "get.done", "get.no_reply", "move.refused"]
    for number in range(60):
        study = f"1.2.{number}"
        with ledger.write() as tx:
            fetches.ask(tx, study, "pacs", by="ann", at=clock.now())
        pacs = Pacs(None)
        for _ in range(20):
            pacs.there = chance.choice([None, [], [image(1)], [image(1), image(2)]])
            pacs.moved = Moved(word=chance.choice(words))
            Fetcher(ledger, "pacs", Source(instances=pacs.instances, fetch=pacs.fetch)).turn()
            clock.seconds += 1000.0
        with ledger.read() as tx:
            (row,) = fetches.of_study(tx, study)
        assert row.state is FetchState.FAILED
        assert row.tries <= DEFAULT.fetch_attempts_max
