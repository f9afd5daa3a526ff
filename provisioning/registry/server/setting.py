"""What a server process is started with; it can be handed to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.core.clock import SYSTEM, Clock
from provisioning.registry.database.engine import url_of
from provisioning.registry.server.limits import DEFAULT, ServerLimits


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Where alerts are told; empty means nowhere.

    Attributes:
        webhook: an address that takes a POST of JSON.
        mail_relay: HOST:PORT of a relay that takes mail without log-in.
        mail_tls: whether the relay must speak STARTTLS with a certificate that holds.
    """

    webhook: str = ""
    mail_relay: str = ""
    mail_from: str = ""
    mail_to: str = ""
    mail_tls: bool = False

    @property
    def any(self) -> bool:
        """Say whether anybody is told."""
        return bool(self.webhook or self.mail_relay)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One registry as it is served.

    Attributes:
        folder: the registry's folder, which holds `public/` and, on the server, `online/`.
        database: SQLAlchemy's address; empty for a file in the folder.
        ways: where alerts are told.
        secure: whether people come over TLS, so that their cookies may say so.
    """

    folder: Path
    database: str = ""
    secure: bool = False
    ways: Ways = Ways()
    clock: Clock = SYSTEM
    limits: ServerLimits = DEFAULT

    @property
    def database_url(self) -> str:
        """Return the database's address."""
        return url_of(self.folder, self.database)
