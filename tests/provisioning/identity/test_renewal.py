"""A certificate is replaced only by one that was tried, wherever it is interrupted."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from appliance.disk.durable import write_file
from appliance.sync import renewal
from appliance.sync.csr import request_for
from appliance.sync.est import Desk
from appliance.sync.identity import identity_in, identity_of
from appliance.sync.refusal import Refusal, Word
from appliance.sync.renewal import NEW_FILE, Renewed, due_at, renew_if_due
from provisioning.identity import enrol
from provisioning.registry.database import certificates
from tests.provisioning.identity.town import DAY, SLOT


def made_for(town, box):
    with town.office.database.read() as tx:
        return len(certificates.of_device(tx, box.key.id))


def test_devices_that_came_together_renew_on_days_of_their_own(box):
    one = box.certificate
    days = {
        round((due_at(replace(one, device=f"{number:08x}".ljust(64, "0"))) - one.ends_at) / DAY)
        for number in range(0, 1 << 32, 1 << 28)
    }
    assert min(days) == -30
    assert max(days) <= -23
    assert len(days) > 4


def test_what_could_not_be_tried_waits_beside(town, box, monkeypatch):
    before = box.certificate
    town.clock.seconds = due_at(before)
    real = Desk.welcome

    def broken(self):
        raise Refusal(Word.CUT_OFF, "the line broke")

    monkeypatch.setattr(Desk, "welcome", broken)
    for _ in range(3):
        with pytest.raises(Refusal):
            renew_if_due(box.config, clock=box.clock)
    assert box.certificate.pem == before.pem
    assert (box.roots / NEW_FILE).exists()
    # It was asked for once, and not again at each turn.
    assert made_for(town, box) == 2
    monkeypatch.setattr(Desk, "welcome", real)
    assert renew_if_due(box.config, clock=box.clock) is Renewed.RENEWED
    assert made_for(town, box) == 2
    assert box.certificate.ends_at > before.ends_at
    assert not (box.roots / NEW_FILE).exists()


@pytest.mark.parametrize("left", [b"", b"no certificate"])
def test_what_else_lies_beside_is_not_believed(town, box, left):
    (box.roots / NEW_FILE).write_bytes(left)
    town.clock.seconds = due_at(box.certificate)
    assert renew_if_due(box.config, clock=box.clock) is Renewed.RENEWED
    assert made_for(town, box) == 2


def test_another_boxs_certificate_beside_is_not_believed(town, box):
    other = town.machine("second")
    other.enrol(town.invite("box-2"))
    town.clock.seconds = due_at(box.certificate)
    # Made later, so it ends later.
    made = other.desk.renew("box-2", request_for(other.key, "box-2"))
    (box.roots / NEW_FILE).write_bytes(made.certificate.pem)
    assert renew_if_due(box.config, clock=box.clock) is Renewed.RENEWED
    assert box.certificate.device == box.key.id
    assert box.certificate.slot == SLOT


def test_each_step_may_be_the_last(town, box, monkeypatch):
    """The machine stops after each write in turn: the identity is whole, and the next look completes it."""
    real = write_file

    class Stopped(BaseException):
        pass

    for step in range(1, 4):
        town.clock.seconds = due_at(box.certificate)
        done = 0

        def stopping(path, data, step=step):
            nonlocal done
            real(path, data)
            done += 1
            if done == step:
                raise Stopped

        monkeypatch.setattr(renewal, "write_file", stopping)
        with pytest.raises(Stopped):
            renew_if_due(box.config, clock=box.clock)
        assert box.desk.welcome().slot == SLOT
        monkeypatch.setattr(renewal, "write_file", real)
        assert renew_if_due(box.config, clock=box.clock) in (Renewed.RENEWED, Renewed.HOLDS)
        assert box.certificate.ends_at > town.clock.now() + 80 * DAY


def test_a_folder_that_is_not_ours_is_said(town, box, monkeypatch):
    town.clock.seconds = due_at(box.certificate)
    # Root may write everywhere, and runs the tests of a container.
    monkeypatch.setattr(os, "access", lambda path, how: path != box.roots)
    with pytest.raises(Refusal) as refused:
        renew_if_due(box.config, clock=box.clock)
    assert refused.value.word is Word.BOX_REFUSED
    assert made_for(town, box) == 1


def test_a_key_that_does_not_belong_is_said(town, box):
    other = town.machine("second")
    other.enrol(town.invite("box-2"))
    (box.roots / "device.crt").write_bytes(other.certificate.pem)
    with pytest.raises(Refusal) as refused:
        identity_of(box.config)
    assert refused.value.word is Word.NOT_CLAIMED
    (box.roots / "device.crt").write_bytes(b"no certificate")
    with pytest.raises(Refusal, match="cannot be read"):
        identity_of(box.config)
    (box.roots / "device.tpm.json").write_bytes(b"{}")
    box.roots.joinpath("device.crt").write_bytes(other.certificate.pem)
    with pytest.raises(Refusal, match="both there"):
        identity_of(box.config)


def test_a_claim_may_stop_after_any_write(town, monkeypatch):
    """The same invitation goes on where it was: the key is the one that was born first."""

    class Stopped(BaseException):
        pass

    writes = 5
    for step in range(1, writes + 1):
        box = town.machine(f"machine-{step}")
        invitation = town.invite(f"slot-{step}")
        done = 0

        def stopping(path, data, step=step):
            nonlocal done
            write_file(path, data)
            done += 1
            if done == step:
                raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(enrol, "write_file", stopping)
            with pytest.raises(Stopped):
                box.enrol(invitation)
        born = (box.roots / "device.key").read_bytes()
        assert (identity_in(box.roots) is not None) is (step == writes)
        assert box.enrol(invitation).slot == invitation.slot
        assert (box.roots / "device.key").read_bytes() == born
        assert box.desk.welcome().slot == invitation.slot
