"""Bring a package onto the box: checked whole, proved on the processor, copied durably, and recorded.

Promises: a package that is refused leaves a row with its reasons and no file; what serves goes on serving;
a command that dies at any moment leaves nothing that the next one does not put right.
Never: changes which version serves.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.core import coded, log
from appliance.core.packages import every_package, open_installed
from appliance.disk.durable import DiskFault, NoSpace, make_folder
from appliance.disk.space import Floor
from appliance.inference.engine import BuildProgress
from appliance.ledger import versions
from appliance.ledger.versions import Arrival, OtherDigest, Version
from appliance.routes.expression import ExpressionError, compile_condition
from appliance.sync.box import ModelBox, Refused, Rejected
from appliance.sync.proof import Evidence, Unproved, prove
from models.labels import codes_of
from models.package import MANIFEST, Package, PackageError, open_package

_log = log.get("models")
# What a package is before it may serve is asked of the engine that is always there.
_PROCESSOR = ("cpu",)
_UNKNOWN = "unknown"
_PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")
_MANIFEST_BYTES_MAX = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A version that lies on the box. `fresh`: it did not before; `repaired`: its files had been changed."""

    version: Version
    fresh: bool = False
    repaired: bool = False


def install(
    box: ModelBox, path: Path, *, expected: str | None = None, progress: BuildProgress | None = None
) -> Installed:
    """Install a package: a folder or a zip of it. What lies on the box already is only looked after.

    `expected` is the digest that it must have, where somebody signed for one.

    Raises:
        Rejected: the package is why, with every reason; a row keeps them.
        Refused: the box is why.
        Busy: another command works on this box's models.
    """
    with box.alone(), box.store.incoming() as folder:
        try:
            package = _received(box, path, folder)
            if expected not in (None, package.digest):
                raise PackageError(["its digest is not the one that was signed for it"])
            with box.ledger.read() as tx:
                row = versions.of_digest(tx, package.digest)
            if row is not None and row.here:
                return _looked_after(box, package, row)
            return Installed(version=_taken_in(box, package, path, progress), fresh=True)
        except PackageError as error:
            raise _refused(box, _unopened(path, folder), {"faults": list(error.faults)}) from error
        except NoSpace as error:
            raise Refused(["the box's disk has no room for it above the floor"]) from error
        except (DiskFault, OSError) as error:
            raise Refused([f"the box's disk failed while it was copied ({type(error).__name__})"]) from error


def _received(box: ModelBox, path: Path, folder: Path) -> Package:
    """Check a package where it lies, and hold its copy against what was checked.

    Raises:
        PackageError: with every fault of it.
        NoSpace: it would bring free space under the floor.
    """
    floor = Floor(path=box.root, floor_bytes=box.config.storage.floor_bytes)
    floor.admit(_size_bytes(path))
    if not path.is_dir():
        package = open_package(path, unpack_into=folder)
        floor.admit(0)
        return package
    checked = open_package(path)
    for name in sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file()):
        make_folder((folder / name).parent)
        shutil.copyfile(path / name, folder / name)
    copied = open_package(folder)
    if copied.digest != checked.digest:
        raise PackageError(["it changed while it was copied"])
    return copied


def _taken_in(box: ModelBox, package: Package, path: Path, progress: BuildProgress | None) -> Version:
    manifest = package.manifest
    arrival = Arrival(name=manifest.name, version=manifest.version, digest=package.digest, source=path.name)
    if faults := _faults(box, package, arrival):
        raise _refused(box, arrival, {"faults": faults})
    try:
        proof = prove(package, box.config, _PROCESSOR, progress=progress)
    except Unproved as error:
        raise _refused(box, arrival, error.evidence) from error
    box.store.keep(package.root, package.digest)
    with box.ledger.write() as tx:
        row = versions.fetched(tx, arrival, evidence={"install": proof.evidence}, at=box.now(), by=box.by)
    _log.info("model.installed", model=row.name, version=row.version, digest=row.digest[:19])
    return row


def _faults(box: ModelBox, package: Package, arrival: Arrival) -> list[str]:
    """List what speaks against a sound package here: a condition or code that is none, a number taken."""
    faults = []
    try:
        compile_condition(package.manifest.accepts.when)
    except ExpressionError as error:
        faults.append(f"{MANIFEST}: accepts.when: {error}")
    faults += [f"{MANIFEST}: {fault}" for fault in coded.faults(codes_of(package.manifest))]
    with box.ledger.read() as tx:
        taken = versions.taken_by(tx, arrival)
    beside = (
        p.digest
        for p in every_package(box.config.models.folders)[0]
        if (p.manifest.name, p.manifest.version) == (arrival.name, arrival.version)
    )
    other = taken or next((digest for digest in beside if digest != arrival.digest), None)
    if other is not None:
        faults.append(str(OtherDigest(arrival, other)))
    return faults


def _looked_after(box: ModelBox, package: Package, row: Version) -> Installed:
    """Put files right that were changed since they were installed."""
    try:
        open_installed(box.root, row.digest)
    except PackageError as error:
        box.store.keep(package.root, row.digest)
        with box.ledger.write() as tx:
            row = versions.repaired(tx, row, at=box.now(), by=box.by)
        _log.warning("model.repaired", model=row.name, version=row.version, reason="; ".join(error.faults))
        return Installed(version=row, repaired=True)
    return Installed(version=row)


def _refused(box: ModelBox, arrival: Arrival, evidence: Evidence) -> Rejected:
    """Record why a package was refused, within bounds."""
    faults = _bounded(box, evidence["faults"])
    with box.ledger.write() as tx:
        versions.refused(tx, arrival, evidence={**evidence, "faults": faults}, at=box.now(), by=box.by)
    _log.error("model.refused", model=arrival.name, version=arrival.version, faults=len(faults))
    return Rejected(faults)


def _bounded(box: ModelBox, faults: Sequence[str]) -> list[str]:
    kept = [fault[: box.limits.fault_characters_max] for fault in faults[: box.limits.faults_max]]
    more = len(faults) - len(kept)
    return [*kept, f"and {more} more faults"] if more else kept


def _unopened(path: Path, folder: Path) -> Arrival:
    """Say what a faulty package calls itself, as far as that can be read."""
    said: dict[str, Any] = {}
    manifest = (path if path.is_dir() else folder) / MANIFEST
    try:
        if manifest.stat().st_size <= _MANIFEST_BYTES_MAX:
            said = tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    return Arrival(
        name=_plain(said.get("name")), version=_plain(said.get("version")), digest="", source=path.name
    )


def _plain(text: Any) -> str:
    return text if isinstance(text, str) and _PLAIN.fullmatch(text) else _UNKNOWN


def _size_bytes(path: Path) -> int:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
