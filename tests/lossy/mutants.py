"""Boxes of which one sync was left out: what the tests of power cuts must find.

usage: python -m tests.lossy.mutants NAME OPTIONS OF scripts.night.supervise
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from appliance.disk import durable, folder, segment, spares
from appliance.disk.blocks import BlockFile
from appliance.ledger import engine


def _segments_unsynced() -> None:
    real = BlockFile._write_once
    BlockFile._write_once = lambda self, at, data, *, durable: real(self, at, data, durable=False)  # type: ignore[method-assign]


def _folders_unsynced() -> None:
    for module in (durable, folder, segment, spares):
        module.sync_folder = lambda path: None  # type: ignore[attr-defined]


def _releases_unsynced() -> None:
    BlockFile.sync = lambda self: None  # type: ignore[method-assign]


def _ledger_unsynced() -> None:
    real = engine._set_up_sqlite

    def set_up(engine: sa.Engine) -> None:
        real(engine)
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))

    engine._set_up_sqlite = set_up
    engine._assert_durable = lambda engine: None


MUTANTS: Mapping[str, Callable[[], None]] = {
    "segments": _segments_unsynced,
    "folders": _folders_unsynced,
    "releases": _releases_unsynced,
    "ledger": _ledger_unsynced,
}


def main() -> int:
    """Supervise a box that lacks a sync."""
    # Not above: whoever only wants the names of the mutants needs no box.
    from scripts.night import supervise

    MUTANTS[sys.argv.pop(1)]()
    return supervise.main()


if __name__ == "__main__":
    sys.exit(main())
