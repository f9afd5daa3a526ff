"""Secrets that systemd hands to a service (systemd.exec(5), LoadCredential).

A setting that names a file may say `credential:FOLDER/NAME`: a file of root's that no service could open.

Promises: under systemd the service's own copy is meant, elsewhere the file itself.
Never: opens a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator

SCHEME: Final = "credential:"
FOLDER: Final = Path("/etc/readside/credentials")
_HANDED_OVER: Final = "CREDENTIALS_DIRECTORY"


def _placed(entry: object) -> object:
    """Return where a credential lies; anything else as it is."""
    if not isinstance(entry, str) or not entry.startswith(SCHEME):
        return entry
    folder, slash, name = entry.removeprefix(SCHEME).partition("/")
    if not slash or not folder.isalnum() or "/" in name or not name.strip("."):
        raise ValueError(f"{entry}: is written as {SCHEME}FOLDER/NAME, a file of {FOLDER}/FOLDER")
    handed_over = os.environ.get(_HANDED_OVER)
    # A folder is handed over file by file, each with the folder's name before its own.
    return Path(handed_over) / f"{folder}_{name}" if handed_over else FOLDER / folder / name


SecretFile = Annotated[Path, BeforeValidator(_placed)]
