"""What a server process is started with; it can be handed to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import SYSTEM, Clock
from provisioning.registry.database.engine import url_of
from provisioning.registry.server.limits import DEFAULT, ServerLimits


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One registry as it is served.

    Attributes:
        folder: the registry's folder, which holds `public/` and, on the server, `online/`.
        database: SQLAlchemy's address; empty for a file in the folder.
        secure: whether people come over TLS, so that their cookies may say so.
    """

    folder: Path
    database: str = ""
    secure: bool = False
    clock: Clock = SYSTEM
    limits: ServerLimits = DEFAULT

    @property
    def database_url(self) -> str:
        """Return the database's address."""
        return url_of(self.folder, self.database)
