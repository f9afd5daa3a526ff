"""Durable writes: their order, what a full disk leaves behind, and that a failed sync is fatal."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.disk import durable
from appliance.disk.durable import (
    DiskFault,
    DurableFile,
    NoSpace,
    make_folder,
    remove_file,
    sync_folder,
    write_file,
)

RECORDED = ("open", "write", "pwrite", "fdatasync", "fsync", "rename", "close")


class RecordedOs:
    """The operating system as `durable` sees it, with every call that matters for a power cut written down.

    Paths and handles are noted by name, so that a record reads as a sentence.
    """

    def __init__(self) -> None:
        self.record: list[str] = []
        self.names: dict[int, str] = {}
        self.faults: dict[str, list[OSError | None]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._recorded(name, real) if name in RECORDED else real

    def _recorded(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            fault = self.faults[name].pop(0) if self.faults.get(name) else None
            self.record.append(self._sentence(name, arguments))
            if fault is not None:
                raise fault
            answer = real(*arguments, **options)
            if name == "open":
                self.names[answer] = Path(arguments[0]).name
            return answer

        return call

    def _sentence(self, name: str, arguments: tuple[Any, ...]) -> str:
        shown = [
            self.names.get(each, str(each)) if isinstance(each, int) else Path(each).name
            for each in arguments
            if isinstance(each, int | str | Path)
        ]
        return " ".join([name, *(shown[:1] if name in ("open", "write", "pwrite") else shown)])

    def fail(self, name: str, number: int, *, after: int = 0) -> None:
        """Let a call fail once, after it worked some times."""
        self.faults[name] = [None] * after + [OSError(number, os.strerror(number))]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedOs:
    """The os layer of `durable`, recorded; faults are put in with `fail`."""
    layer = RecordedOs()
    monkeypatch.setattr(durable, "os", layer)
    return layer


def put(folder: Path, data: bytes = b"pixels") -> None:
    """Write one file the way the spool does."""
    with DurableFile(folder / "new.tmp") as file:
        file.write(data)
        file.commit(folder / "final")


class TestOrder:
    """Bytes, fdatasync, rename, fsync of the folder: each before the next."""

    def test_a_file_is_whole_before_it_has_its_name_and_the_name_is_durable_before_we_return(
        self, recorded, tmp_path
    ):
        put(tmp_path)
        assert recorded.record == [
            "open new.tmp",
            "write new.tmp",
            "fdatasync new.tmp",
            "rename new.tmp final",
            "close new.tmp",
            f"open {tmp_path.name}",
            f"fsync {tmp_path.name}",
            f"close {tmp_path.name}",
        ]
        assert (tmp_path / "final").read_bytes() == b"pixels"

    def test_a_head_is_written_before_the_sync(self, recorded, tmp_path):
        with DurableFile(tmp_path / "new.tmp") as file:
            file.write(b"0000body")
            file.write_head(b"HEAD")
            file.commit(tmp_path / "final")
        assert recorded.record[1:5] == [
            "write new.tmp",
            "pwrite new.tmp",
            "fdatasync new.tmp",
            "rename new.tmp final",
        ]
        assert (tmp_path / "final").read_bytes() == b"HEADbody"

    def test_a_short_write_goes_on_where_it_stopped(self, recorded, tmp_path, monkeypatch):
        real = os.write
        monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:3]))
        put(tmp_path, b"0123456789")
        assert recorded.record.count("write new.tmp") == 4
        assert (tmp_path / "final").read_bytes() == b"0123456789"

    def test_a_file_in_place_is_replaced_whole(self, recorded, tmp_path):
        (tmp_path / "state").write_bytes(b"old")
        write_file(tmp_path / "state", b"new")
        syncs = [
            line.split()[0] for line in recorded.record if line.split()[0] in ("fdatasync", "rename", "fsync")
        ]
        assert syncs == ["fdatasync", "rename", "fsync"]
        assert (tmp_path / "state").read_bytes() == b"new"
        assert [path.name for path in tmp_path.iterdir()] == ["state"]

    def test_every_new_folder_is_made_durable_in_its_parent(self, recorded, tmp_path):
        make_folder(tmp_path / "a" / "b")
        assert [line for line in recorded.record if line.startswith("fsync")] == [
            f"fsync {tmp_path.name}",
            "fsync a",
        ]
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
        recorded.record.clear()
        make_folder(tmp_path / "a" / "b")
        assert recorded.record == []

    def test_a_removal_is_durable(self, recorded, tmp_path):
        (tmp_path / "gone").write_bytes(b"x")
        remove_file(tmp_path / "gone")
        remove_file(tmp_path / "gone")
        assert recorded.record.count(f"fsync {tmp_path.name}") == 2
        assert list(tmp_path.iterdir()) == []


class TestPromise:
    """What is there, and for whom."""

    def test_only_the_owner_reads_a_file(self, tmp_path):
        put(tmp_path)
        assert (tmp_path / "final").stat().st_mode & 0o777 == 0o600

    def test_a_file_that_was_not_committed_is_gone(self, tmp_path):
        with DurableFile(tmp_path / "new.tmp") as file:
            file.write(b"half")
        assert list(tmp_path.iterdir()) == []

    def test_an_error_of_the_caller_leaves_nothing(self, tmp_path):
        with pytest.raises(RuntimeError), DurableFile(tmp_path / "new.tmp") as file:
            file.write(b"half")
            raise RuntimeError
        assert list(tmp_path.iterdir()) == []

    def test_a_temporary_name_that_exists_is_nobodys_to_take(self, tmp_path):
        (tmp_path / "new.tmp").write_bytes(b"another's")
        with pytest.raises(DiskFault, match="File exists"):
            DurableFile(tmp_path / "new.tmp")
        assert (tmp_path / "new.tmp").read_bytes() == b"another's"

    @pytest.mark.parametrize("act", ["write", "write_head", "commit"])
    def test_a_file_that_has_ended_cannot_be_used(self, tmp_path, act):
        file = DurableFile(tmp_path / "new.tmp")
        file.abandon()
        with pytest.raises(AssertionError):
            getattr(file, act)(tmp_path / "final" if act == "commit" else b"x")

    def test_what_a_crash_left_of_a_former_write_is_no_hindrance(self, tmp_path):
        (tmp_path / f".state.{os.getpid()}.tmp").write_bytes(b"torn")
        write_file(tmp_path / "state", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["state"]


class TestFaults:
    """A full disk loses only the new file; any other fault ends the process."""

    @pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
    @pytest.mark.parametrize("call", ["open", "write", "fdatasync", "rename", "fsync"])
    def test_any_failing_call_is_a_disk_fault(self, recorded, tmp_path, call, number):
        recorded.fail(call, number)
        with pytest.raises(DiskFault, match=os.strerror(number)):
            put(tmp_path)
        assert not (tmp_path / "new.tmp").exists()
        # After the rename the file may be there; it was never acknowledged, and the sweep finds it.
        assert (tmp_path / "final").exists() == (call == "fsync")

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    @pytest.mark.parametrize("call", ["open", "write", "fdatasync", "rename"])
    def test_a_full_disk_is_no_disk_fault(self, recorded, tmp_path, call, number):
        recorded.fail(call, number)
        with pytest.raises(NoSpace):
            put(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_fills_up_half_way_leaves_nothing(self, recorded, tmp_path):
        recorded.fail("write", errno.ENOSPC, after=2)
        with pytest.raises(NoSpace), DurableFile(tmp_path / "new.tmp") as file:
            for _ in range(3):
                file.write(b"part")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_sync_is_not_tried_again(self, recorded, tmp_path):
        recorded.fail("fdatasync", errno.EIO)
        with pytest.raises(DiskFault):
            put(tmp_path)
        assert recorded.record.count("fdatasync new.tmp") == 1
        assert "rename new.tmp final" not in recorded.record

    def test_a_disk_that_refuses_the_removal_too_is_still_a_disk_fault(self, recorded, tmp_path, monkeypatch):
        def refuse(_path: Path, missing_ok: bool = False) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        recorded.fail("write", errno.EIO)
        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(DiskFault, match="Input/output error"):
            put(tmp_path)
        with pytest.raises(DiskFault, match="Read-only"):
            remove_file(tmp_path / "final")

    def test_a_replacement_that_fails_leaves_the_older_file(self, recorded, tmp_path):
        (tmp_path / "state").write_bytes(b"old")
        recorded.fail("fdatasync", errno.ENOSPC)
        with pytest.raises(NoSpace):
            write_file(tmp_path / "state", b"new")
        assert (tmp_path / "state").read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["state"]

    def test_a_folder_that_is_gone_is_a_disk_fault(self, tmp_path):
        with pytest.raises(DiskFault, match="No such file"):
            sync_folder(tmp_path / "none")

    def test_no_handle_stays_open_whatever_fails(self, recorded, tmp_path):
        handles = Path("/proc/self/fd")
        before = len(list(handles.iterdir()))
        for call in ("write", "fdatasync", "rename", "fsync"):
            recorded.fail(call, errno.EIO)
            with pytest.raises(DiskFault):
                put(tmp_path)
        assert len(list(handles.iterdir())) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        timeout=30,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def test_a_disk_that_is_really_full_keeps_what_it_has_and_takes_more_once_there_is_room(small_disk):
    half = bytes(600 * 1024)
    write_file(small_disk / "kept", half)
    with pytest.raises(NoSpace, match="No space left"):
        write_file(small_disk / "too much", half)
    assert [path.name for path in small_disk.iterdir()] == ["kept"]
    assert (small_disk / "kept").read_bytes() == half
    remove_file(small_disk / "kept")
    write_file(small_disk / "now it fits", half)
