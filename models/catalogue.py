"""Where the packages that ship with the product lie."""

from pathlib import Path

LIBRARY = Path(__file__).parent / "library"


def shipped() -> list[Path]:
    """Give the folder of each package that ships, by name."""
    return sorted(path.parent for path in LIBRARY.glob("*/manifest.toml"))


def find(name: str) -> Path | None:
    """Give the folder of the shipped package `name`; None when there is none."""
    return next((path for path in shipped() if path.name == name), None)
