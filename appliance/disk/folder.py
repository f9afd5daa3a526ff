"""Whole folders that must survive a power cut: filled under a temporary name, renamed when all is safe.

Promises: a folder under its final name holds everything that was put into it; a folder under a temporary
name was never promised to anybody.
Never: merges. What lay under the final name goes first, so a crash in between leaves nothing there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from appliance.disk.durable import FILE_MODE, FOLDER_MODE, DiskFault, sync_folder


def keep_folder(temporary: Path, final: Path) -> None:
    """Give a filled folder its final name; both lie in one parent. It is durable on return.

    Raises:
        DiskFault: the disk failed, or `temporary` holds something that is neither a file nor a folder.
    """
    try:
        _sync_below(temporary)
        remove_folder(final)
        os.rename(temporary, final)
    except OSError as error:
        raise DiskFault(f"{final.parent.name}: {error.strerror}") from error
    sync_folder(final.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder and all it holds; one that is already gone is no error.

    It loses its name first: a folder that is half removed is never found under it.

    Raises:
        DiskFault: the disk failed.
    """
    dying = path.with_name(f".{path.name}.{os.getpid()}.gone")
    try:
        os.rename(path, dying)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DiskFault(f"{path.parent.name}: {error.strerror}") from error
    sync_folder(path.parent)
    shutil.rmtree(dying, ignore_errors=True)


def _sync_below(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DiskFault(f"{folder.name}: holds something that is not a plain file")
        if path.is_dir():
            path.chmod(FOLDER_MODE)
            _sync_below(path)
            continue
        path.chmod(FILE_MODE)
        _sync_file(path)
    sync_folder(folder)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
