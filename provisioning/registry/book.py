"""A registry that a command works on: its two repositories, its lock, and who may sign what.

Promises: one command at a time; what the offline keys sign is never signed here with an online key.
Never: leaves the two repositories half made; `init` either ends or is begun again in an empty folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import make_folder, write_file
from appliance.inference.lock import locked
from appliance.sync.release import BUNDLE, DIRECTOR, IMAGE, METADATA
from provisioning.registry import keys
from provisioning.registry.faults import RegistryFault
from provisioning.registry.layout import Layout
from provisioning.registry.limits import DEFAULT, RegistryLimits
from provisioning.registry.metadata import Lists, Signers

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
# What lies beside the offline keys: the first roots, and the number of the list that was signed last.
ANCHORS = {IMAGE: "image.root.json", DIRECTOR: "director.root.json"}
_SIGNED = "image.signed"
ONLINE = {IMAGE: (SNAPSHOT, TIMESTAMP), DIRECTOR: (TARGETS, SNAPSHOT, TIMESTAMP)}


@dataclass(frozen=True, kw_only=True)
class Book:
    """One registry; `passphrase` opens the offline keys."""

    folder: Path
    passphrase: str | None = None
    clock: Clock = SYSTEM
    limits: RegistryLimits = DEFAULT

    @property
    def layout(self) -> Layout:
        """Return where everything lies."""
        return Layout(folder=self.folder)

    def lists(self, repository: str) -> Lists:
        """Return the signed lists of a repository."""
        offline = (ROOT,) if repository == DIRECTOR else (ROOT, TARGETS)
        return Lists(
            folder=self.layout.metadata(repository),
            name=repository,
            offline=offline,
            clock=self.clock,
            limits=self.limits,
        )

    def bundle_lists(self, repository: str) -> Lists:
        """Return the lists of a repository as sticks have them, under a root and a stamp of their own."""
        named = f"{BUNDLE}{repository}"
        folder = self.layout.bundle / repository / METADATA
        limits = replace(self.limits, online_seconds=self.limits.bundle_seconds)
        return replace(self.lists(repository), folder=folder, name=named, limits=limits)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other command on this registry away while the block runs.

        Raises:
            RegistryFault: there is none here, or another command does not end.
        """
        if not self.layout.public.is_dir():
            raise RegistryFault(f"{self.folder}: is no registry; make one with `readside registry init`")
        try:
            with locked(self.layout.lock, seconds_max=self.limits.lock_wait_seconds_max):
                yield
        except TimeoutError as error:
            raise RegistryFault(
                "another command works on this registry; try again when it is done"
            ) from error

    def create(self, offline: Path) -> None:
        """Make the keys and the first lists of both repositories.

        The offline keys go into `offline`, three for each of root and targets, of which two must sign.

        Raises:
            RegistryFault: something is there already.
        """
        if self.layout.public.exists() or self.layout.online.exists():
            raise RegistryFault(f"{self.folder}: holds a registry already")
        if self.folder.resolve() in (offline.resolve(), *offline.resolve().parents):
            raise RegistryFault("the offline keys must not lie in the registry's folder: it goes to a server")
        signers = {role: self._made(offline, role) for role in (ROOT, TARGETS)}
        make_folder(self.folder)
        for repository, roles in ONLINE.items():
            self.lists(repository).create(
                {**signers, **{role: [self._made_online(repository, role)] for role in roles}}
            )
            make_folder(self.layout.targets(repository))
            write_file(offline / ANCHORS[repository], self.lists(repository).root_bytes())

    def offline_signers(self, folders: Sequence[Path]) -> list[CryptoSigner]:
        """Open the offline keys that lie in these folders, when the registry is what its holders left.

        A server that was broken into may have added to its lists what its owner would now sign along.

        Raises:
            RegistryFault: a key cannot be opened, or the lists do not follow from what lies beside the keys.
        """
        signers = keys.load_all(folders, self.passphrase)
        for repository, name in ANCHORS.items():
            anchors = [folder / name for folder in folders if (folder / name).is_file()]
            if not anchors:
                raise RegistryFault(f"none of the folders with keys holds {name}, which init put beside them")
            for anchor in anchors:
                self.lists(repository).verify(anchor.read_bytes())
        for folder in folders:
            self._not_older(folder / _SIGNED)
        return signers

    def remember(self, folders: Sequence[Path]) -> None:
        """Keep beside the keys which list they signed last, where that can be written."""
        version = self.lists(IMAGE).targets().version
        for folder in folders:
            if os.access(folder, os.W_OK):
                write_file(folder / _SIGNED, str(version).encode())

    def may_stamp(self, repository: str) -> bool:
        """Say whether the server's keys lie here: a publisher's copy of the registry has none."""
        return keys.path_of(self.layout.online, f"{repository}-{TIMESTAMP}").is_file()

    def online(self, repository: str) -> Signers:
        """Open the server's keys of a repository."""
        return {
            role: [keys.load(keys.path_of(self.layout.online, f"{repository}-{role}"), None)]
            for role in ONLINE[repository]
        }

    def stamp(self, repository: str) -> None:
        """Make the newest list of a repository visible, and let it hold for another while."""
        online = self.online(repository)
        self.lists(repository).stamp(online[SNAPSHOT], online[TIMESTAMP])

    def stamp_all(self) -> None:
        """Stamp both repositories; the director's own list is signed anew as well."""
        director = self.lists(DIRECTOR)
        director.write_targets(director.targets(), self.online(DIRECTOR)[TARGETS])
        for repository in (IMAGE, DIRECTOR):
            self.stamp(repository)

    def renew(self, folders: Sequence[Path]) -> None:
        """Sign what the offline keys signed once more, for another year; then stamp."""
        holders = self.offline_signers(folders)
        for repository in (IMAGE, DIRECTOR):
            self.lists(repository).rotate({}, holders)
        image = self.lists(IMAGE)
        image.write_targets(image.targets(), holders)
        self.remember(folders)
        if self.may_stamp(IMAGE):
            self.stamp_all()

    def rotate(self, repository: str, folders: Sequence[Path]) -> None:
        """Give a repository other online keys, signed by the holders of its root; then stamp with them.

        What the former keys signed, a device drops as soon as it sees the new root.
        """
        holders = self.offline_signers(folders)
        lists = self.lists(repository)
        fresh = {
            role: keys.path_of(self.layout.online, f".{repository}-{role}.new") for role in ONLINE[repository]
        }
        for path in fresh.values():
            path.unlink(missing_ok=True)
        made = {role: [keys.make(path, None)] for role, path in fresh.items()}
        lists.rotate(made, holders)
        for role, path in fresh.items():
            path.rename(keys.path_of(self.layout.online, f"{repository}-{role}"))
        if repository == DIRECTOR:
            lists.write_targets(lists.targets(), made[TARGETS])
        self.stamp(repository)

    def _not_older(self, signed: Path) -> None:
        """Hold the newest list against the number of the one that was signed last, where that is known."""
        if not signed.is_file():
            return
        said, version = signed.read_bytes()[:20].strip(), self.lists(IMAGE).targets().version
        if not said.isdigit():
            raise RegistryFault(f"{signed}: is no number; it says which list these keys signed last")
        if version < int(said):
            raise RegistryFault(
                f"{self.folder}: its list of releases is number {version}, and these keys signed number"
                f" {int(said)}: what was recalled since would come back; get the newest copy"
            )

    def _made(self, folder: Path, role: str) -> list[CryptoSigner]:
        return [
            keys.make(keys.path_of(folder, f"{role}-{number}"), self.passphrase)
            for number in range(1, self.limits.keys + 1)
        ]

    def _made_online(self, repository: str, role: str) -> CryptoSigner:
        return keys.make(keys.path_of(self.layout.online, f"{repository}-{role}"), None)
