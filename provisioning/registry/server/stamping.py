"""Stamps the signed lists anew, day by day, so that nobody has to.

Promises: lists whose stamps are a day old are stamped; those of a registry without keys are left. Of the
director's former lists those stay that a device may be in the middle of reading.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

import structlog

from appliance.core import log
from appliance.sync.release import DIRECTOR, IMAGE
from provisioning.registry.book import Book
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.room import Room

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
AGE_SECONDS_MAX: Final = 86_400.0
# Each is as long as the fleet is large, and each assignment makes one.
DIRECTOR_LISTS_KEPT: Final = 200


def stamp(room: Room) -> None:
    """Stamp both repositories if a stamp is a day old.

    Raises:
        RegistryFault: a stamp cannot be read, or the server's keys cannot be opened.
    """
    book = Book(folder=room.setting.folder, clock=room.clock)
    if not all(book.may_stamp(repository) for repository in (IMAGE, DIRECTOR)):
        return
    first_ends_at = min(stamp_ends_at(book, repository) for repository in (IMAGE, DIRECTOR))
    if room.clock.now() - (first_ends_at - book.limits.online_seconds) < AGE_SECONDS_MAX:
        return
    with book.alone():
        book.stamp_all()
        book.lists(DIRECTOR).forget_former(keep=DIRECTOR_LISTS_KEPT)
    _log.info("registry.stamped")


def stamp_ends_at(book: Book, repository: str) -> float:
    """Return when the newest stamp of a repository ends, in epoch seconds.

    Raises:
        RegistryFault: it cannot be read.
    """
    try:
        said = json.loads((book.layout.metadata(repository) / "timestamp.json").read_bytes())
        return datetime.fromisoformat(said["signed"]["expires"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RegistryFault(f"the {repository} repository's stamp cannot be read") from error
