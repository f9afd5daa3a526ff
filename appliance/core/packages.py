"""Which model packages lie on this box: those that ship, those of the site's folders, those installed.

An installed package lies in a folder that is named by its digest, so that no two can be mixed up.
Which of them serves is a row of the ledger (`appliance.ledger.catalogue`), not a matter of files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from models.catalogue import LIBRARY, shipped
from models.manifest import ManifestError
from models.package import Package, PackageError, open_package

_ALGORITHM = "sha256:"


class Origin(StrEnum):
    """Where a package came from."""

    SHIPPED = "shipped"
    FOLDER = "folder"
    INSTALLED = "installed"


def find_packages(folders: Sequence[Path]) -> tuple[dict[str, Package], list[str]]:
    """Open every package that needs no installing; return them by name, and a sentence for each unusable one.

    Of several versions of one name the highest is taken; a site's folder wins over a shipped package of
    equal version.
    """
    found, faults = every_package(folders)
    return highest(found), faults


def every_package(folders: Sequence[Path]) -> tuple[list[Package], list[str]]:
    """Open every shipped package and every one of the site's folders, of all versions, shipped ones first."""
    found: list[Package] = []
    faults: list[str] = []
    for path in [*shipped(), *_site_packages(folders, faults)]:
        try:
            found.append(open_package(path))
        except (PackageError, ManifestError) as error:
            faults += [f"model package {path.name}: {fault}" for fault in error.faults]
    return found, faults


def highest(packages: Iterable[Package]) -> dict[str, Package]:
    """Take the highest version of each name; of equal ones the last."""
    found: dict[str, Package] = {}
    for package in packages:
        name = package.manifest.name
        if name not in found or _order(package) >= _order(found[name]):
            found[name] = package
    return found


def origin_of(package: Package) -> Origin:
    """Say whether a package that was not installed ships with Readside or lies in a folder of the site."""
    return Origin.SHIPPED if package.root.parent == LIBRARY else Origin.FOLDER


def models_folder(root: Path) -> Path:
    """Return where installed packages lie under the storage root."""
    return root / "models"


def anything_installed(root: Path) -> bool:
    """Say whether a package was ever installed on this box; where none was, no ledger need be asked."""
    return models_folder(root).is_dir()


def installed_folder(root: Path, digest: str) -> Path:
    """Return where the installed package of a digest ("sha256:<hex>") lies, whether or not it is there."""
    return models_folder(root) / digest.removeprefix(_ALGORITHM)


def open_installed(root: Path, digest: str) -> Package:
    """Open an installed package and hold its bytes against the digest it was installed under.

    Raises:
        PackageError: it is gone, faulty, or not the bytes that were installed.
    """
    folder = installed_folder(root, digest)
    if not folder.is_dir():
        raise PackageError(["its files are not on this box"])
    try:
        package = open_package(folder)
    except OSError as error:
        raise PackageError([f"its files cannot be read: {error.strerror}"]) from error
    if package.digest != digest:
        raise PackageError([f"its files were changed: installed as {digest}, now {package.digest}"])
    return package


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
