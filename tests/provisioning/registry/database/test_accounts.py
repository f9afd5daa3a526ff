"""Accounts, sessions that end, and leases that one holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from provisioning.registry.database import accounts, leases
from provisioning.registry.database.engine import Database
from provisioning.registry.database.tables import sessions
from provisioning.registry.database.words import Role


@pytest.fixture
def maria(database: Database) -> str:
    with database.write() as tx:
        assert accounts.add(tx, "maria", "hash", Role.OPERATOR, at=1.0)
        assert not accounts.add(tx, "maria", "other", Role.ADMIN, at=2.0)
    return "maria"


def session(database: Database, name: str, at: float = 10.0) -> str:
    with database.write() as tx:
        return accounts.open_session(tx, name, at=at, seconds=100.0)


def holder(database: Database, token: str, at: float = 20.0) -> str | None:
    with database.read() as tx:
        found = accounts.holder(tx, token, at=at)
    return None if found is None else found.name


def test_a_session_is_known_to_every_process_until_it_ends(
    database: Database, maria: str, another: Callable[[], Database]
):
    token, elsewhere = session(database, maria), another()
    assert holder(elsewhere, token) == maria
    assert holder(elsewhere, token, at=111.0) is None
    assert holder(elsewhere, token + "x") is None
    with elsewhere.write() as tx:
        accounts.end(tx, token)
    assert holder(database, token) is None


def test_a_token_is_kept_as_a_digest(database: Database, maria: str):
    token = session(database, maria)
    with database.read() as tx:
        (row,) = tx.execute(sa.select(sessions)).all()
    assert token not in map(str, row)


def test_a_disabled_account_has_no_session(database: Database, maria: str):
    token = session(database, maria)
    with database.write() as tx:
        assert accounts.disable(tx, maria, at=15.0)
        assert not accounts.disable(tx, maria, at=16.0)
    assert holder(database, token) is None


def test_another_password_or_role_ends_sessions_and_lets_in_again(database: Database, maria: str):
    token = session(database, maria)
    with database.write() as tx:
        accounts.disable(tx, maria, at=15.0)
        accounts.change(tx, maria, role=Role.ADMIN)
    assert holder(database, token) is None
    with database.read() as tx:
        found = accounts.find(tx, maria)
    assert found is not None
    assert (found.role, found.disabled_at, found.password_hash) == (Role.ADMIN, None, "hash")


def test_sessions_that_ended_are_removed(database: Database, maria: str):
    session(database, maria, at=10.0)
    session(database, maria, at=1000.0)
    with database.read() as tx:
        assert len(tx.execute(sa.select(sessions)).all()) == 1


@pytest.mark.parametrize("needed", list(Role))
@pytest.mark.parametrize("role", list(Role))
def test_each_role_covers_those_before_it(role: Role, needed: Role):
    order = ["viewer", "operator", "approver", "admin"]
    assert role.covers(needed) is (order.index(role) >= order.index(needed))


def test_a_lease_has_one_holder_at_a_time(database: Database, another: Callable[[], Database]):
    elsewhere = another()

    def take(where: Database, owner: str, at: float) -> bool:
        with where.write() as tx:
            return leases.take(tx, "duties", owner, at=at, seconds=60.0)

    assert take(database, "one", 0.0)
    assert not take(elsewhere, "two", 30.0)
    assert take(database, "one", 50.0)
    assert not take(elsewhere, "two", 100.0)
    assert take(elsewhere, "two", 111.0)
    assert not take(database, "one", 112.0)
    with elsewhere.write() as tx:
        leases.give_back(tx, "duties", "two")
    assert take(database, "one", 113.0)
