"""Who acts at the registry's command line, as its audit trail and its four eyes know them."""

from __future__ import annotations

import getpass
from typing import Final

COMMAND_LINE: Final = "command line: "


def operator() -> str:
    """Return the name of whoever runs this command: no account of the registry can be called so."""
    return f"{COMMAND_LINE}{getpass.getuser()}"


def person(name: str) -> str:
    """Return whom a name in the audit trail means: the same at the command line and logged in."""
    return name.removeprefix(COMMAND_LINE)
