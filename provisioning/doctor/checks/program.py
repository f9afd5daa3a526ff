"""Which program this is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Finding, sound
from provisioning.doctor.site import Site


def _look(_site: Site, _subject: str) -> Iterator[Finding]:
    yield sound(f"readside {version('readside')} on Python {platform.python_version()}, {platform.machine()}")


CHECK = Check(id="program", about="the program", look=_look, faults=(), of_site=False)
