"""Prints the parameters and defaults of MONAI's transforms and inferers, by name, as JSON."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from typing import Any


def main(names: list[str]) -> None:
    """Print one object."""
    transforms: Any = importlib.import_module("monai.transforms")
    inferers: Any = importlib.import_module("monai.inferers")
    print(json.dumps({name: _parameters(transforms, inferers, name) for name in names}))


def _parameters(transforms: Any, inferers: Any, name: str) -> dict[str, Any] | None:
    """Parameters and what they are when nobody says; None where there is no such class (any more)."""
    kind = getattr(transforms, f"{name}d", None) or getattr(inferers, name, None)
    if kind is None:
        return None
    known = inspect.signature(kind.__init__).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = [one for one in known if one.name != "self" and one.kind in plain]
    return {one.name: None if one.default is inspect.Parameter.empty else str(one.default) for one in named}


if __name__ == "__main__":
    main(sys.argv[1:])
