"""The disk fails, fills up or loses its power: F39 to F44 of the fault list, on a recorded disk.

F43, the power cut, is every state that the recorded disk can leave behind; F42, the kill, is that state in
which nothing was lost.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.core.words import StudyState
from appliance.disk import space
from appliance.ledger import counts, events, results, studies, tables
from appliance.ledger.engine import LedgerRefused, open_ledger
from appliance.results.context import EncodedObject
from appliance.spool.frame import FIRST_FRAME, frames
from appliance.spool.record import HEAD_BYTES
from appliance.spool.retain import remove_unrecorded
from appliance.spool.store import Spool
from appliance.spool.sweep import sweep
from appliance.worker.freeze import freeze
from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.status import Status
from tests.appliance.disk.recorded import RecordedDisk, crash_states
from tests.faults.boxes import STUDY, Bench, Recovered, check, image_of

SIZES = (400, 9_000, 30_000)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def bring_some(bench: Bench, disk: RecordedDisk) -> None:
    """Keep three instances, the last too large for a buffer; one comes twice; one has no row yet."""
    some = [image_of(size) for size in SIZES]
    for held in (*some, some[1]):
        bench.bring(held)
        disk.note(held.header.sop_instance_uid)
    bench.rows.flush()
    late = image_of(5_000)
    bench.bring(late)
    disk.note(late.header.sop_instance_uid)


class TestF43PowerCut:
    """Whatever the power takes with it, what was acknowledged is there, whole and once."""

    def test_f43_in_every_state_that_keeping_can_leave_what_was_acknowledged_is_there(self, bench: Bench):
        disk = bench.record()
        bring_some(bench, disk)
        states = 0
        for crash in crash_states(disk):
            states += 1
            acknowledged = {note for note in crash.notes if isinstance(note, str)}

            def expect(again: Recovered, acknowledged: set[str] = acknowledged) -> None:
                held = again.holds()
                assert acknowledged <= set(held)
                assert again.living() == len(held)
                assert again.swept.missing == 0

            check(bench, crash, expect)
        assert states > 50

    @pytest.mark.parametrize("whole", [True, False], ids=["the whole study", "a part of a segment"])
    def test_f43_in_every_state_that_purging_can_leave_nothing_else_is_gone(self, bench: Bench, whole: bool):
        for size in SIZES[:2]:
            bench.bring(image_of(size))
        bench.rows.flush()
        if not whole:
            bench.clock.advance(2 * 86_400)
            bench.bring(image_of(6_000))
            bench.rows.flush()
        bench.settle()
        bench.close_study()
        if whole:
            bench.clock.advance(2 * 86_400)
        else:
            with bench.ledger.write() as tx:
                tx.execute(tables.studies.update().values(last_at=0.0))
        disk = bench.record()
        bench.clock.advance(3_600)
        assert bench.purge() == 2
        stays = {*bench.sent} if not whole else set()
        states = 0
        for crash in crash_states(disk):
            states += 1
            committed = any(isinstance(note, bytes) for note in crash.notes)

            def expect(again: Recovered, committed: bool = committed) -> None:
                held = set(again.holds())
                assert len(held) == (len(bench.sent) - 2 if committed else len(bench.sent))
                assert again.living() == len(held)
                assert not stays or held <= stays

            check(bench, crash, expect)
        assert states > 2

    def test_f43_in_every_state_that_freezing_can_leave_a_recorded_object_has_its_bytes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger
    ):
        spool = Spool(tmp_path / "root", "results")
        disk = RecordedDisk(tmp_path / "root", monkeypatch)
        made = [an_object(output) for output in ("sr", "seg")]
        frozen = freeze(spool, made, ae_title="READSIDE", at=1.0)
        files = {name for item in frozen for name in (item.location.file, item.preview_file) if name}
        disk.note(files)
        states = 0
        for crash in crash_states(disk):
            states += 1
            crash.image.put_into(tmp_path / "again")
            known: set[str] = set().union(*crash.notes)
            monkeypatch.setattr(results, "known_files", lambda _tx, known=known: known)
            again = Spool(tmp_path / "again", "results")
            remove_unrecorded(ledger, again)
            assert set(again.names()) == known
            if known:
                assert [again.read(item.location) for item in frozen] == [item.data for item in made]
        assert states > 10


def an_object(output: str) -> EncodedObject:
    return EncodedObject(
        output=output,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid=f"2.25.{len(output)}",
        series_uid="2.25.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_description="AI",
        modality="SR",
        data=output.encode() * 2_000,
        preview_png=b"png" * 100,
    )


class TestF40DiskFault:
    """A failing disk: the sender hears A701, the service ends, nothing unsynced was acknowledged."""

    @pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOSPC])
    def test_f40_whichever_call_fails_only_what_is_safe_was_acknowledged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ):
        calls = tried = 0
        while tried <= calls:
            with monkeypatch.context() as patched:
                bench = Bench(tmp_path / str(tried), patched)
                disk = bench.record()
                disk.fail(tried, number)
                acknowledged, refused = bring_until_refused(bench)
                calls = disk.calls
                assert bool(refused) == (calls > tried), "every failure is told"
                if bench.faults:
                    assert set(refused) == {Status.STORAGE_FAULT}, "after a fault nothing more is taken"
                else:
                    assert number == errno.ENOSPC or not refused
                    assert set(refused) <= {Status.NO_SPACE}
                again = bench.after_kill()
                assert acknowledged <= set(again.holds())
                again.close()
                bench.ledger.close()
            shutil.rmtree(tmp_path / str(tried))
            tried += 1
        assert tried > 10

    def test_f40_a_failed_sync_is_not_tried_again(self, bench: Bench):
        disk = bench.record()
        bench.bring(image_of(400))
        disk.fail(0, errno.EIO)
        with pytest.raises(Refusal), capture_logs() as logs:
            bench.bring(image_of(400))
        assert disk.calls == 1
        assert [line["event"] for line in logs] == ["disk.fault"]


def bring_until_refused(bench: Bench) -> tuple[set[str], list[Status]]:
    """Send what `bring_some` sends; return what was acknowledged, and what the others heard."""
    acknowledged: set[str] = set()
    refused: list[Status] = []
    for size in SIZES:
        held = image_of(size)
        try:
            bench.bring(held)
        except Refusal as refusal:
            refused.append(refusal.status)
        else:
            acknowledged.add(held.header.sop_instance_uid)
    return acknowledged, refused


class TestF39DiskFull:
    """The disk is at its floor: A700 before a byte is read, by itself well again, nothing deleted for it."""

    def test_f39_at_the_floor_nothing_comes_and_what_is_kept_stays(self, bench: Bench, monkeypatch):
        first = image_of(400)
        bench.bring(first)
        bench.rows.flush()
        bench.close_study()
        bench.intake = bench.new_intake(floor_bytes=1 << 30)
        monkeypatch.setattr(space, "free_bytes", lambda _path: (1 << 30) + 1)
        with capture_logs() as logs, pytest.raises(Refusal) as refused:
            bench.intake.begin()
        assert refused.value.status is Status.NO_SPACE
        assert [line["event"] for line in logs] == ["disk.floor"]
        assert bench.faults == 0
        monkeypatch.setattr(space, "free_bytes", lambda _path: 1 << 40)
        bench.bring(image_of(400))
        bench.rows.flush()
        again = bench.after_kill()
        assert len(again.holds()) == 2
        again.close()

    def test_f39_room_that_a_segment_holds_already_is_used_below_the_floor(self, bench: Bench, monkeypatch):
        bench.bring(image_of(400))
        monkeypatch.setattr(space, "free_bytes", lambda _path: 0)
        bench.bring(image_of(400))
        assert bench.faults == 0


class TestF41BitRot:
    """One flipped bit is found on reading, and at a start before a row is made of it."""

    def test_f41_a_flipped_bit_in_an_image_without_a_row_is_set_aside_and_told(self, bench: Bench):
        sound, rotten = image_of(9_000), image_of(9_000)
        bench.bring(sound)
        bench.bring(rotten)
        (path,) = bench.spool.segments()
        frame = list(frames(path))[-1]
        flip(path, frame.at + HEAD_BYTES + 5_000)
        again = bench.after_kill()
        assert set(again.holds()) == {sound.header.sop_instance_uid}
        assert (again.swept.quarantined, again.set_aside()) == (1, 1)
        with again.ledger.read() as tx:
            (told,) = events.latest(tx, 9, word="sweep.quarantined")
        assert told.detail["fault"] == "the bytes are not those that were kept"
        assert again.sweep().quarantined == 0
        again.close()

    @pytest.mark.parametrize("at", [0, 130, 200, 900])
    def test_f41_a_flipped_bit_in_a_head_costs_its_own_image_and_no_other(self, bench: Bench, at: int):
        some = [image_of(9_000) for _ in range(3)]
        for held in some:
            bench.bring(held)
        bench.rows.flush()
        (path,) = bench.spool.segments()
        flip(path, list(frames(path))[1].at + at)
        again = bench.after_kill()
        assert len(again.holds()) == 2
        assert again.swept.missing == 1
        with again.ledger.read() as tx:
            assert counts.count(tx).quarantined == 1
        again.close()

    def test_f41_a_segment_whose_first_blocks_are_gone_is_still_read(self, bench: Bench):
        bench.bring(image_of(9_000))
        (path,) = bench.spool.segments()
        with path.open("r+b") as file:
            file.write(bytes(FIRST_FRAME))
        again = bench.after_kill()
        assert len(again.holds()) == 1
        again.close()


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


class TestF42Kill:
    """A process that dies at any call leaves what it wrote; the next start puts it right."""

    def test_f42_after_each_call_of_a_keep_the_next_start_finds_everything(self, bench: Bench):
        disk = bench.record()
        bring_some(bench, disk)
        for crash in crash_states(disk):
            acknowledged = {note for note in crash.notes if isinstance(note, str)}
            if crash.lost:
                continue
            again = bench.after(crash)
            assert acknowledged <= set(again.holds())
            assert (again.swept.quarantined, again.set_aside()) == (0, 0)
            again.close()

    def test_f42_what_is_sent_again_after_a_kill_is_there_once(self, bench: Bench):
        held = image_of(9_000)
        bench.bring(held)
        again = bench.after_kill()
        assert again.swept.completed == 1
        again.close()
        bench.bring(held)
        bench.rows.flush()
        assert len(bench.after_kill().holds()) == 1


class TestF44LedgerDamaged:
    """A ledger that cannot be used is refused with advice, and made again from the spool."""

    @pytest.mark.parametrize("damage", ["zeroed", "cut", "text"])
    def test_f44_a_damaged_ledger_is_refused_and_its_rows_come_back_from_the_segments(
        self, bench: Bench, damage: str
    ):
        some = [image_of(size) for size in SIZES]
        for held in some:
            bench.bring(held)
        bench.settle()
        bench.ledger.close()
        path = bench.root.parent / "ledger.sqlite3"
        with path.open("r+b") as file:
            if damage == "cut":
                file.truncate(1000)
            else:
                file.write(bytes(100) if damage == "zeroed" else b"x" * 200)
        before = {one: one.read_bytes() for one in bench.spool.segments()}
        with pytest.raises(LedgerRefused, match="made again from the spool"):
            open_ledger(f"sqlite:///{path}")
        assert {one: one.read_bytes() for one in bench.spool.segments()} == before
        for one in path.parent.glob("ledger.sqlite3*"):
            one.unlink()
        ledger = open_ledger(f"sqlite:///{path}", clock=bench.clock)
        assert sweep(ledger, bench.spool, Limits()).completed == len(some)
        with ledger.read() as tx:
            found = studies.instances_of(tx, STUDY)
            assert studies.find(tx, STUDY).state is StudyState.GATHERING  # type: ignore[union-attr]
        assert {one.sop_instance_uid: bench.spool.read(one.location) for one in found} == bench.sent
        ledger.close()

    def test_f44_a_ledger_from_yesterdays_backup_gets_todays_rows(self, bench: Bench):
        yesterday = image_of(400)
        bench.bring(yesterday)
        bench.rows.flush()
        backup = bench.ledger_bytes()
        bench.bring(image_of(9_000))
        bench.settle()
        again = bench.after_kill(backup)
        assert set(again.holds()) == set(bench.sent)
        assert again.swept.completed == 1
        with again.ledger.read() as tx:
            assert counts.count(tx).in_studies == 2
        again.close()
