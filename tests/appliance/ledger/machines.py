"""Where a state machine's ledger lies: in a file of its own, or in a database of its own on a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from appliance.ledger.engine import Ledger, open_ledger


class Walked(RuleBasedStateMachine):
    """A machine with a ledger, a new one for each walk."""

    # The server that the fixture `on_server` gives; none: each ledger is a file.
    cluster: ClassVar[Any] = None

    def __init__(self) -> None:
        """Open an empty ledger."""
        super().__init__()
        self.ledger, self._gone = self._on_server() if self.cluster is not None else self._in_folder()

    def teardown(self) -> None:
        """Close and remove it."""
        self.ledger.close()
        self._gone()

    def _in_folder(self) -> tuple[Ledger, Callable[[], None]]:
        folder = tempfile.TemporaryDirectory()
        return open_ledger(f"sqlite:///{Path(folder.name) / 'ledger.sqlite3'}"), folder.cleanup

    def _on_server(self) -> tuple[Ledger, Callable[[], None]]:
        name = self.cluster.database(template="filled")
        return open_ledger(self.cluster.url(name)), lambda: self.cluster.drop(name)
