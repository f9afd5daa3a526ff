"""The programs that make the packages, loaded for what they know of held-out data."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "models"


def script(name: str) -> ModuleType:
    """Load scripts/models/NAME.py without running it; the path is left as it was."""
    specification = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    path = list(sys.path)
    # A dataclass looks its own module up while it is made.
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules[name]
        sys.path[:] = path
    return module
