"""A folder that forgets, through the kernel: who forgets a sync loses by it, who syncs does not."""

from __future__ import annotations

import errno
import fcntl
import mmap
import multiprocessing
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from appliance.disk.blocks import BLOCK_BYTES, BlockFile, aligned
from appliance.disk.durable import make_folder, remove_file, write_file
from appliance.disk.folder import keep_folder
from appliance.disk.segment import make_segment
from tests.lossy import disk as disks
from tests.lossy.disk import LossyDisk, NoLossyDisk, lossy_or_skip
from tests.lossy.serve import _DIRECT_IS_COHERENT


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LossyDisk]:
    with lossy_or_skip(tmp_path / "disk") as mounted:
        yield mounted


def files(disk: LossyDisk) -> dict[str, bytes]:
    """What is there, by its path."""
    return {
        path.relative_to(disk.folder).as_posix(): path.read_bytes()
        for path in disk.folder.rglob("*")
        if path.is_file()
    }


def write(path: Path, data: bytes, *, sync: bool, sync_folder: bool) -> None:
    """A program that may forget either sync."""
    with path.open("wb", buffering=0) as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())
    if sync_folder:
        handle = os.open(path.parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


class TestHonesty:
    """Each sync counts, and each that is forgotten costs."""

    @pytest.mark.parametrize(
        ("sync", "sync_folder", "left"),
        [
            (True, True, {"a": b"data"}),
            (False, True, {"a": b""}),
            (True, False, {}),
            (False, False, {}),
        ],
    )
    def test_a_file_is_there_after_both_of_its_syncs(self, disk, sync, sync_folder, left):
        write(disk.folder / "a", b"data", sync=sync, sync_folder=sync_folder)
        assert files(disk) == {"a": b"data"}, "a program sees what it wrote"
        disk.cut(seed=1)
        assert files(disk) == left

    def test_without_a_cut_nothing_is_forgotten(self, disk):
        write(disk.folder / "a", b"data" * 10_000, sync=False, sync_folder=False)
        disk.cut(seed=1, survive=1.0)
        assert files(disk) == {"a": b"data" * 10_000}

    def test_what_the_kernel_held_back_is_forgotten_too(self, disk):
        write(disk.folder / "a", bytes(8192), sync=True, sync_folder=True)
        with (disk.folder / "a").open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[0:4] = b"lost"
            disk.cut(seed=1, survive=1.0)
        assert files(disk) == {"a": bytes(8192)}

    @pytest.mark.skipif(
        not _DIRECT_IS_COHERENT, reason="before Linux 6.7 the kernel syncs the whole file here"
    )
    def test_a_durable_write_past_the_page_cache_is_safe_and_its_neighbours_are_not(self, disk):
        make_segment(disk.folder / "part", disk.folder / "a", 4 * BLOCK_BYTES, fill_bytes=None)
        file = BlockFile(disk.folder / "a")
        block = aligned(BLOCK_BYTES)
        block[:] = b"x" * BLOCK_BYTES
        file.write(0, block, durable=False)
        file.write(BLOCK_BYTES, block, durable=True)
        file.close()
        assert files(disk)["a"] == b"x" * 2 * BLOCK_BYTES + bytes(2 * BLOCK_BYTES)
        disk.cut(seed=1)
        assert files(disk) == {"a": bytes(BLOCK_BYTES) + b"x" * BLOCK_BYTES + bytes(2 * BLOCK_BYTES)}

    @pytest.mark.parametrize("flag", [os.O_DSYNC, os.O_SYNC])
    def test_a_file_opened_for_durable_writes_is_safe_after_each(self, disk, flag):
        write(disk.folder / "a", b"", sync=True, sync_folder=True)
        handle = os.open(disk.folder / "a", os.O_WRONLY | flag)
        os.write(handle, b"x" * 5000)
        os.close(handle)
        disk.cut(seed=1)
        assert files(disk) == {"a": b"x" * 5000}

    @pytest.mark.parametrize("seed", range(3))
    def test_some_of_what_was_not_synced_may_be_there(self, disk, seed):
        write(disk.folder / "a", b"x" * 512 * 200, sync=False, sync_folder=True)
        told = disk.cut(seed=seed, survive=0.5)
        assert 0 < told.sectors_lost < told.sectors == 200
        found = files(disk)["a"]
        sectors = {found[at : at + 512] for at in range(0, len(found), 512)}
        assert sectors <= {bytes(512), b"x" * 512}

    def test_who_asks_a_disk_without_power_waits_and_can_be_killed(self, disk):
        disk.halt()
        asking = subprocess.Popen([sys.executable, "-c", f"open({str(disk.folder / 'a')!r}, 'w')"])
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1.0)
        asking.kill()
        disk.cut(seed=1)
        assert asking.wait(30) < 0
        assert files(disk) == {}


class TestOurOwnWriters:
    """`appliance.disk` keeps its word on it, and the disk notices where a sync of ours is left out."""

    def test_each_durable_act_is_there_after_a_cut(self, disk):
        root = make_folder(disk.folder / "box" / "kept")
        write_file(root / "a", b"first")
        write_file(root / "a", b"second" * 1000)
        write_file(root / "b", b"gone")
        remove_file(root / "b")
        (root / ".new").mkdir()
        (root / ".new" / "inner").write_bytes(b"whole")
        keep_folder(root / ".new", root / "new")
        disk.cut(seed=1)
        assert files(disk) == {"box/kept/a": b"second" * 1000, "box/kept/new/inner": b"whole"}

    @pytest.mark.parametrize("forgotten", ["fsync", "fdatasync"])
    def test_it_notices_where_one_of_its_syncs_is_left_out(self, disk, monkeypatch, forgotten):
        monkeypatch.setattr(os, forgotten, lambda handle: None)
        write_file(disk.folder / "a", b"data")
        disk.cut(seed=1)
        assert files(disk) != {"a": b"data"}


def _insert(path: Path, synchronous: str, told: Callable[[int], None]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        # Soon and often: a checkpoint is where an order that is not kept does harm.
        connection.execute("PRAGMA wal_autocheckpoint=8")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)")
        (first,) = connection.execute("SELECT coalesce(max(number), 0) FROM rows").fetchone()
        for number in range(first + 1, first + 10_000):
            connection.execute("INSERT INTO rows VALUES (?, ?)", (number, "text" * 300))
            connection.commit()
            told(number)


def _insert_and_tell(path: Path, synchronous: str, into: int) -> None:
    def tell(number: int) -> None:
        os.write(into, number.to_bytes(4, "little"))

    with suppress(sqlite3.Error):
        _insert(path, synchronous, tell)


def cut_while_inserting(disk: LossyDisk, seed: int, synchronous: str) -> tuple[int, list[int] | None]:
    """Cut while a program commits rows; return the last row that it told of, and the rows that are there."""
    out, into = os.pipe()
    path = disk.folder / "rows.sqlite3"
    program = multiprocessing.get_context("fork").Process(
        target=_insert_and_tell, args=(path, synchronous, into)
    )
    program.start()
    os.close(into)
    last = 0
    with open(out, "rb", buffering=0) as told:
        for _ in range(10 + 7 * seed % 30):
            last = int.from_bytes(told.read(4), "little")
        disk.halt()
        assert program.pid is not None
        os.kill(program.pid, 9)
        disk.cut(seed=seed, survive=(0.0, 0.5, 0.9)[seed % 3], grain_bytes=(512, 4096)[seed % 2])
        program.join(30)
        while rest := told.read(4):
            last = int.from_bytes(rest, "little")
    try:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return last, [row[0] for row in connection.execute("SELECT number FROM rows")]
    except (sqlite3.DatabaseError, AssertionError):
        return last, None


class TestSqlite:
    """The ledger's engine works on it, and its own promise is seen to hold or not."""

    def test_what_was_committed_with_synchronous_full_is_there_after_every_cut(self, disk):
        for seed in range(6):
            last, found = cut_while_inserting(disk, seed, "FULL")
            assert found is not None
            assert found[:last] == list(range(1, last + 1))
            assert len(found) <= last + 1

    def test_what_was_committed_with_synchronous_off_is_not(self, tmp_path):
        with lossy_or_skip(tmp_path / "disk") as mounted:
            last, found = cut_while_inserting(mounted, 0, "OFF")
        assert found is None or len(found) < last


class TestWhatProgramsDo:
    """Everything that the box does with files, as on any other disk."""

    def test_locks_hold_between_processes(self, disk):
        look = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
        with (disk.folder / "lock").open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tried = subprocess.run(
                [sys.executable, "-c", look, held.name], capture_output=True, timeout=30, check=False
            )
        assert b"BlockingIOError" in tried.stderr

    def test_names_files_and_folders_are_as_elsewhere(self, disk):
        root = disk.folder
        (root / "f").mkdir(mode=0o700)
        (root / "f" / "a").write_bytes(b"x" * 3_000_000)
        (root / "f" / "a").rename(root / "f" / "b")
        (root / "link").symlink_to("f/b")
        os.link(root / "f" / "b", root / "hard")
        assert (root / "link").read_bytes() == (root / "hard").read_bytes() == b"x" * 3_000_000
        assert (root / "hard").stat().st_nlink == 2
        assert sorted(os.listdir(root)) == ["f", "hard", "link"]
        with pytest.raises(OSError, match="not empty") as refused:
            (root / "f").rmdir()
        assert refused.value.errno == errno.ENOTEMPTY
        with pytest.raises(FileExistsError):
            os.open(root / "hard", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        for number in range(300):
            (root / "f" / f"{number:03d}").touch()
        assert len(os.listdir(root / "f")) == 301
        os.truncate(root / "hard", 5)
        assert (root / "f" / "b").read_bytes() == b"xxxxx"
        (root / "f" / "b").chmod(0o640)
        assert (root / "hard").stat().st_mode & 0o777 == 0o640
        assert os.statvfs(root).f_bavail > 0

    def test_a_file_without_a_name_is_used_on(self, disk):
        with (disk.folder / "a").open("w+b", buffering=0) as file:
            (disk.folder / "a").unlink()
            file.write(b"still")
            file.seek(0)
            assert file.read() == b"still"

    def test_holes_read_as_zeros_and_room_may_be_asked_for(self, disk):
        make_segment(disk.folder / "part", disk.folder / "a", 2**20, fill_bytes=2**18)
        file = BlockFile(disk.folder / "a")
        block = aligned(3 * BLOCK_BYTES)
        block[:] = b"x" * len(block)
        file.write(0, block, durable=True)
        assert file.give_back(BLOCK_BYTES, BLOCK_BYTES)
        file.close()
        found = (disk.folder / "a").read_bytes()
        assert found[: 3 * BLOCK_BYTES] == b"x" * BLOCK_BYTES + bytes(BLOCK_BYTES) + b"x" * BLOCK_BYTES
        assert len(found) == 2**20

    def test_bytes_are_mapped_sent_and_seen_anew_when_written_past_the_page_cache(self, disk):
        make_segment(disk.folder / "part", disk.folder / "a", 4 * BLOCK_BYTES, fill_bytes=None)
        block = aligned(BLOCK_BYTES)
        block[:] = b"x" * BLOCK_BYTES
        with (disk.folder / "a").open("rb", buffering=0) as reading:
            with mmap.mmap(reading.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                assert mapped[:4] == bytes(4)
                file = BlockFile(disk.folder / "a")
                file.write(0, block, durable=True)
                file.close()
                assert mapped[:4] == b"xxxx"
            here, there = socket.socketpair()
            with here, there:
                assert os.sendfile(here.fileno(), reading.fileno(), 0, BLOCK_BYTES) == BLOCK_BYTES
                assert there.recv(BLOCK_BYTES, socket.MSG_WAITALL) == b"x" * BLOCK_BYTES

    def test_a_socket_may_lie_there(self, disk):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(disk.folder / "s"))
            server.listen()
            client.connect(str(disk.folder / "s"))


class TestWhereItCannotBe:
    """A machine without FUSE, or a user that may not mount."""

    def test_without_the_device_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(disks, "DEVICE", tmp_path / "fuse")
        with pytest.raises(NoLossyDisk, match="/dev/fuse"):
            LossyDisk(tmp_path / "disk")

    def test_whoever_is_not_root_is_told_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(NoLossyDisk, match="needs root"):
            LossyDisk(tmp_path / "disk")

    def test_the_tests_that_need_it_are_skipped_in_ci_too(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CI", "true")
        monkeypatch.setattr(disks, "DEVICE", tmp_path / "fuse")
        with pytest.raises(pytest.skip.Exception, match="no file system that forgets"):
            lossy_or_skip(tmp_path / "disk").__enter__()
