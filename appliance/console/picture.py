"""The overlay pictures: files that a ledger row names, and only under the spool's root."""

from __future__ import annotations

from pathlib import Path

from appliance.console.faults import Fault
from appliance.console.limits import Limits
from appliance.core import log

_log = log.get("console")
_PNG = b"\x89PNG\r\n\x1a\n"


def picture(spool_root: Path, name: str, limits: Limits) -> bytes:
    """Return the PNG that a row of the ledger names.

    Raises:
        Fault: 404, the file is gone, lies elsewhere, is too large or is no PNG.
    """
    path, root = (spool_root / name).resolve(), spool_root.resolve()
    data = _read(path, limits.preview_bytes_max) if path.is_relative_to(root) else b""
    if not data.startswith(_PNG):
        _log.warning("console.no_picture")
        raise Fault(404, "The picture is no longer on the box.")
    return data


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError:
        return b""
    return data if len(data) <= bytes_max else b""
