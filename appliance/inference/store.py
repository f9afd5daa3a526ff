"""Built engines on disk: one folder for each key, sealed, bounded, never removed while in use.

Promises: a folder under its key is whole; what is loaded from it is what this box built, byte for byte.
Never: trusts a file by its name. A file that was changed, cut short, added or brought from another box is
refused with a reason; the engine is then built anew or passed over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.core import log
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from appliance.disk.folder import keep_folder, remove_folder
from appliance.inference.engine import EnginePlan, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.lock import locked, take
from appliance.inference.sidecar import FileMark, Sidecar, SidecarRefused, seal, unseal

_log = log.get("inference")
SIDECAR = "sidecar.json"
_SECRET = "engines.secret"
_SECRET_BYTES = 32
_LOCK, _SECRET_LOCK = "store.lock", "secret.lock"
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One built engine on disk, checked."""

    folder: Path
    sidecar: Sidecar


@dataclass(frozen=True, kw_only=True)
class EngineStore:
    """The folder of built engines of one box."""

    root: Path
    limits: InferenceLimits

    def find(self, plan: EnginePlan) -> Kept | None:
        """Look for an engine that was built from this plan, and check every byte of it.

        Raises:
            SidecarRefused: there is one, and it must not be loaded.
        """
        folder = self._folder(plan.key)
        if not folder.exists():
            return None
        kept = Kept(folder=folder, sidecar=self._sidecar(folder))
        if kept.sidecar.key != plan.key or dict(kept.sidecar.parts) != dict(plan.parts):
            raise SidecarRefused("It was built for something else.")
        try:
            _check_files(folder, kept.sidecar)
        except OSError as error:
            raise SidecarRefused(f"A file of it cannot be read ({type(error).__name__}).") from error
        return kept

    @contextmanager
    def building(self) -> Iterator[Path]:
        """Give an empty folder to build into; only one build of a box runs at a time.

        Raises:
            InferenceError: inference.build, another build does not end, or the disk does not take it.
        """
        with self._locked():
            self._sweep()
            folder = self.root / f".building.{os.getpid()}"
            make_folder(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, built: Path, sidecar: Sidecar) -> Kept:
        """Put what was built under its key, sealed, and make room by removing the oldest.

        Call it in `building`; `built` holds the files that the sidecar is to name.

        Raises:
            InferenceError: inference.build, the disk does not take it.
        """
        marked = replace(sidecar, files={path.name: _mark(path) for path in sorted(built.iterdir())})
        folder = self._folder(sidecar.key)
        with _disk("inference.build"):
            (built / SIDECAR).write_bytes(seal(marked, self._secret()))
            keep_folder(built, folder)
            self._make_room(marked)
        return Kept(folder=folder, sidecar=marked)

    def judge(self, kept: Kept, verdict: dict[str, Any]) -> Kept:
        """Write the verdict on a kept engine into its sidecar.

        Raises:
            InferenceError: inference.parity, the disk does not take it.
        """
        judged = replace(kept.sidecar, verdict=verdict)
        with _disk("inference.parity"):
            write_file(kept.folder / SIDECAR, seal(judged, self._secret()))
        return replace(kept, sidecar=judged)

    def drop(self, key: str) -> None:
        """Remove what is kept under a key.

        Raises:
            InferenceError: inference.build, the disk does not let go of it.
        """
        with _disk("inference.build"):
            remove_folder(self._folder(key))

    @contextmanager
    def hold(self, kept: Kept) -> Iterator[None]:
        """Say that an engine is in use; the kernel ends that with the process.

        Raises:
            InferenceError: inference.load, it is being removed, or is gone.
        """
        with ExitStack() as held:
            try:
                handle = os.open(kept.folder, os.O_RDONLY | os.O_DIRECTORY)
                held.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                raise InferenceError("inference.load", "The built engine was just removed.") from error
            yield

    def clear(self, start_of_key: str) -> list[str]:
        """Remove what is kept on engines that may not serve: that failed, were refused or are damaged.

        Returns the keys, which begin so.

        Raises:
            InferenceError: inference.build, the disk does not let go of them.
        """
        digits = start_of_key.removeprefix("sha256:")
        cleared = [
            key
            for key, one in self.entries()
            if key.removeprefix("sha256:").startswith(digits) and (isinstance(one, str) or one.put_aside)
        ]
        for key in cleared:
            self.drop(key)
        return cleared

    def entries(self) -> Sequence[tuple[str, Sidecar | str]]:
        """List what is kept: each key with its sidecar, or with the reason why it is refused."""
        found: list[tuple[str, Sidecar | str]] = []
        for folder in self._folders():
            try:
                found.append((f"sha256:{folder.name}", self._sidecar(folder)))
            except SidecarRefused as refusal:
                found.append((f"sha256:{folder.name}", str(refusal)))
        return found

    def _folder(self, key: str) -> Path:
        return self.root / key.removeprefix("sha256:")

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if p.is_dir() and len(p.name) == 64)

    def _sidecar(self, folder: Path) -> Sidecar:
        data = _read_plain(folder / SIDECAR, self.limits.sidecar_bytes_max)
        secret = self.secret()
        if secret is None:
            raise SidecarRefused("The secret that seals it cannot be read.")
        return unseal(data, secret)

    def secret(self) -> bytes | None:
        """Read the box's own secret; None when it can be neither read nor made."""
        try:
            return self._secret()
        except (OSError, DiskFault, NoSpace) as error:
            _log.error("engine.secret_missing", reason=type(error).__name__)
            return None

    def _secret(self) -> bytes:
        """Read the secret, making it when it is missing or when others could have read it."""
        path = make_folder(self.root).parent / _SECRET
        if (held := _held_secret(path)) is not None:
            return held
        with locked(self.root / _SECRET_LOCK, seconds_max=self.limits.crashes_wait_seconds_max):
            # Another may have made it while we waited.
            if (held := _held_secret(path)) is not None:
                return held
            if path.exists():
                _log.warning("engine.secret_renewed", reason="others could have read it, or it was damaged")
            made = secrets.token_bytes(_SECRET_BYTES)
            write_file(path, made)
            return made

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk("inference.build"):
            path = make_folder(self.root) / _LOCK
        try:
            with locked(path, seconds_max=self.limits.store_wait_seconds_max):
                yield
        except TimeoutError as error:
            raise InferenceError("inference.build", "Another build on this box does not end.") from error
        except (OSError, DiskFault, NoSpace) as error:
            raise _unwritable("inference.build", error) from error

    def _sweep(self) -> None:
        """Remove what builds left that did not end; whoever holds the lock is the only one who builds."""
        for left in [*self.root.glob(".building.*"), *self.root.glob(".*.gone")]:
            shutil.rmtree(left, ignore_errors=True)

    def _make_room(self, newest: Sidecar) -> None:
        """Remove the oldest engines of the same model and kind, then the oldest of all, but none in use."""
        aged = sorted(
            (sidecar.built_at if isinstance(sidecar, Sidecar) else 0.0, key, sidecar)
            for key, sidecar in self.entries()
            if key != newest.key
        )
        alike = [
            key
            for _, key, sidecar in aged
            if isinstance(sidecar, Sidecar)
            and (sidecar.package, sidecar.engine) == (newest.package, newest.engine)
        ]
        for key in alike[: max(0, len(alike) + 1 - self.limits.store_engines_kept)]:
            self._remove_unused(key)
        sizes = {folder.name: _size_bytes(folder) for folder in self._folders()}
        for _, key, _sidecar in aged:
            if sum(sizes.values()) <= self.limits.store_bytes_max:
                return
            if self._remove_unused(key):
                sizes.pop(key.removeprefix("sha256:"), None)

    def _remove_unused(self, key: str) -> bool:
        folder = self._folder(key)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return False
        try:
            if not take(handle):
                return False
            remove_folder(folder)
        finally:
            os.close(handle)
        _log.info("engine.removed", key=key[:19], reason="newer engines took its room")
        return True


@contextmanager
def _disk(word: str) -> Iterator[None]:
    """Turn what a disk says into an engine that is passed over; nothing that must last lies in the store."""
    try:
        yield
    except (NoSpace, DiskFault, OSError) as error:
        raise _unwritable(word, error) from error


def _unwritable(word: str, error: Exception) -> InferenceError:
    return InferenceError(
        word, f"The folder of built engines cannot be written ({type(error).__name__}); look at the disk."
    )


def _check_files(folder: Path, sidecar: Sidecar) -> None:
    # A sidecar that is being written anew lies beside the old one for a moment.
    present = {e.name for e in os.scandir(folder) if not e.name.startswith(f".{SIDECAR}.")} - {SIDECAR}
    if present != sidecar.files.keys():
        raise SidecarRefused("Files are missing beside it, or were added.")
    for name, mark in sidecar.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise SidecarRefused("A file of it is not a plain file.")
        if path.stat().st_size != mark.size_bytes:
            raise SidecarRefused("A file of it has another length than was written: cut short, or changed.")
        if _mark(path) != mark:
            raise SidecarRefused("A file of it was changed after it was built.")


def _mark(path: Path) -> FileMark:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileMark(size_bytes=os.fstat(file.fileno()).st_size, sha256=digest)


def _read_plain(path: Path, bytes_max: int) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise SidecarRefused("Its description is missing or cannot be read.") from error
    if len(data) > bytes_max:
        raise SidecarRefused("Its description is too long.")
    return data


def _held_secret(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        held = file.read(_SECRET_BYTES + 1)
        private = not os.fstat(file.fileno()).st_mode & _OTHERS_MAY
    return held if private and len(held) == _SECRET_BYTES else None


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
