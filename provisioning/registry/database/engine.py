"""Open the registry's database: SQLite in WAL beside the tree, or PostgreSQL where several machines serve.

The two kinds of transaction, their queue and their durability are the ledger's (`appliance.ledger.engine`).
"""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import SYSTEM, Clock
from appliance.ledger.engine import Ledger, LedgerRefused, Schema, open_ledger
from provisioning.registry.faults import RegistryFault

FILE = "registry.sqlite"
SCHEMA = Schema(
    noun="the registry's database",
    setting="--database",
    migrations=Path(__file__).with_name("migrations"),
    lock_key=0x5EAD51DF,
    file_advice="Restore it from a backup; the signed tree beside it is not touched",
)
# One database and its two kinds of transaction.
Database = Ledger


def url_of(folder: Path, given: str = "") -> str:
    """Return the address of a registry's database: the one that was given, else a file in its folder."""
    return given or f"sqlite:///{folder.resolve() / FILE}"


def open_database(url: str, *, clock: Clock = SYSTEM) -> Database:
    """Open the registry's database, bringing its tables up to date first.

    Raises:
        RegistryFault: it cannot be opened, is damaged, or was written by a newer Readside.
    """
    try:
        return open_ledger(url, clock=clock, schema=SCHEMA)
    except LedgerRefused as error:
        raise RegistryFault(str(error)) from error
