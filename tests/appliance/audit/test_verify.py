"""The trail tells each event once, and whatever is done to it behind our back is found (F60)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from appliance.audit import checkpoint
from appliance.audit.chain import link
from appliance.audit.checkpoint import Checkpoint, KeyFault
from appliance.audit.trail import Trail
from appliance.audit.verify import verify
from appliance.ledger import arrivals
from appliance.ledger import audit as rows
from tests.appliance.audit.conftest import LIMITS
from tests.appliance.ledger import given


@pytest.fixture
def filled(trail, happened):
    """A trail of twelve rows: its beginning, ten log-ins, a checkpoint's own."""
    for number in range(10):
        happened("console.login", user=f"user{number}")
    while trail.turn():
        pass
    assert trail.checkpoint()
    return trail


def checked(ledger, trail, **changes):
    key = checkpoint.read_public_key(checkpoint.public_key_path(trail.folder))
    return verify(ledger, **{"key": key, "folder": trail.folder, "limits": LIMITS, **changes})


def execute(ledger, text, **values):
    with ledger.write() as tx:
        tx.execute(sa.text(text), values)


def all_rows(ledger):
    with ledger.read() as tx:
        return rows.rows_after(tx, 0, limit=10_000)


def test_a_trail_nobody_touched_holds(ledger, filled):
    report = checked(ledger, filled)
    assert (report.ok, report.rows, report.checkpoints, report.unsigned) == (True, 12, 1, 1)


def test_an_empty_trail_holds(ledger, trail):
    report = checked(ledger, trail)
    assert (report.ok, report.rows, report.checkpoints) == (True, 0, 0)


def test_each_event_is_told_once_however_often_the_trail_is_told(ledger, trail, happened):
    happened("console.login", user="ada")
    assert trail.turn() == 2
    assert trail.turn() == 0
    assert [row.event_id for row in all_rows(ledger)] == [None, 1]


def test_an_event_committed_behind_a_later_one_is_told_too(ledger, trail, happened):
    happened("console.login", user="first")
    happened("console.login", user="second")
    execute(ledger, "UPDATE events SET word = 'later.told' WHERE id = 1")
    trail.turn()
    execute(ledger, "UPDATE events SET word = 'console.login' WHERE id = 1")
    assert trail.turn() == 1
    assert [row.event_id for row in all_rows(ledger)] == [None, 2, 1]


def test_a_trail_that_dies_between_turns_goes_on_where_it_was(ledger, config, trail, happened):
    happened("console.login", user="ada")
    trail.turn()
    happened("console.logout", user="ada")
    signer = checkpoint.open_signer(trail.folder)
    again = Trail(ledger, config, signer, LIMITS)
    assert again.turn() == 1
    assert checked(ledger, again).ok


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET body = replace(body, 'user3', 'user4') WHERE seq = 5",
        "UPDATE audit SET at = at + 1 WHERE seq = 5",
        "UPDATE audit SET event_id = NULL WHERE seq = 5",
        f"UPDATE audit SET hash = 'sha256:{'0' * 64}' WHERE seq = 5",
    ],
)
def test_a_changed_row_is_named(ledger, filled, change):
    execute(ledger, change)
    report = checked(ledger, filled)
    assert (report.ok, report.row, report.rows) == (False, 5, 4)


def test_a_removed_row_is_named(ledger, filled):
    execute(ledger, "DELETE FROM audit WHERE seq = 7")
    report = checked(ledger, filled)
    assert (report.row, report.fault) == (7, "rows 7 to 7 are missing")


def test_rows_that_changed_places_are_named(ledger, filled):
    for source, target in ((6, 99), (7, 6), (99, 7)):
        execute(ledger, "UPDATE audit SET seq = :target WHERE seq = :source", source=source, target=target)
    assert checked(ledger, filled).row == 6


def test_a_cut_end_is_named_by_the_checkpoint_that_knows_it(ledger, filled):
    execute(ledger, "DELETE FROM audit WHERE seq > 8")
    execute(ledger, "DELETE FROM audit_checkpoints")
    report = checked(ledger, filled)
    assert (report.row, report.fault) == (9, "rows 9 to 11 are missing: a checkpoint names row 11")


def test_a_trail_written_anew_does_not_match_its_checkpoints(ledger, filled):
    former = all_rows(ledger)[3].hash
    for row in all_rows(ledger)[4:]:
        body = row.body.replace("user3", "userX")
        former = link(former, seq=row.seq, event_id=row.event_id, at=row.at, body=body)
        values = {"body": body, "hash": former, "seq": row.seq}
        execute(ledger, "UPDATE audit SET body = :body, hash = :hash WHERE seq = :seq", **values)
    report = checked(ledger, filled)
    assert report.fault == "row 11 or one before it was replaced: a checkpoint differs"


def test_a_database_that_was_swapped_is_told_by_a_checkpoint_kept_elsewhere(ledger, filled, tmp_path):
    held = checkpoint.parsed(next(iter(checkpoint.files(filled.folder))).read_text())
    execute(ledger, "DELETE FROM audit")
    execute(ledger, "DELETE FROM audit_checkpoints")
    assert checked(ledger, filled, folder=tmp_path).ok
    report = checked(ledger, filled, folder=tmp_path, held=[held])
    assert (report.ok, report.row) == (False, 1)


def test_a_checkpoint_of_another_key_is_refused(ledger, filled, tmp_path):
    (path,) = checkpoint.files(filled.folder)
    mine = checkpoint.parsed(path.read_text())
    other = checkpoint.open_signer(tmp_path / "other").sign(seq=mine.seq, at=mine.at, hash=mine.hash)
    path.write_text(checkpoint.written(other))
    assert checked(ledger, filled).fault == "the checkpoint of row 11 was not signed with this key"


@pytest.mark.parametrize("change", [{"seq": 10}, {"at": 5.0}, {"hash": "sha256:00"}, {"signature": "!"}])
def test_no_part_of_a_checkpoint_can_be_changed(filled, change):
    (path,) = checkpoint.files(filled.folder)
    key = checkpoint.read_public_key(checkpoint.public_key_path(filled.folder))
    mine = checkpoint.parsed(path.read_text())
    assert checkpoint.is_genuine(mine, key)
    assert not checkpoint.is_genuine(replace(mine, **change), key)


def test_a_checkpoint_whose_file_is_gone_is_a_fault(ledger, filled):
    (path,) = checkpoint.files(filled.folder)
    path.unlink()
    assert checked(ledger, filled).fault == "the file of the checkpoint of row 11 is missing"


def test_a_checkpoint_file_that_is_none_is_a_fault(ledger, filled):
    (path,) = checkpoint.files(filled.folder)
    path.write_text('{"seq": 1}')
    assert not checked(ledger, filled).ok


def test_a_checkpoint_comes_after_an_hour_or_enough_rows_and_never_for_itself(ledger, clock, trail, happened):
    trail.turn()
    assert trail.checkpoint()
    assert not trail.checkpoint()
    clock.advance(LIMITS.checkpoint_seconds)
    assert not trail.checkpoint(), "only its own row is behind it"
    happened("console.login", user="ada")
    trail.turn()
    assert trail.checkpoint()
    happened("console.login", user="ada")
    trail.turn()
    assert not trail.checkpoint(), "one row, and no hour"
    assert trail.checkpoint(final=True)
    assert checked(ledger, trail).ok


def test_a_checkpoint_leaves_with_the_trail(ledger, filled):
    (path,) = checkpoint.files(filled.folder)
    signature = checkpoint.parsed(path.read_text()).signature
    assert signature in all_rows(ledger)[-1].body


def test_a_damaged_key_is_not_replaced(trail):
    (trail.folder / "key.pem").write_text("gone")
    with pytest.raises(KeyFault, match=r"key\.pem"):
        checkpoint.open_signer(trail.folder)


def test_the_key_is_the_same_after_a_restart_and_its_file_is_private(trail):
    first, second = checkpoint.open_signer(trail.folder), checkpoint.open_signer(trail.folder)
    assert first.key_id == second.key_id
    assert (trail.folder / "key.pem").stat().st_mode & 0o077 == 0


def test_what_is_no_checkpoint_is_a_value_error():
    with pytest.raises(ValueError, match="not a checkpoint"):
        checkpoint.parsed("[]")


def test_a_study_in_the_trail_is_named_by_patient_id_and_never_by_name(ledger, trail, happened):
    facts = {"PatientID": "P77", "PatientName": "Planted^Name", "Modality": "CT"}
    with ledger.write() as tx:
        arrivals.add(tx, given.instance(1, facts=facts), calling_ae="CT1", at=given.NOW)
    happened("console.viewed", study_uid=given.STUDY, user="ada")
    trail.turn()
    body = all_rows(ledger)[-1].body
    assert "P77" in body
    assert "Planted" not in body


def test_a_checkpoint_survives_its_json():
    one = Checkpoint(seq=3, at=1.25, hash="sha256:aa", key_id="k", signature="c2ln")
    assert checkpoint.parsed(checkpoint.written(one)) == one
