"""Names that a FAT32 stick can hold, whatever system reads it.

The rules are those of the FAT specification of 2000 (long names) and of the systems that forbid more than it:
no control characters and none of those that mean something in a path or a pattern, no dot or space at the
end, none of the old device names; and names that differ in case only are one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def check_names(paths: Iterable[str], *, limits: BundleLimits = DEFAULT) -> None:
    """Make sure that a stick can hold files under these paths, each under its own name.

    Raises:
        BundleFault: one cannot be a name there, or two would be the same.
    """
    spelt: dict[str, str] = {}
    for path in paths:
        steps = PurePosixPath(path).parts
        for depth in range(1, len(steps) + 1):
            here = "/".join(steps[:depth])
            _check(steps[depth - 1], limits)
            if (other := spelt.setdefault(here.casefold(), here)) != here:
                raise BundleFault(
                    f"{here} and {other} differ in case only, and are one name on a stick: give one of them"
                    " another name"
                )


def _check(name: str, limits: BundleLimits) -> None:
    if (
        len(name) > limits.name_characters_max
        or _FORBIDDEN.search(name)
        or _DEVICE.fullmatch(name)
        or name != name.rstrip(" .")
    ):
        raise BundleFault(f"{name!r} cannot be a name on a stick (FAT32): give it another")
