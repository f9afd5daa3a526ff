"""The quarantine folder: bytes that cannot be trusted, kept where a person may look at them."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.core import log
from appliance.core.words import short
from appliance.disk.durable import DurableFile, make_folder, sync_folder
from appliance.ledger import events
from appliance.ledger.engine import Ledger
from appliance.spool.store import Spool

_log = log.get("sweep")
_FOLDER = "quarantine"
_COPY_BYTES = 2**20


def set_file_aside(ledger: Ledger, spool: Spool, name: str, fault: Exception) -> None:
    """Move a spool file out of the way."""
    folder = make_folder(spool.root / _FOLDER)
    source = spool.root / name
    os.rename(source, folder / source.name)
    sync_folder(folder)
    sync_folder(source.parent)
    _tell(ledger, source.name, fault)


def set_frame_aside(
    ledger: Ledger, path: Path, span: tuple[int, int], fault: Exception, *, root: Path
) -> None:
    """Copy `span`, byte offset and length, out of a segment; what cannot be read reads as zeros."""
    at, length = span
    folder = make_folder(root / _FOLDER)
    final = folder / f"{path.stem}-{at}.dcm"
    temporary = final.with_name(f".{final.name}.tmp")
    temporary.unlink(missing_ok=True)
    with path.open("rb", buffering=0) as source, DurableFile(temporary) as copy:
        for start in range(at, at + length, _COPY_BYTES):
            copy.write(_read(source.fileno(), start, min(_COPY_BYTES, at + length - start)))
        copy.commit(final)
    _tell(ledger, final.name, fault)


def _read(handle: int, start: int, length: int) -> bytes:
    try:
        return os.pread(handle, length, start).ljust(length, b"\0")
    except OSError:
        return bytes(length)


def _tell(ledger: Ledger, name: str, fault: Exception) -> None:
    _log.error("sweep.quarantined", fault=type(fault).__name__, file=short(name))
    with ledger.write() as tx:
        events.add(tx, "sweep.quarantined", at=ledger.clock.now(), file=name, fault=_said(fault))


def _said(fault: Exception) -> str:
    return f"the disk failed: {fault.strerror}" if isinstance(fault, OSError) else str(fault)
