"""What a box without a network took comes back on its stick, signed, and is recorded once and as its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.core.config import parse
from appliance.health.codes import Kind
from appliance.health.outbox import Outbox, folder_of
from appliance.ledger.engine import Ledger
from appliance.sync.box import ModelBox
from appliance.sync.phase import code_of
from appliance.sync.refusal import Word
from appliance.sync.release import reference
from appliance.sync.softkey import SoftwareKey
from appliance.sync.standing import Outcome, Standing
from provisioning.bundle import office
from provisioning.bundle import receipt as receipts
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.receipt import Receipt
from provisioning.registry.database import audit, devices, telemetry
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import Database, open_database
from provisioning.registry.database.words import DeviceState

DIGEST = "sha256:" + "ab" * 32
AT = 1_700_000_000.0


def another() -> SoftwareKey:
    """A device's key."""
    return SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


def standing(word: Word = Word.ACTIVATED) -> Standing:
    outcome = Outcome(word=word, sentence="/var/secret", model="bands", version="1.2.0", digest=DIGEST)
    return Standing(at=AT, well_at=None, outcomes=(outcome,))


@pytest.fixture
def key() -> SoftwareKey:
    return another()


@pytest.fixture
def database(tmp_path: Path, key: SoftwareKey) -> Iterator[Database]:
    """A registry's database, in which one device is enrolled."""
    with closing(open_database(f"sqlite:///{tmp_path / 'registry.sqlite'}")) as opened:
        with opened.write() as tx:
            devices.add_slot(tx, Slot(name="box-1"), at=AT)
            devices.enrol(tx, key.id, slot="box-1", serial="1", public_key=key.public_pem.decode(), at=AT)
        yield opened


@dataclass
class Writer:
    """A box, and the stick that it writes receipts to."""

    box: ModelBox
    stick: Path

    def __call__(self, signer: SoftwareKey | None, **changed: Any) -> Path:
        one = replace(receipts.made(self.box, standing(), signer), **changed)
        return receipts.put(self.box, one, signer, self.stick)


def box_of(folder: Path, ledger: Ledger, ledger_url: str, **registry: str) -> ModelBox:
    (folder / "box").mkdir(exist_ok=True)
    tree = {
        "site": {"name": "Test"},
        "ledger": {"url": ledger_url},
        "storage": {"root": str(folder / "box"), "floor_gib": 0.01},
        "registry": {"device": "box-1", "roots": str(folder / "roots"), **registry},
    }
    return ModelBox(config=parse(tree), ledger=ledger, by="jo")


@pytest.fixture
def make(tmp_path: Path, ledger: Ledger, ledger_url: str) -> Writer:
    """Write a receipt of a turn to a stick."""
    return Writer(box=box_of(tmp_path, ledger, ledger_url), stick=tmp_path / "stick")


def words(database: Database, stick: Path) -> list[str]:
    return [one.word for one in office.take(database, stick, who="jo")]


def test_a_receipt_is_recorded_as_the_devices_state(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path
):
    path = make(key)
    assert words(database, tmp_path / "stick") == [office.RECORDED]
    with database.read() as tx:
        (state,) = telemetry.states_of(tx, key.id)
        (act,) = audit.acts(tx, limit=10)
    assert (state.kind, state.release) == (int(Kind.STATE), reference(DIGEST))
    assert state.numbers["reason"] == code_of(Word.ACTIVATED)
    assert (act.who, act.act, act.subject) == ("jo", "receipt.taken", "box-1")
    assert "bands 1.2.0 activated" in act.after
    assert words(database, tmp_path / "stick") == [office.KNOWN], "a second reading changes nothing"
    assert b"secret" not in path.read_bytes()


def test_what_went_onto_the_stick_stands_among_what_left(make: Writer, key: SoftwareKey):
    path = make(key)
    (left,) = Outbox(folder=folder_of(make.box.root)).departures(5)
    assert (left.way, left.answer, left.body) == ("stick", "written", path.read_bytes())


def test_a_stick_that_cannot_be_written_leaves_no_note(make: Writer, key: SoftwareKey, tmp_path: Path):
    (tmp_path / "stick").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        make(key)
    assert Outbox(folder=folder_of(make.box.root)).departures(5) == []


def test_a_stick_does_not_lead_the_box_to_write_elsewhere(make: Writer, key: SoftwareKey, tmp_path: Path):
    (tmp_path / "stick").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stick" / "receipts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleFault, match="link"):
        make(key)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_site_that_wants_no_numbers_told_has_none_in_its_receipts(
    tmp_path: Path, ledger: Ledger, ledger_url: str
):
    box = box_of(tmp_path, ledger, ledger_url, telemetry="off")
    made = receipts.made(box, standing(), None)
    assert made.records == ()
    assert [one.word for one in made.taken] == ["activated"]
    assert not folder_of(box.root).exists()


def test_an_unsigned_one_is_said_and_not_recorded(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path
):
    make(None)
    assert words(database, tmp_path / "stick") == [office.UNSIGNED]
    with database.read() as tx:
        assert telemetry.states_of(tx, key.id) == []


def test_a_receipt_in_anothers_name_is_forged(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path
):
    make(another(), id=key.id)
    assert words(database, tmp_path / "stick") == [office.FORGED]


def test_a_device_cannot_speak_for_another_slot(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path
):
    make(key, slot="box-2")
    assert words(database, tmp_path / "stick") == [office.FORGED]


@pytest.mark.parametrize("state", [DeviceState.REPLACED, DeviceState.REVOKED, DeviceState.DECOMMISSIONED])
def test_a_device_that_is_gone_is_not_heard(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path, state: DeviceState
):
    make(key)
    with database.write() as tx:
        devices.set_state(tx, key.id, state)
    assert words(database, tmp_path / "stick") == [office.UNKNOWN]


def test_one_bit_turned_is_forged(database: Database, make: Writer, key: SoftwareKey, tmp_path: Path):
    path = make(key)
    said = json.loads(path.read_bytes())
    read = receipts.read(path.read_bytes())
    other = receipts.to_bytes(replace(read.receipt, targets_version=99), None)
    said["payload"] = json.loads(other)["payload"]
    path.write_text(json.dumps(said), encoding="utf-8")
    assert words(database, tmp_path / "stick") == [office.FORGED]


def test_an_old_receipt_does_not_become_the_present(
    database: Database, make: Writer, key: SoftwareKey, tmp_path: Path
):
    old = make(key)
    kept = old.read_bytes()
    old.unlink()
    make(key)
    assert words(database, tmp_path / "stick") == [office.RECORDED]
    with database.read() as tx:
        before = telemetry.states_of(tx, key.id)
    old.write_bytes(kept)
    assert words(database, tmp_path / "stick") == [office.KNOWN]
    with database.read() as tx:
        assert telemetry.states_of(tx, key.id) == before


def test_a_receipt_reads_as_it_was_written(make: Writer, key: SoftwareKey):
    read = receipts.read(make(key).read_bytes())
    assert isinstance(read.receipt, Receipt)
    assert read.receipt.taken == (receipts.Taken(model="bands", version="1.2.0", word="activated"),)
    assert read.signed_by(key.public_pem)
    assert not read.signed_by(another().public_pem)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 99_999, b'{"payloadType": "x", "payload": "", "signatures": []}']
)
def test_junk_is_told_as_junk(database: Database, data: bytes, tmp_path: Path):
    folder = tmp_path / "stick" / "receipts"
    folder.mkdir(parents=True)
    (folder / "receipt-x-1.json").write_bytes(data)
    (folder / "receipt-y-1.json").symlink_to("/etc/hostname")
    assert words(database, tmp_path / "stick") == [office.JUNK, office.JUNK]


def test_a_stick_without_receipts_is_said(database: Database, tmp_path: Path):
    with pytest.raises(BundleFault, match="no box has written"):
        office.take(database, tmp_path, who="jo")
