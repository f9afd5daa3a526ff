"""The signed lists of one repository as files: read, signed, written (The Update Framework, 1.0).

The only module of the registry that knows python-tuf; the device has one of its own.

Promises: a list is written whole and durably, and never without its threshold of signatures;
the timestamp, which makes everything else visible, is written last.
Never: writes over a list of another version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from appliance.core.clock import SYSTEM, Clock, as_datetime
from appliance.disk.durable import make_folder, remove_file, write_file
from appliance.sync.release import ROOT_OF, Target
from provisioning.registry.faults import RegistryFault
from provisioning.registry.limits import DEFAULT, RegistryLimits

Signers = Mapping[str, Sequence[CryptoSigner]]
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)
_OFFLINE = (Root.type, Targets.type)
_FIRST_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The lists of one repository in a folder; `offline` are the roles whose signatures hold long.

    `name` is what its roots call it: no root of another passes for one of them.
    """

    folder: Path
    name: str
    offline: tuple[str, ...] = _OFFLINE
    clock: Clock = SYSTEM
    limits: RegistryLimits = DEFAULT

    def create(self, signers: Signers) -> None:
        """Write the first lists, with nothing in them.

        `signers` are those of each role; one with several keys gets the threshold of the limits.
        """
        make_folder(self.folder)
        root = Root(consistent_snapshot=True)
        for role, keys in signers.items():
            self._trust(root, role, keys)
        self.write_root(root, signers[Root.type])
        self.write_targets(Targets(), signers[Targets.type])
        self.stamp(signers[Snapshot.type], signers[Timestamp.type])

    def root_like(
        self, other: Lists, own: Mapping[str, Sequence[CryptoSigner]], holders: Sequence[CryptoSigner]
    ) -> None:
        """Write the next root: the offline keys are those of another repository, some roles have their own.

        Nothing of a root that is here already goes into it: whoever changed that one gains nothing.

        Raises:
            RegistryFault: too few of the root's keys are among the holders.
        """
        make_folder(self.folder)
        root = other.root()
        root.version = self.root().version if self._versions(Root.type) else _FIRST_VERSION
        self._exchange(root, own)
        self.write_root(
            root, [one for one in holders if one.public_key.keyid in root.roles[Root.type].keyids]
        )

    def adopt(self, other: Lists) -> None:
        """Put the newest list of targets of another repository here as it is, byte for byte.

        Raises:
            RegistryFault: its signatures do not hold under this root, or it is older than what is here.
        """
        source = other._path(Targets.type, other.targets().version)
        signed = Metadata[Targets].from_bytes(source.read_bytes())
        _held(self.root(), Targets.type, signed)
        have = max(self._versions(Targets.type), default=0)
        if signed.signed.version < have:
            raise RegistryFault(
                f"{other.folder}: its list of releases is number {signed.signed.version}, and number {have}"
                " was taken before; get the newest copy of the registry"
            )
        write_file(self._path(Targets.type, signed.signed.version), source.read_bytes())

    def newest_files(self) -> list[Path]:
        """Return what a copy of this repository needs: every root, the newest lists, the timestamp last."""
        roots = [self._path(Root.type, version) for version in sorted(self._versions(Root.type))]
        lists = [self._path(role, max(self._versions(role))) for role in (Targets.type, Snapshot.type)]
        return [*roots, *lists, self.folder / "timestamp.json"]

    def forget_former(self, *, keep: int = 1) -> None:
        """Remove lists that newer ones replaced, but for the newest few of each; roots stay."""
        for role in (Targets.type, Snapshot.type):
            for version in sorted(self._versions(role))[:-keep]:
                remove_file(self._path(role, version))

    def root(self) -> Root:
        """Return the newest root."""
        return self._newest(Root)

    def root_bytes(self) -> bytes:
        """Return the newest root as devices are given it."""
        return self._path(Root.type, self.root().version).read_bytes()

    def targets(self) -> Targets:
        """Return the newest list of targets, stamped or not."""
        return self._newest(Targets)

    def target(self, path: str) -> Target | None:
        """Return a target by its path."""
        found = self.targets().targets.get(path)
        return None if found is None else told(found)

    def every_target(self) -> list[Target]:
        """Return all targets, by path."""
        return [told(found) for _, found in sorted(self.targets().targets.items())]

    def signed_by(self, role: str) -> list[str]:
        """Return the ids of the keys whose signatures a role's lists need."""
        return sorted(self.root().roles[role].keyids)

    def write_root(self, root: Root, signers: Sequence[CryptoSigner]) -> None:
        """Sign a root as its next version and put it in place, signed by the keys before as well."""
        before = self.root() if self._versions(Root.type) else None
        root.version += before is not None
        root.expires = self._expires(Root.type)
        root.unrecognized_fields[ROOT_OF] = self.name
        signed = _signed(root, signers)
        for judge in (root, *([before] if before is not None else [])):
            _held(judge, Root.type, signed)
        self._write(signed, self._path(Root.type, root.version))

    def verify(self, anchor: bytes) -> None:
        """Hold the newest lists against a root that was kept elsewhere, before anybody signs on top of them.

        Raises:
            RegistryFault: they do not follow from it, or are not signed as it says.
        """
        try:
            metadata = Metadata[Root].from_bytes(anchor)
            root = metadata.signed
            _held(root, Root.type, metadata)
            for version in range(root.version + 1, max(self._versions(Root.type)) + 1):
                following = Metadata[Root].from_bytes(self._path(Root.type, version).read_bytes())
                _held(root, Root.type, following)
                root = following.signed
                _held(root, Root.type, following)
            newest = self._path(Targets.type, max(self._versions(Targets.type)))
            _held(root, Targets.type, Metadata[Targets].from_bytes(newest.read_bytes()))
        except (OSError, ValueError, RepositoryError, RegistryFault) as error:
            raise RegistryFault(
                f"{self.folder}: its lists are not those that these keys signed ({type(error).__name__});"
                " nothing may be signed on top of them: get a copy that is right, and ask who changed this"
            ) from error

    def check_signers(self, signers: Sequence[CryptoSigner]) -> None:
        """Make sure that these can sign a list of targets, before anything is written for it.

        Raises:
            RegistryFault: too few of the keys are among them.
        """
        able = {one.public_key.keyid for one in signers if self._may(one, Targets.type)}
        needed = self.root().roles[Targets.type].threshold
        if len(able) < needed:
            raise _too_few(Targets.type, len(able), needed)

    def write_targets(self, targets: Targets, signers: Sequence[CryptoSigner]) -> None:
        """Sign a list of targets as its next version and put it in place; nobody sees it before a stamp.

        Raises:
            RegistryFault: too few of the keys are among the signers.
        """
        targets.version += bool(self._versions(Targets.type))
        targets.expires = self._expires(Targets.type)
        signed = _signed(targets, [one for one in signers if self._may(one, Targets.type)])
        _held(self.root(), Targets.type, signed)
        self._write(signed, self._path(Targets.type, targets.version))

    def rewrite(self, entries: Iterable[Target], signers: Sequence[CryptoSigner]) -> None:
        """Sign a list of exactly these targets as the next version.

        Raises:
            RegistryFault: too few of the keys are among the signers.
        """
        targets = self.targets() if self._versions(Targets.type) else Targets()
        targets.targets.clear()
        for entry in entries:
            self.add(targets, entry)
        self.write_targets(targets, signers)

    def stamp(self, snapshot_signers: Sequence[CryptoSigner], stamp_signers: Sequence[CryptoSigner]) -> None:
        """Write snapshot and timestamp over the newest list of targets: from here on devices see it."""
        targets = self.targets()
        snapshot = self._next(Snapshot)
        snapshot.meta = {
            "targets.json": self._meta(self._path(Targets.type, targets.version), targets.version)
        }
        signed = _signed(snapshot, snapshot_signers)
        _held(self.root(), Snapshot.type, signed)
        place = self._path(Snapshot.type, snapshot.version)
        self._write(signed, place)
        timestamp = self._next(Timestamp)
        timestamp.snapshot_meta = self._meta(place, snapshot.version)
        last = _signed(timestamp, stamp_signers)
        _held(self.root(), Timestamp.type, last)
        write_file(self.folder / "timestamp.json", last.to_bytes())

    def rotate(self, new: Signers, root_signers: Sequence[CryptoSigner]) -> None:
        """Give roles other keys; devices drop what the former ones signed when they see the new root."""
        root = self.root()
        self._exchange(root, new)
        self.write_root(root, [one for one in root_signers if self._may(one, Root.type)])

    def add(self, targets: Targets, target: Target) -> None:
        """Put a target into a list, in place of what stood under its path."""
        entry = TargetFile(target.length, {"sha256": target.sha256}, target.path)
        if target.custom:
            entry.unrecognized_fields["custom"] = dict(target.custom)
        targets.targets[target.path] = entry

    def _may(self, signer: CryptoSigner, role: str) -> bool:
        return signer.public_key.keyid in self.root().roles[role].keyids

    def _trust(self, root: Root, role: str, keys: Sequence[CryptoSigner]) -> None:
        for signer in keys:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = min(len(keys), self.limits.threshold)

    def _exchange(self, root: Root, new: Signers) -> None:
        for role, signers in new.items():
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            self._trust(root, role, signers)

    def _next(self, kind: type[S]) -> S:
        """Return the newest list of a kind as its next version."""
        newest = kind()
        if self._versions(kind.type):
            newest = self._newest(kind)
            newest.version += 1
        newest.expires = self._expires(kind.type)
        return newest

    def _newest(self, kind: type[S]) -> S:
        versions = self._versions(kind.type)
        if not versions:
            raise RegistryFault(
                f"{self.folder}: holds no {kind.type} list; make one with `readside registry init`"
            )
        return self._read(kind, self._path(kind.type, max(versions)))

    def _versions(self, role: str) -> list[int]:
        if role == Timestamp.type:
            return [_FIRST_VERSION] if (self.folder / "timestamp.json").is_file() else []
        form = re.compile(rf"(\d+)\.{role}\.json")
        found = (form.fullmatch(path.name) for path in self.folder.glob(f"*.{role}.json"))
        return [int(one[1]) for one in found if one]

    def _path(self, role: str, version: int) -> Path:
        return self.folder / ("timestamp.json" if role == Timestamp.type else f"{version}.{role}.json")

    def _read(self, kind: type[S], path: Path) -> S:
        try:
            signed = Metadata[S].from_bytes(path.read_bytes()).signed
        except (OSError, RepositoryError) as error:
            raise RegistryFault(f"{path}: cannot be read as a list ({type(error).__name__})") from error
        if not isinstance(signed, kind):
            raise RegistryFault(f"{path}: is another list than its name says")
        return signed

    def _write(self, signed: Metadata[Any], path: Path) -> None:
        if path.exists():
            raise RegistryFault(f"{path.name} is there already: another command works on this registry")
        write_file(path, signed.to_bytes())

    def _meta(self, path: Path, version: int) -> MetaFile:
        return MetaFile.from_data(version, path.read_bytes(), ["sha256"])

    def _expires(self, role: str) -> datetime:
        limits = self.limits
        seconds = limits.offline_seconds if role in self.offline else limits.online_seconds
        return as_datetime(int(self.clock.now()) + seconds).astimezone(UTC)


def told(found: TargetFile) -> Target:
    """Say a target in the words of both ends."""
    custom = found.custom if isinstance(found.custom, dict) else {}
    return Target(path=found.path, length=found.length, sha256=found.hashes.get("sha256", ""), custom=custom)


def _signed(content: S, signers: Iterable[CryptoSigner]) -> Metadata[S]:
    metadata = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def _held(root: Root, role: str, signed: Metadata[Any]) -> None:
    """Check a list as every device will."""
    result = root.get_verification_result(role, signed.signed_bytes, signed.signatures)
    if not result.verified:
        raise _too_few(role, len(result.signed), result.threshold)


def _too_few(role: str, made: int, needed: int) -> RegistryFault:
    return RegistryFault(
        f"{role}: these keys make {made} of the {needed} signatures it takes; name the folders of the others"
        " with --keys as well"
    )
