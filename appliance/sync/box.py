"""What every command on versions stands on: configuration, ledger, and the folder of installed packages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.core import log
from appliance.core.config import Config
from appliance.disk.durable import make_folder
from appliance.ledger import versions
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from appliance.sync.limits import DEFAULT, SyncLimits
from appliance.sync.store import ModelStore

_log = log.get("models")


class Refused(Exception):
    """The command was not carried out, and what served before serves on; every reason is given."""

    def __init__(self, faults: Sequence[str]) -> None:
        """Take every reason at once."""
        super().__init__("; ".join(faults))
        self.faults = list(faults)


class Rejected(Refused):
    """The package itself is why, and its row keeps the evidence: the same bytes will not do another time."""


@dataclass(frozen=True, kw_only=True)
class ModelBox:
    """One box, for whoever works on its versions; `by` is who asked."""

    config: Config
    ledger: Ledger
    by: str
    limits: SyncLimits = DEFAULT

    @property
    def store(self) -> ModelStore:
        """Return the folder of installed packages."""
        return ModelStore(root=self.root, limits=self.limits)

    @property
    def root(self) -> Path:
        """Return the storage root."""
        return self.config.storage.root

    def now(self) -> float:
        """Return the time, in epoch seconds."""
        return self.ledger.clock.now()

    def catalogue(self) -> Catalogue:
        """Return what serves each name now."""
        return Catalogue(self.ledger, self.config)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Work on the versions with nobody else, after what a command that died left behind is put right.

        Raises:
            Refused: the files would belong to another user than the box's.
            Busy: another command does not end.
        """
        self.check_owner()
        before = os.umask(0o077)
        try:
            with self.store.locked():
                self._tidy()
                yield
        finally:
            os.umask(before)

    def check_owner(self) -> None:
        """Make sure that what is written here belongs to the box's user.

        Raises:
            Refused: the files would belong to another.
        """
        owner = make_folder(self.root).stat().st_uid
        if os.geteuid() != owner:
            raise Refused(
                [f"run this as the user that the box runs as (number {owner}), who owns its storage"]
            )

    def _tidy(self) -> None:
        with self.ledger.write() as tx:
            for row in versions.release_interrupted(tx, at=self.now()):
                _log.warning("model.interrupted", model=row.name, version=row.version)
            kept = {row.digest for row in versions.everything(tx) if row.here}
        if left := self.store.sweep(kept):
            _log.warning("model.swept", folders=left)
