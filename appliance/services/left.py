"""What left this site, for the console's page: the outbox's notes, and what their bytes say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.health.outbox import Departure, Outbox, folder_of
from appliance.health.schema import SchemaFault, decode
from appliance.health.sender import WAY

_MAIL_CHARACTERS_MAX = 2_000


class LeftOf:
    """One box's; before anything left there is no file, and looking makes none."""

    def __init__(self, config: Config) -> None:
        self._folder = folder_of(config.storage.root)
        self._outbox = Outbox(folder=self._folder)

    def departures(self, count: int, *, before: int | None = None) -> Sequence[Departure]:
        """Return what left, the newest first."""
        return self._outbox.departures(count, before=before) if self._folder.is_dir() else ()

    def departure(self, number: int) -> Departure | None:
        """Return one of what left."""
        return self._outbox.departure(number) if self._folder.is_dir() else None

    def number(self, name: str) -> float | None:
        """Return a number of the outbox."""
        return self._outbox.number(name) if self._folder.is_dir() else None

    def said(self, gone: Any) -> list[Mapping[str, Any]]:
        """Return what bytes say: a table for each record of a batch, or one for a notice."""
        if gone.way == WAY:
            try:
                return [
                    {"kind": one.kind.name, "seq": one.seq, "at": as_text(one.at), **one.values}
                    for one in decode(gone.body)
                ]
            except SchemaFault as fault:
                return [{"kind": "unread", "reason": str(fault)}]
        if gone.way == "webhook":
            return [{"kind": "notice", **json.loads(gone.body)}]
        return [{"kind": "mail", "text": gone.body.decode("utf-8", "replace")[:_MAIL_CHARACTERS_MAX]}]
