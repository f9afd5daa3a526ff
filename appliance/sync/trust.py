"""The signed lists of one repository, as far as this device may believe them (The Update Framework, 1.0).

python-tuf checks thresholds, versions, expiry and that the lists belong together; this module gives it our
carrier and our clock, and turns each of its errors into one word. The only module of the box that knows it.

Promises: a list that is returned was signed by its threshold of keys, beginning at the root that this device
was claimed with; it is not older than the last one, not expired at the clock's time, and within its bounds.
Never: writes below its own folder, or believes the clock of a server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater

from appliance.core.clock import SYSTEM, Clock, as_datetime
from appliance.disk.durable import make_folder, translated
from appliance.sync.carrier import Carrier, NotThere, read_all
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import METADATA, ROOT_OF, TARGETS, Target

# python-tuf joins addresses; ours never leave this module.
_BASE: Final = "carrier:///"
_GONE = 404
_ROOT = f".{Root.type}.json"
_DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What one repository says, held good.

    Attributes:
        version: of the list of targets.
        keys: ids of the keys that it must be signed by.
        stamped_at: epoch seconds; about when the server last said that these are the newest.
    """

    version: int
    keys: tuple[str, ...]
    stamped_at: float
    targets: dict[str, Target]


@dataclass(kw_only=True)
class Trust:
    """One repository of a registry, seen from this device.

    Attributes:
        folder: where what was believed last is kept; it may be lost, the floors stand elsewhere.
        root: the root that this device was claimed with.
        named: what its roots call it, where that is not the repository: those of a stick have their own.
    """

    repository: str
    folder: Path
    root: bytes
    carrier: Carrier
    clock: Clock = SYSTEM
    limits: FetchLimits = FETCH
    named: str = ""
    _last: bytes = field(default=b"", init=False)

    def refresh(self) -> Listing:
        """Return the newest lists that may be believed.

        Raises:
            Refusal: with the word for what was tried, or for why nothing came.
            NoSpace, DiskFault: the disk is full or failed.
        """
        make_folder(self.folder)
        with self._judging():
            updater = self._begun()
            # What has expired is a question of the box's one clock, which tests hold still.
            updater._trusted_set.reference_time = as_datetime(self.clock.now())
            updater.refresh()
        return self.believed()

    def _begun(self) -> Updater:
        try:
            self.own_root(self.root)
            return Updater(
                str(self.folder),
                f"{_BASE}{self.repository}/{METADATA}/",
                fetcher=_Fetcher(self),
                bootstrap=self.root,
            )
        except (RepositoryError, Refusal) as error:
            raise Refusal(
                Word.NOT_CLAIMED,
                f"the root of the {self.repository} repository that this box was given is none",
            ) from error

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return a file of the repository as it comes, within its bound."""
        self._last = read_all(self.carrier, path, bytes_max=bytes_max, limits=self.limits)
        return self._last

    def own_root(self, data: bytes) -> None:
        """Hold a root against the name of this repository.

        The same people sign the roots of several repositories. A root says in itself only which keys come
        next, and so the next root of one would pass as the next one of another, with the keys of that one.

        Raises:
            Refusal: WRONG_KEY, it is another repository's; what is no root at all is not judged here.
        """
        try:
            said = json.loads(data)["signed"].get(ROOT_OF)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if said != (self.named or self.repository):
            raise Refusal(
                Word.WRONG_KEY,
                f"what came as a root of the {self.repository} repository was signed for another",
            )

    def target_bytes(self, target: Target) -> bytes:
        """Return the bytes of a small target.

        Raises:
            Refusal: they are not the signed ones, or do not come.
        """
        if target.length > self.limits.assignment_bytes_max:
            raise Refusal(Word.ENDLESS_DATA, "a small file of the registry is longer than one can be")
        try:
            data = self.read(f"{self.repository}/{TARGETS}/{target.place}", target.length)
        except NotThere as error:
            raise Refusal(Word.NOT_A_REGISTRY, "the registry does not have a file that it lists") from error
        if len(data) != target.length or hashlib.sha256(data).hexdigest() != target.sha256:
            raise Refusal(Word.TAMPERED, "the bytes of a small file are not those that were signed")
        return data

    def believed(self) -> Listing:
        """Return what was verified and kept last."""
        root = self._kept(Root)
        stamp_until = self._kept(Timestamp).expires.timestamp()
        found = {}
        targets = self._kept(Targets)
        for path, entry in targets.targets.items():
            sha256, custom = entry.hashes.get("sha256"), entry.custom
            if sha256 is not None:
                found[path] = Target(
                    path=path,
                    length=entry.length,
                    sha256=sha256,
                    custom=custom if isinstance(custom, dict) else {},
                )
        return Listing(
            version=targets.version,
            keys=tuple(sorted(root.roles[Targets.type].keyids)),
            stamped_at=stamp_until - self.limits.stamp_seconds,
            targets=found,
        )

    def _kept(self, kind: Any) -> Any:
        return Metadata.from_file(str(self.folder / f"{kind.type}.json")).signed

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Give each error of python-tuf its word."""
        try:
            yield
        except _Stopped as stopped:
            raise stopped.refusal from stopped
        except OSError as error:
            raise translated(error, self.folder) from error
        except UnsignedMetadataError as error:
            raise self._unsigned() from error
        except ExpiredMetadataError as error:
            raise self._expired() from error
        except BadVersionNumberError as error:
            raise self._older() from error
        except LengthOrHashMismatchError as error:
            raise Refusal(
                Word.MIX_AND_MATCH, f"the lists of the {self.repository} repository do not belong together"
            ) from error
        except DownloadHTTPError as error:
            raise Refusal(
                Word.NOT_A_REGISTRY, f"there is no list of the {self.repository} repository at this address"
            ) from error
        except (RepositoryError, DownloadError, DeserializationError, ValueError) as error:
            raise Refusal(
                Word.TAMPERED, f"what came as a list of the {self.repository} repository is none"
            ) from error

    def _unsigned(self) -> Refusal:
        """Say whether anybody of those who may signed at all."""
        metadata = Metadata[Any].from_bytes(self._last)
        role = metadata.signed.type
        root = self._kept(Root)
        signed = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        if signed.signed:
            return Refusal(
                Word.TOO_FEW_SIGNATURES,
                f"{role} of the {self.repository} repository has {len(signed.signed)} of the"
                f" {signed.threshold} signatures that it needs",
            )
        return Refusal(
            Word.WRONG_KEY, f"{role} of the {self.repository} repository is not signed by a key that may"
        )

    def _expired(self) -> Refusal:
        now, root_until = self.clock.now(), self._kept(Root).expires.timestamp()
        if now > root_until:
            days = (now - root_until) / _DAY_SECONDS
            return Refusal(
                Word.CLOCK_AHEAD,
                f"the clock is wrong by about {days:.0f} days or more: it is ahead; if it is right, the root"
                f" of the {self.repository} repository was not renewed in time",
            )
        return Refusal(
            Word.FREEZE,
            f"the {self.repository} repository shows old lists: nobody stamped them in time, somebody holds"
            " new ones back, or the clock is ahead",
        )

    def _older(self) -> Refusal:
        """Tell a replay from a trusted stamp that was made to lie far ahead."""
        offered = Metadata[Any].from_bytes(self._last).signed
        try:
            believed = self._kept(Timestamp).version
        except (OSError, RepositoryError, DeserializationError):
            believed = 0
        if offered.type == Timestamp.type and believed - offered.version > self.limits.fast_forward_versions:
            return Refusal(
                Word.FAST_FORWARD,
                f"a stamp of the {self.repository} repository with version {believed} was signed with its"
                f" key, and the registry is at {offered.version}: the key was stolen, and must be replaced"
                " by `readside registry rotate`",
            )
        return Refusal(
            Word.ROLLBACK, f"the {self.repository} repository shows older lists than this device has seen"
        )


class _Stopped(DownloadError):
    """A refusal on its way through python-tuf, which knows only its own errors."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


class _Fetcher(FetcherInterface):
    """Reads lists through a carrier, in memory and within their bounds."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("lists are read whole")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a list."""
        path = urlsplit(url).path.lstrip("/")
        try:
            data = self._trust.read(path, max_length)
            if path.endswith(_ROOT):
                self._trust.own_root(data)
            return data
        except NotThere as error:
            raise DownloadHTTPError("there is no such list", _GONE) from error
        except Refusal as refusal:
            raise _Stopped(refusal) from refusal


def hold_first_root(data: bytes, anchor: bytes) -> None:
    """Hold the first root of one repository against the root of another that the same people sign.

    Raises:
        Refusal: too few of them signed it, or one of the two is no root.
    """
    try:
        judge, signed = Metadata[Root].from_bytes(anchor).signed, Metadata[Root].from_bytes(data)
        judge.verify_delegate(Root.type, signed.signed_bytes, signed.signatures)
    except UnsignedMetadataError as error:
        raise Refusal(
            Word.WRONG_KEY, "its root is not signed by those who sign the roots of this box's registry"
        ) from error
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise Refusal(Word.TAMPERED, "what came as a root is none") from error


def clock_fault(now: float, floor: float, *, limits: FetchLimits = FETCH) -> Refusal | None:
    """Say by how much a clock is behind what is known to be past; both in epoch seconds."""
    behind = floor - now
    if behind <= limits.clock_slack_seconds:
        return None
    days, hours = divmod(behind / 3600, 24)
    said = f"{days:.0f} days" if days else f"{hours:.1f} hours"
    return Refusal(Word.CLOCK_BEHIND, f"the clock is wrong by about {said} or more: it is behind")
