"""The life of a device in a fleet, against a registry that is served for real."""

from __future__ import annotations

import pytest

from appliance.sync.refusal import Refusal, Word
from appliance.sync.renewal import AUTHORITIES_FILE, NEW_FILE, Renewed, due_at, renew_if_due
from provisioning.identity.enrol import FILES
from provisioning.registry import enrolment
from provisioning.registry.database import audit, certificates, devices
from provisioning.registry.database.words import DeviceState
from tests.provisioning.identity.town import DAY, SLOT


def acts(town):
    with town.office.database.read() as tx:
        return [act.act for act in reversed(audit.acts(tx, limit=100))]


def test_a_whole_life(town_anywhere):
    town = town_anywhere
    # Invited and enrolled: the key was born on the box, and everything that a claim gives is there.
    box = town.machine("first")
    claimed = box.enrol(town.invite())
    assert (claimed.slot, claimed.home) == (SLOT, "file")
    assert {path.name for path in box.roots.iterdir()} == {
        *FILES,
        "device.key",
        "device.crt",
        AUTHORITIES_FILE,
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in box.roots.iterdir())
    first = box.certificate
    assert round((first.ends_at - town.clock.now()) / DAY) == 90
    assert box.key.id == claimed.device

    # Renewed in time, with the same key; not a day before.
    assert renew_if_due(box.config, clock=box.clock) is Renewed.HOLDS
    town.clock.seconds = due_at(first) - 1
    assert renew_if_due(box.config, clock=box.clock) is Renewed.HOLDS
    town.clock.seconds = due_at(first)
    assert renew_if_due(box.config, clock=box.clock) is Renewed.RENEWED
    second = box.certificate
    assert second.ends_at == pytest.approx(town.clock.now() + 90 * DAY, abs=2)
    assert second.device == first.device
    assert not (box.roots / NEW_FILE).exists()

    # Dark for months: known by its key, and let back by a person, once.
    town.clock.seconds = second.ends_at + 60 * DAY
    for _ in range(2):
        assert renew_if_due(box.config, clock=box.clock) is Renewed.WAITS
    ((waiting, slot),) = enrolment.asking(town.office)
    assert (waiting.device, slot) == (claimed.device, SLOT)
    enrolment.approve(town.office, waiting.device, who="kim", why="was in storage")
    assert renew_if_due(box.config, clock=box.clock) is Renewed.RENEWED
    assert enrolment.asking(town.office) == []
    third = box.certificate
    town.clock.seconds = third.ends_at
    assert renew_if_due(box.config, clock=box.clock) is Renewed.WAITS

    # Replaced: other hardware takes the slot over, and the old certificates end in the same moment.
    other = town.machine("second")
    taken = other.enrol(town.invite(replaces=True))
    with town.office.database.read() as tx:
        former, holder = devices.find(tx, claimed.device), devices.device_of(tx, SLOT)
        assert former is not None
        assert former.state is DeviceState.REPLACED
        assert all(one.revoked_at is not None for one in certificates.of_device(tx, claimed.device))
        assert holder is not None
        assert (holder.id, holder.serial) == (taken.device, "second")
    with pytest.raises(Refusal) as refused:
        renew_if_due(box.config, clock=box.clock, force=True)
    assert refused.value.word is Word.NOT_CLAIMED
    assert acts(town) == [
        *("claim.invite", "device.enrol", "device.approve", "device.came_back"),
        *("claim.invite", "device.enrol"),
    ]
    assert audit.verify(town.office.database).broken_at is None
