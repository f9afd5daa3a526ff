"""What peers asked the box to commit, and what is looked up for them, on both databases."""

from __future__ import annotations

from appliance.ledger import arrivals, custody, events, promises
from appliance.ledger.engine import Ledger
from appliance.ledger.promises import Asked, Found, Promise, PromiseState
from tests.appliance.ledger import given

NOW = given.NOW
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"


def uid(number: int) -> str:
    return f"{given.SERIES}.{number}"


def ask(
    ledger: Ledger, *numbers: int, transaction: str = "2.25.7", peer: str = "pacs", waiting_max: int = 9
) -> Asked:
    references = [(CT, uid(number)) for number in numbers]
    with ledger.write() as tx:
        return promises.ask(
            tx, peer, transaction, references, at=NOW, due_at=NOW + 15, waiting_max=waiting_max
        )


def owed(ledger: Ledger, *, at: float = NOW + 15) -> list[Promise]:
    with ledger.read() as tx:
        return [
            promise
            for peer in promises.peers_due(tx, at=at)
            for promise in promises.due(tx, peer, at=at, limit=10)
        ]


def test_a_request_is_owed_until_its_report_was_taken(ledger: Ledger) -> None:
    assert ask(ledger, 1, 2) is Asked.NEW
    assert owed(ledger, at=NOW + 14) == []
    (promise,) = owed(ledger)
    assert promise.references == [(CT, uid(1)), (CT, uid(2))]
    with ledger.write() as tx:
        given.kept(tx, 1)
        promises.reported(tx, promise, [uid(1)], failed=1, at=NOW + 1)
        promises.reported(tx, promise, [uid(1)], failed=1, at=NOW + 2)
        assert promises.standing(tx) == {"REPORTED": 1}
        (told,) = [e for e in events.of_study(tx, given.STUDY) if e.word == "commit.reported"]
        assert told.detail == {"peer": "pacs", "instances": 1}
        (absent,) = events.latest(tx, 9, word="commit.absent")
        assert absent.detail == {"peer": "pacs", "instances": 1}
    assert owed(ledger) == []


def test_the_same_request_once_more_is_owed_once_more(ledger: Ledger) -> None:
    assert ask(ledger, 1) is Asked.NEW
    assert ask(ledger, 1) is Asked.AGAIN
    assert ask(ledger, 2) is Asked.CONFLICT
    assert ask(ledger, 2, peer="archive") is Asked.NEW, "a Transaction UID is its peer's"
    with ledger.write() as tx:
        found = promises.find(tx, "pacs", "2.25.7")
        assert found is not None
        promises.reported(tx, found, [], failed=0, at=NOW)
    assert [one.peer for one in owed(ledger)] == ["archive"]
    assert ask(ledger, 1) is Asked.AGAIN
    assert len(owed(ledger)) == 2


def test_a_peer_has_a_bounded_number_of_requests_waiting(ledger: Ledger) -> None:
    assert ask(ledger, 1, transaction="2.25.1", waiting_max=1) is Asked.NEW
    assert ask(ledger, 1, transaction="2.25.2", waiting_max=1) is Asked.TOO_MANY
    assert ask(ledger, 1, transaction="2.25.2", peer="archive", waiting_max=1) is Asked.NEW


def test_what_is_kept_is_told_from_what_is_not(ledger: Ledger) -> None:
    with ledger.write() as tx:
        given.kept(tx, 1, 2, 3, at=NOW - 10 * 86_400)
        given.kept(tx, 4)
        gone = given.instance(2)
        custody.purge(tx, [gone], at=NOW)
        custody.quarantine(tx, [given.instance(3).location.file], reason="rotten", at=NOW)
        wanted = [(CT, uid(n)) for n in (1, 2, 3, 4, 5)] + [(MR, uid(4))]
        assert list(promises.look(tx, wanted, at=NOW).values()) == [
            Found.KEPT, Found.ABSENT, Found.DOUBTED, Found.KEPT, Found.ABSENT, Found.OTHER_CLASS,
        ]  # fmt: skip
        # What comes again after it was purged is kept again; of two revisions, one whole is enough.
        arrivals.add(tx, given.instance(2, content="new"), calling_ae="CT1", at=NOW)
        assert promises.look(tx, [(CT, uid(2))], at=NOW) == {(CT, uid(2)): Found.KEPT}
        many = [(CT, f"9.{number}") for number in range(2_500)]
        assert set(promises.look(tx, many, at=NOW).values()) == {Found.ABSENT}


def test_a_report_that_nobody_takes_is_given_up(ledger: Ledger) -> None:
    ask(ledger, 1)
    for tries in range(3):
        (promise,) = owed(ledger, at=NOW + 1000)
        assert promise.tries == tries
        with ledger.write() as tx:
            over = promises.put_off(
                tx, promise, word="commit.unreachable", due_at=NOW + 60, tries_max=3, at=NOW + 1
            )
        assert over == (tries == 2)
    assert owed(ledger, at=NOW + 1e6) == []
    with ledger.read() as tx:
        found = promises.find(tx, "pacs", "2.25.7")
        assert found is not None
        assert found.state is PromiseState.GIVEN_UP
        assert [e.word for e in events.latest(tx, 1)] == ["commit.given_up"]


def test_what_is_owed_to_a_peer_that_is_gone_is_given_up(ledger: Ledger) -> None:
    ask(ledger, 1)
    with ledger.write() as tx:
        assert promises.unknown_peers(tx, ["pacs"], at=NOW) == 0
        assert promises.unknown_peers(tx, ["archive"], at=NOW) == 1
    assert owed(ledger, at=NOW + 1e6) == []
