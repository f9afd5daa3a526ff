"""Invitations and certificates as rows, on SQLite and on PostgreSQL, also when several come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioning.registry.database import certificates, claims, devices
from provisioning.registry.database.certificates import Issued
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.words import DeviceState

SLOT, DIGEST = "box-1", "d" * 64


@pytest.fixture
def invited(database):
    with database.write() as tx:
        devices.add_slot(tx, Slot(name=SLOT), at=0.0)
        claims.add(tx, slot=SLOT, digest=DIGEST, replaces=False, at=0.0, expires_at=100.0)
    return database


def enrolled(tx, device, *, slot=SLOT, at=1.0):
    devices.enrol(tx, device, slot=slot, serial="", public_key=device, at=at)


def certificate(device, serial, *, begins_at=0.0, ends_at=10.0):
    return Issued(serial=serial, device=device, slot=SLOT, pem="", begins_at=begins_at, ends_at=ends_at)


def test_the_newest_invitation_alone_counts(invited):
    with invited.write() as tx:
        claims.add(tx, slot=SLOT, digest="e" * 64, replaces=True, at=1.0, expires_at=101.0)
        assert claims.tried(tx, SLOT, DIGEST, at=2.0) is None
        claim = claims.tried(tx, SLOT, "e" * 64, at=2.0)
    assert claim is not None
    assert (claim.replaces, claim.tries) == (True, 1)
    assert claim.is_open(100.9)
    assert not claim.is_open(101.0)
    with invited.write() as tx:
        assert claims.tried(tx, "nowhere", DIGEST, at=2.0) is None
        assert claims.newest(tx, "nowhere") is None


def test_wrong_tries_at_once_are_all_counted(invited):
    def wrong(_):
        with invited.write() as tx:
            assert claims.tried(tx, SLOT, "0" * 64, at=1.0) is None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(wrong, range(claims.TRIES_MAX)))
    with invited.read() as tx:
        claim = claims.newest(tx, SLOT)
    assert claim is not None
    assert claim.tries == claims.TRIES_MAX
    assert not claim.is_open(1.0)


def test_of_two_devices_that_come_at_once_one_is_let_in(invited):
    def come(device):
        with invited.write() as tx:
            claim = claims.tried(tx, SLOT, DIGEST, at=1.0)
            assert claim is not None
            if not claim.serves(device, 1.0):
                return False
            enrolled(tx, device)
            claims.use(tx, claim, device, at=1.0)
            return True

    with ThreadPoolExecutor(4) as pool:
        let_in = list(pool.map(come, [letter * 64 for letter in "abcd"]))
    assert sum(let_in) == 1
    with invited.read() as tx:
        claim, holder = claims.newest(tx, SLOT), devices.device_of(tx, SLOT)
    assert claim is not None
    assert holder is not None
    assert claim.device == holder.id
    assert claim.serves(holder.id, 99.0)
    assert not claim.serves("f" * 64, 99.0)
    assert not claim.serves(holder.id, 100.0)


def test_a_device_is_known_while_a_certificate_of_it_holds(invited):
    device = "a" * 64
    with invited.write() as tx:
        enrolled(tx, device)
        assert certificates.holder(tx, device, at=1.0) is None
        certificates.add(tx, certificate(device, "1"))
        certificates.add(tx, certificate(device, "2", begins_at=5.0, ends_at=20.0))
        assert [one.serial for one in certificates.of_device(tx, device)] == ["2", "1"]
    with invited.write() as tx:
        for at, known in ((4.9, False), (5.0, True), (19.9, True), (20.0, False)):
            assert (certificates.holder(tx, device, at=at) is not None) is known
        devices.set_state(tx, device, DeviceState.REVOKED)
        assert certificates.holder(tx, device, at=6.0) is None
        devices.set_state(tx, device, DeviceState.ENROLLED)
        assert certificates.revoke(tx, device, at=6.0) == 2
        assert certificates.revoke(tx, device, at=7.0) == 0
        assert certificates.holder(tx, device, at=8.0) is None
        assert certificates.newest(tx, device) is None


def test_a_return_is_asked_for_once_and_let_once(invited):
    device = "a" * 64
    with invited.write() as tx:
        enrolled(tx, device)
        assert not certificates.approve(tx, device, at=1.0)
        assert certificates.ask_back(tx, device, at=2.0).approved_at is None
        assert certificates.ask_back(tx, device, at=3.0).asked_at == 2.0
        assert certificates.approve(tx, device, at=4.0)
        assert not certificates.approve(tx, device, at=5.0)
        assert [one.approved_at for one in certificates.asking(tx)] == [4.0]
        certificates.came_back(tx, device)
        assert certificates.asking(tx) == []
