"""What a box is outlives it, without its keys, and opens with one passphrase."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from appliance.core.config import load
from appliance.sync.standing import registry_folder
from provisioning.identity import backup as backups
from provisioning.identity.backup import BackupFault
from provisioning.identity.sealed import SealFault, seal, unseal
from tests.provisioning.identity.town import SLOT

PASSPHRASE = "correct horse battery staple"
SEALED = seal(b"what a box is", PASSPHRASE, log2_n=10)


def configured(box):
    path = box.folder / "site.toml"
    path.write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{box.folder / "data"}"\nfloor_gib = 0.01\n'
        f'[registry]\nurl = "{box.url}"\ndevice = "{SLOT}"\nroots = "{box.roots}"\n'
    )
    return path


def test_a_box_is_replaced_from_its_backup(town):
    box = town.machine("first")
    box.enrol(town.invite())
    path = configured(box)
    # The box's own floors rose above those of its claim.
    own = json.loads((box.roots / "floors.json").read_text())
    own["counters"] = {"a-model": 7}
    registry_folder(load(path).storage.root).mkdir(parents=True)
    (registry_folder(load(path).storage.root) / "floors.json").write_text(json.dumps(own))
    sealed = backups.backup(path, load(path), PASSPHRASE, now=town.clock.now())
    assert b"Test" not in sealed

    for place in (path, box.roots):
        place.rename(box.folder / f"dead-{place.name}")
    restored = backups.restore(sealed, PASSPHRASE, path)
    assert restored.slot == SLOT
    assert not any(path.suffix in (".key", ".crt") for path in box.roots.iterdir())
    # New hardware: a key of its own, and the floors of what served here before.
    claimed = box.enrol(town.invite(replaces=True))
    assert claimed.device == box.key.id
    assert json.loads((box.roots / "floors.json").read_text())["counters"] == {"a-model": 7}
    with pytest.raises(BackupFault, match="--over"):
        backups.restore(sealed, PASSPHRASE, path)
    backups.restore(sealed, PASSPHRASE, path, over=True)


def test_floors_of_another_registry_are_not_carried_over(town):
    box = town.machine("first")
    box.roots.mkdir(parents=True)
    strange = {"clock_at": 9e9, "targets_version": 99, "targets_keys": ["another"], "counters": {"m": 9}}
    (box.roots / "floors.json").write_text(json.dumps(strange))
    box.enrol(town.invite())
    floors = json.loads((box.roots / "floors.json").read_text())
    assert floors["counters"] == {}
    assert floors["targets_keys"] != ["another"]


@pytest.mark.parametrize(
    "data",
    [b"", b"READSIDE-BACKUP-1\n", SEALED[:-1], b"PK\3\4"],
    ids=["nothing", "the first line", "a byte short", "a zip"],
)
def test_what_is_no_backup_says_so(tmp_path, data):
    with pytest.raises(BackupFault):
        backups.restore(data, PASSPHRASE, tmp_path / "site.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_that_holds_something_else_is_not_restored(tmp_path):
    for said in (b"[]", b'{"form": 2}', b'{"form": 1, "files": {"device.key": "x", "site.toml": ""}}', b"{"):
        with pytest.raises(BackupFault):
            backups.restore(seal(said, PASSPHRASE, log2_n=10), PASSPHRASE, tmp_path / "site.toml")
    unfit = json.dumps({"form": 1, "slot": "", "made_at": "", "files": {"site.toml": "[nonsense]\n"}})
    with pytest.raises(BackupFault, match="does not fit"):
        backups.restore(seal(unfit.encode(), PASSPHRASE, log2_n=10), PASSPHRASE, tmp_path / "site.toml")
    assert list(tmp_path.iterdir()) == []


@given(at=some.integers(0, len(SEALED) - 1), bit=some.integers(0, 7))
def test_any_changed_bit_is_found(at, bit):
    changed = bytearray(SEALED)
    changed[at] ^= 1 << bit
    with pytest.raises(SealFault):
        unseal(bytes(changed), PASSPHRASE)


def test_another_passphrase_opens_nothing():
    assert unseal(SEALED, PASSPHRASE) == b"what a box is"
    with pytest.raises(SealFault, match="another"):
        unseal(SEALED, PASSPHRASE + "s")
    with pytest.raises(SealFault, match="at least 16"):
        seal(b"", "short")
