"""What of this process's environment an engine's child may know: nothing that was not named."""

from __future__ import annotations

import os
from collections.abc import Collection


def handed_on(names: Collection[str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """Give the variables of these names, and those that begin with one of `prefixes`."""
    return {name: value for name, value in os.environ.items() if name in names or name.startswith(prefixes)}
