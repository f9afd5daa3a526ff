"""Console tokens: readable once, good for one kind, spent once."""

from __future__ import annotations

import threading

import sqlalchemy as sa

from appliance.ledger import tokens
from appliance.ledger.tables import console_tokens
from appliance.ledger.tokens import TokenKind
from tests.appliance.ledger import given

THREAD_SECONDS_MAX = 30


def issue(tx, kind=TokenKind.LOGIN_LINK, *, at=given.NOW):
    return tokens.issue(tx, kind, "jo", at=at, seconds=60)


def test_a_token_speaks_for_its_user_until_it_expires(ledger):
    with ledger.write() as tx:
        token = issue(tx, TokenKind.SESSION)
        assert tokens.holder(tx, TokenKind.SESSION, token, at=given.NOW + 60) == "jo"
        assert tokens.holder(tx, TokenKind.SESSION, token, at=given.NOW + 61) is None
        assert tokens.holder(tx, TokenKind.SESSION, "guess", at=given.NOW) is None


def test_a_link_logs_in_once(ledger):
    with ledger.write() as tx:
        token = issue(tx)
        assert tokens.spend(tx, TokenKind.LOGIN_LINK, token, at=given.NOW) == "jo"
        assert tokens.spend(tx, TokenKind.LOGIN_LINK, token, at=given.NOW) is None


def test_a_link_logs_in_once_however_many_try_at_once(ledger):
    with ledger.write() as tx:
        token = issue(tx)
    spent: list[str | None] = []
    both = threading.Barrier(2)

    def spend() -> None:
        both.wait(THREAD_SECONDS_MAX)
        with ledger.write() as tx:
            spent.append(tokens.spend(tx, TokenKind.LOGIN_LINK, token, at=given.NOW))

    threads = [threading.Thread(target=spend) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREAD_SECONDS_MAX)
    assert sorted(spent, key=str) == [None, "jo"]


def test_a_session_is_not_a_link_and_trying_it_as_one_harms_nothing(ledger):
    with ledger.write() as tx:
        token = issue(tx, TokenKind.SESSION)
        assert tokens.spend(tx, TokenKind.LOGIN_LINK, token, at=given.NOW) is None
        assert tokens.holder(tx, TokenKind.SESSION, token, at=given.NOW) == "jo"


def test_the_ledger_holds_no_token_that_can_be_used(ledger):
    with ledger.write() as tx:
        token = issue(tx)
        assert token not in repr(tx.execute(sa.select(console_tokens)).all())


def test_old_tokens_are_cleared_away(ledger):
    with ledger.write() as tx:
        issue(tx)
        issue(tx, at=given.NOW + 1000)
        assert tx.execute(sa.select(sa.func.count()).select_from(console_tokens)).scalar_one() == 1
