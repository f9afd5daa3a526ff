"""A model package: a folder, or a zip of it, that holds a manifest, a network and its golden cases.

Promises: a package that opens has been read whole and checked whole, and its digest names exactly these
bytes; the same files give the same digest as a folder and as a zip, on every machine.
Never: runs, imports or unpacks code. A package with a file this format does not know is refused.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.archive import ArchiveError, unpack
from models.archive import pack as _pack
from models.limits import PackageLimits
from models.manifest import Manifest, ManifestError, load
from models.network import faults_of

MANIFEST = "manifest.toml"
MODEL_CARD = "MODEL_CARD.md"
GOLDEN = "golden"
_KNOWN_SUFFIXES = (".md", ".txt", ".onnx", ".npz", ".toml", ".json")


class PackageError(ValueError):
    """The package cannot be used; `faults` lists every reason."""

    def __init__(self, faults: list[str]) -> None:
        """Take every fault at once."""
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Package:
    """Hold an opened package: where it lies, what it says, and the digest that names it ("sha256:<hex>")."""

    root: Path
    manifest: Manifest
    digest: str

    def onnx_path(self) -> Path:
        """Give the network's file."""
        return self.root / self.manifest.network

    def golden_paths(self) -> list[Path]:
        """Give the golden cases, by name."""
        return sorted((self.root / GOLDEN).glob("*.npz"))


def open_package(
    path: Path, *, unpack_into: Path | None = None, limits: PackageLimits | None = None
) -> Package:
    """Open and check the package at `path`.

    A zip is unpacked under `unpack_into`, an existing folder of the caller's, who also clears it away.

    Raises:
        PackageError: anything about it is wrong; all faults that could be found are listed.
    """
    limits = limits or PackageLimits()
    root = _folder_of(path, unpack_into, limits)
    faults = _file_faults(root, limits)
    try:
        manifest = load(root / MANIFEST)
    except ManifestError as error:
        said = [f"{MANIFEST}: {fault}" for fault in error.faults]
        network_faults = _network_faults(root, error.about_network, limits) if error.about_network else []
        raise PackageError(said + faults + network_faults) from error
    faults += _network_faults(root, manifest, limits)
    if faults:
        raise PackageError(faults)
    return Package(root=root, manifest=manifest, digest=digest_of(root, manifest))


def _network_faults(root: Path, manifest: Manifest, limits: PackageLimits) -> list[str]:
    """Hold the network against what the manifest says of it.

    A link is a fault of its own, and what it leads to is never read; nor is more than a package may hold.
    """
    network = root / manifest.network
    if network.is_symlink() or _bytes_of(network) > limits.bytes_max:
        return []
    return faults_of(network, manifest)


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def digest_of(root: Path, manifest: Manifest) -> str:
    """Name the package: SHA-256 over the canonical manifest and every file's path, length and SHA-256.

    Canonical means JSON with sorted keys of what the manifest says, without defaults: a key that a later
    version learns must not rename packages that are installed. A default never changes within a format.
    """
    said = manifest.model_dump(mode="json", exclude_unset=True)
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    whole = hashlib.sha256(b"readside-package-1\n")
    whole.update(f"{len(canonical)}\n{canonical}\n".encode())
    for name, path in _files(root):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{json.dumps(name)} {path.stat().st_size} {content}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def pack(folder: Path, out_zip: Path) -> None:
    """Write a package folder as a zip; the same folder always gives the same bytes.

    Raises:
        PackageError: the folder is not a package that opens.
    """
    package = open_package(folder)
    _pack(list(_files(package.root)), out_zip)


def _folder_of(path: Path, unpack_into: Path | None, limits: PackageLimits) -> Path:
    if path.is_dir():
        return path
    if not path.is_file():
        raise PackageError([f"{path.name}: there is no such folder or file"])
    if unpack_into is None:
        raise PackageError([f"{path.name}: is a file; say where a zip may be unpacked"])
    try:
        unpack(path, unpack_into, limits)
    except ArchiveError as error:
        raise PackageError([f"{path.name}: {error}"]) from error
    return unpack_into


def _file_faults(root: Path, limits: PackageLimits) -> list[str]:
    """List files that are missing, unknown, not plain, or too many or too large."""
    present: dict[str, int] = {}
    faults = []
    for name, path in _files(root):
        if path.is_symlink() or not path.is_file():
            faults.append(f"{name}: is not a plain file")
            continue
        present[name] = path.stat().st_size
        if path.suffix not in _KNOWN_SUFFIXES and path.name != "LICENSE":
            faults.append(f"{name}: a package holds no such file (known: {', '.join(_KNOWN_SUFFIXES)})")
    if MODEL_CARD not in present:
        faults.append(f"{MODEL_CARD}: is missing")
    if not any(name.startswith(f"{GOLDEN}/") and name.endswith(".npz") for name in present):
        faults.append(f"{GOLDEN}/: holds no case (.npz); without one no engine can be checked")
    if len(present) > limits.files_max:
        faults.append(f"{len(present)} files, more than {limits.files_max}")
    if sum(present.values()) > limits.bytes_max:
        faults.append(f"{sum(present.values())} bytes, more than {limits.bytes_max}")
    return faults


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Give every file as (path inside the package with /, path on disk), ordered by that path."""
    found = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    yield from sorted((path.relative_to(root).as_posix(), path) for path in found)
