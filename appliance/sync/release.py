"""What the signed lists of a registry say: the words of both ends, device and publisher.

The image repository's list, signed offline, holds one target for each release, with a `Release` in its custom
field. The director's, signed online, holds one file for each device: its assignment.

Promises: what does not have exactly this form is refused.
Never: trusts a number that it has not bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

IMAGE, DIRECTOR = "image", "director"
METADATA, TARGETS = "metadata", "targets"
# What stands before the names of the repositories as sticks have them.
BUNDLE = "bundle-"
KEY = "readside"
MODELS = "models/"
# In each root, signed: which repository it is the root of. The same people sign the roots of several.
ROOT_OF = "x-readside-repository"
FORMAT = 1
PACKAGE_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}")
_COUNT_MAX = 2**53


class FormError(ValueError):
    """What was signed does not have the form that this version of Readside knows."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a device must have for a release, known before anything is fetched.

    Attributes:
        package_format: of the package; a device knows those up to its own.
        readside: the first version of Readside that can use it, "major.minor.patch".
        memory_mib: of one running copy.
        unpacked_bytes: of all its files.
        engines: one of these must be among the site's engines; empty: any engine will do.
    """

    package_format: int = PACKAGE_FORMAT
    readside: str = "0.0.0"
    memory_mib: int = 0
    unpacked_bytes: int = 0
    engines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of one model.

    Attributes:
        digest: of the package, "sha256:<hex>".
        counter: of the releases of this model; it only grows, and a device does not go back.
        published_at: epoch seconds.
        recalled: why it must not be used any more; empty: it may.
    """

    name: str
    version: str
    digest: str
    counter: int
    published_at: float
    needs: Needs
    recalled: str = ""

    def as_custom(self) -> dict[str, Any]:
        """Return it as the custom field of a target."""
        said = {**asdict(self), "published_at": int(self.published_at)}
        said["needs"]["engines"] = list(self.needs.engines)
        return {KEY: {"format": FORMAT, **said}}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One file that a signed list names.

    Attributes:
        path: inside the repository's targets.
        length: in bytes.
    """

    path: str
    length: int
    sha256: str
    custom: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Return where its bytes lie below `targets`: the digest stands before the file's name."""
        folder, slash, name = self.path.rpartition("/")
        return f"{folder}{slash}{self.sha256}.{name}"


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """One line of an assignment: which release a device should run, and the bytes that the director means.

    Attributes:
        shadow: it runs beside the one that serves, and releases nothing.
    """

    name: str
    version: str
    target: str
    length: int
    sha256: str
    shadow: bool = False


def model_path(name: str, version: str) -> str:
    """Return the target path of a release."""
    return f"{MODELS}{name}/{version}.zip"


def provenance_path(name: str, version: str) -> str:
    """Return the target path of the signature of who made a release's model."""
    return f"provenance/{name}/{version}.json"


def device_path(device: str) -> str:
    """Return the target path of a device's assignment."""
    return f"devices/{device}.json"


def release_of(target: Target) -> Release:
    """Read the release that a target of the image repository is.

    Raises:
        FormError: it has another form.
    """
    said = target.custom.get(KEY)
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise FormError("the list of releases is of a form that this version of Readside does not know")
    needs = said.get("needs")
    if not isinstance(needs, dict):
        raise FormError("a release does not say what it needs")
    release = Release(
        name=_text(said, "name", _NAME),
        version=_text(said, "version", _NAME),
        digest=_text(said, "digest", _DIGEST),
        counter=_count(said, "counter"),
        published_at=float(_count(said, "published_at")),
        recalled=str(said.get("recalled", ""))[:200],
        needs=Needs(
            package_format=_count(needs, "package_format"),
            readside=_text(needs, "readside", _VERSION),
            memory_mib=_count(needs, "memory_mib"),
            unpacked_bytes=_count(needs, "unpacked_bytes"),
            engines=_names(needs.get("engines")),
        ),
    )
    if target.path != model_path(release.name, release.version):
        raise FormError("a release stands under another release's name")
    return release


def assignment_bytes(device: str, assigned: Sequence[Assigned]) -> bytes:
    """Write a device's assignment.

    Shadows stand in a list of their own: a device that does not know of them must not let one serve.
    """
    said: dict[str, Any] = {"format": FORMAT, "device": device}
    said["models"] = [_line(one) for one in assigned if not one.shadow]
    if shadows := [_line(one) for one in assigned if one.shadow]:
        said["shadows"] = shadows
    return json.dumps(said, indent=1, sort_keys=True).encode()


def assignment_of(data: bytes, device: str) -> list[Assigned]:
    """Read the assignment of this device.

    Raises:
        FormError: it has another form, is another device's, or names a model twice in one list.
    """
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormError("the assignment is not JSON") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT or not isinstance(said.get("models"), list):
        raise FormError("the assignment is of a form that this version of Readside does not know")
    if said.get("device") != device:
        raise FormError("the assignment is another device's")
    shadows = said.get("shadows", [])
    if not isinstance(shadows, list):
        raise FormError("the assignment's shadows are no list")
    assigned = [_assigned(one, shadow=False) for one in said["models"]]
    assigned += [_assigned(one, shadow=True) for one in shadows]
    if len({(one.name, one.shadow) for one in assigned}) < len(assigned):
        raise FormError("the assignment names a model twice")
    return assigned


def reference(digest: str) -> int:
    """Return the number that a package has where no text may go: the first 48 bits of its digest.

    Raises:
        FormError: it is no digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise FormError("a digest is `sha256:` and 64 hexadecimal digits")
    return int(digest.removeprefix("sha256:")[:12], 16)


def is_name(text: str) -> bool:
    """Say whether a text can be the name of a model or a device, or a version."""
    return _NAME.fullmatch(text) is not None


def _line(one: Assigned) -> dict[str, Any]:
    """Write a line; that of a release which serves stays as devices before shadows knew it."""
    said = asdict(one)
    if not one.shadow:
        del said["shadow"]
    return said


def _assigned(said: Any, *, shadow: bool) -> Assigned:
    if not isinstance(said, dict):
        raise FormError("a line of the assignment is no table")
    if said.get("shadow", False) is not shadow:
        raise FormError("a line of the assignment stands in the wrong list")
    return Assigned(
        name=_text(said, "name", _NAME),
        version=_text(said, "version", _NAME),
        target=model_path(_text(said, "name", _NAME), _text(said, "version", _NAME)),
        length=_count(said, "length"),
        sha256=_text(said, "sha256", _SHA256),
        shadow=shadow,
    )


def _text(said: Mapping[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise FormError(f"{key} is missing or has another form")
    return value


def _count(said: Mapping[str, Any], key: str) -> int:
    value = said.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_MAX:
        raise FormError(f"{key} is missing or is no number that can be")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and is_name(one) for one in value):
        raise FormError("engines is no list of names")
    return tuple(value)
