"""The storage root: whether it is there, and whether the doctor is who owns it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

MISSING = Fault(
    id="storage.missing",
    cause="the folder under `[storage]` root is not there",
    fix="mount its disk, or start the box once: `readside run`",
    who=Who.TECHNICIAN,
)
USER = Fault(
    id="storage.another-user",
    cause="the storage root belongs to another user than the doctor runs as",
    fix="run the doctor as the user that the box runs as; what it writes would shut the box out otherwise",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    try:
        owner = site.root.stat().st_uid
    except OSError as error:
        yield wrong(MISSING, f"{site.root}: {error.strerror}")
        return
    if not site.root.is_dir():
        yield wrong(MISSING, f"{site.root} is no folder")
    elif owner != os.geteuid():
        yield wrong(USER, f"{site.root} belongs to {_name(owner)}, the doctor runs as {_name(os.geteuid())}")
    else:
        yield sound(f"{site.root} is there and belongs to {_name(owner)}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


CHECK = Check(
    id="storage", about="the storage root", look=_look, faults=(MISSING, USER), needs=("configuration",)
)
