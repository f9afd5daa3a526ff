"""Which box this is: a UID made once and kept beside the data, written into every result (Device UID)."""

from __future__ import annotations

import uuid
from pathlib import Path

from appliance.disk.durable import make_folder, write_file

_NAME = "device_uid"


def device_uid(root: Path) -> str:
    """Return the box's UID, making it at the first start; durable on return."""
    path = make_folder(root) / _NAME
    if not path.exists():
        write_file(path, f"2.25.{uuid.uuid4().int}\n".encode())
    return path.read_text(encoding="ascii").strip()
