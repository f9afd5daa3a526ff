"""Which model packages are on this box: those that ship with Readside and those in the site's folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.catalogue import shipped
from models.manifest import ManifestError
from models.package import Package, PackageError, open_package


def find_packages(folders: Sequence[Path]) -> tuple[dict[str, Package], list[str]]:
    """Open every package and return them by name, with a sentence for each that cannot be used.

    Of several versions of one name the highest is taken; a site's folder wins over a shipped package of
    equal version.
    """
    found: dict[str, Package] = {}
    faults: list[str] = []
    for path in [*shipped(), *_site_packages(folders, faults)]:
        try:
            package = open_package(path)
        except (PackageError, ManifestError) as error:
            faults += [f"model package {path.name}: {fault}" for fault in error.faults]
            continue
        name = package.manifest.name
        if name not in found or _order(package) >= _order(found[name]):
            found[name] = package
    return found, faults


def _site_packages(folders: Sequence[Path], faults: list[str]) -> list[Path]:
    paths: list[Path] = []
    for folder in folders:
        if folder.is_dir():
            paths += sorted(path for path in folder.iterdir() if (path / "manifest.toml").is_file())
        else:
            faults.append(f"models.folders: {folder} is not a folder")
    return paths


def _order(package: Package) -> tuple[int, ...]:
    return tuple(int(part) for part in package.manifest.version.split("-")[0].split("."))
