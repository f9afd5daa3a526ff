"""Whole blocks: written durably in one call, and as durably where the file system cannot."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.disk import blocks
from appliance.disk.blocks import BLOCK_BYTES, BlockFile, aligned, whole_blocks
from appliance.disk.durable import DiskFault, NoSpace


def made(tmp_path: Path, size: int = 4 * BLOCK_BYTES) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    return path


def block(value: int, count: int = 1) -> memoryview:
    view = aligned(count * BLOCK_BYTES)
    view[:] = bytes([value]) * len(view)
    return view


@pytest.mark.parametrize(("length", "whole"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)])
def test_lengths_are_rounded_up_to_whole_blocks(length, whole):
    assert whole_blocks(length) == whole


def test_what_is_written_is_there_and_nothing_else_is_touched(tmp_path):
    path = made(tmp_path)
    file = BlockFile(path)
    file.write(BLOCK_BYTES, block(7), durable=True)
    file.write(3 * BLOCK_BYTES, block(8), durable=False)
    file.sync()
    file.close()
    assert path.read_bytes() == bytes(4096) + b"\7" * 4096 + bytes(4096) + b"\10" * 4096


def test_a_durable_write_is_one_call_that_syncs(tmp_path, monkeypatch):
    calls: list[Any] = []
    real = os.pwritev

    def noted(*arguments):
        calls.append(arguments[3:])
        return real(*arguments)

    monkeypatch.setattr(os, "pwritev", noted)
    monkeypatch.setattr(os, "fdatasync", lambda _: calls.append("fdatasync"))
    file = BlockFile(made(tmp_path))
    file.write(0, block(1, 2), durable=True)
    file.close()
    assert calls == [(os.RWF_DSYNC,)]


def test_where_a_write_cannot_sync_a_sync_follows_it(tmp_path, monkeypatch):
    synced: list[int] = []
    real = os.pwritev

    def refuses(handle, data, at, *flags):
        if flags:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(handle, data, at)

    monkeypatch.setattr(os, "pwritev", refuses)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    path = made(tmp_path)
    file = BlockFile(path)
    file.write(0, block(1), durable=True)
    file.write(BLOCK_BYTES, block(2), durable=True)
    file.close()
    assert len(synced) == 2
    assert path.read_bytes()[:8192] == b"\1" * 4096 + b"\2" * 4096


def test_a_file_system_without_direct_writes_is_written_all_the_same(tmp_path, monkeypatch):
    real = os.open

    def refuses(path, flags, *rest):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuses)
    path = made(tmp_path)
    file = BlockFile(path)
    file.write(0, block(3), durable=True)
    file.close()
    assert path.read_bytes()[:4096] == b"\3" * 4096


def test_a_write_that_stops_inside_a_block_goes_on_at_its_start(tmp_path, monkeypatch):
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda h, d, at, *f: min(real(h, d, at, *f), 6000))
    path = made(tmp_path)
    file = BlockFile(path)
    file.write(0, block(5, 3), durable=True)
    file.close()
    assert path.read_bytes()[: 3 * 4096] == b"\5" * (3 * 4096)


def test_a_write_that_makes_no_way_is_a_disk_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pwritev", lambda *_: 0)
    file = BlockFile(made(tmp_path))
    with pytest.raises(DiskFault, match="no way"):
        file.write(0, block(1), durable=True)
    file.close()


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EIO, DiskFault), (errno.EROFS, DiskFault), (errno.ENOSPC, NoSpace)]
)
def test_an_error_says_what_it_means(tmp_path, monkeypatch, number, kind):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwritev", fails)
    file = BlockFile(made(tmp_path))
    with pytest.raises(kind, match=os.strerror(number)):
        file.write(0, block(1), durable=True)
    file.close()


def test_blocks_that_are_given_back_read_as_zeros_and_free_their_room(tmp_path):
    path = made(tmp_path)
    file = BlockFile(path)
    file.write(0, block(9, 4), durable=True)
    before = path.stat().st_blocks
    assert file.give_back(BLOCK_BYTES, 2 * BLOCK_BYTES)
    file.close()
    assert path.stat().st_size == 4 * BLOCK_BYTES
    assert path.stat().st_blocks < before
    assert path.read_bytes() == b"\11" * 4096 + bytes(8192) + b"\11" * 4096


def test_a_file_system_that_knows_no_holes_is_told_of(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(blocks, "punch", refuses)
    file = BlockFile(made(tmp_path))
    assert not file.give_back(0, BLOCK_BYTES)
    file.close()


def test_a_file_grows_and_is_cut(tmp_path):
    path = made(tmp_path)
    file = BlockFile(path)
    file.grow(16 * BLOCK_BYTES)
    file.write(15 * BLOCK_BYTES, block(1), durable=True)
    assert path.stat().st_size == 16 * BLOCK_BYTES
    file.cut(BLOCK_BYTES)
    file.close()
    assert path.stat().st_size == file.size == BLOCK_BYTES


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(made(tmp_path))
    with pytest.raises(DiskFault):
        BlockFile(tmp_path / "link")
