"""The site's configuration: one TOML file, read once, validated whole, every fault reported at once.

Unknown keys are faults.
Nothing here reads the environment or opens anything but the file itself.
Route expressions are checked by `appliance.routes`, packages by `models`; this module knows only shapes
and names.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from appliance.core import viewerlink
from appliance.core.outputs import Output

DEFAULT_PATH = Path("/etc/readside/site.toml")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
AeTitleText = Annotated[
    str, StringConstraints(pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$", strip_whitespace=True)
]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Right = Literal["store", "query"]
EngineName = Literal["tensorrt", "cuda", "openvino", "cpu", "kserve"]
Server = Annotated[str, StringConstraints(pattern=r"^(http|grpc)://[^/\s:]+:\d{1,5}$")]
# More than one device is one box each for now: the key stays a list, and one entry is taken.
Devices = Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1, max_length=1)]


# Names that the design keeps for what later versions bring; asking for one now is a fault of its own kind.
RESERVED = frozenset({"registry", "dicom.tls"})
# A socket's address holds 107 bytes on Linux; the box's sockets lie in `run/` under the storage root.
ROOT_BYTES_MAX = 90


class ConfigError(Exception):
    """The configuration cannot be used; `faults` holds one sentence for each reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


class Section(BaseModel):
    """One table of the file: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


class Site(Section):
    """[site]: who runs this box."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Dicom(Section):
    """[dicom]: the box's own application entity."""

    ae_title: AeTitleText = "READSIDE"
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    max_associations: Annotated[int, Field(ge=1, le=512)] = 16


class Peer(Section):
    """[[peers]]: one application entity that may talk to the box, receive from it, or both."""

    name: Name
    ae_title: AeTitleText
    host: str = ""
    port: Port | None = None
    may: tuple[Right, ...] = ("store",)
    outputs: tuple[Output, ...] = ("sr", "seg", "sc", "text-sr")

    @property
    def reachable(self) -> bool:
        """Say whether the box has an address to open an association to."""
        return bool(self.host) and self.port is not None


class Storage(Section):
    """[storage]: where everything lies, how much room stays free, how long images are kept."""

    root: Path
    floor_gib: Annotated[float, Field(ge=0)] = 5.0
    retain_days: Annotated[float, Field(gt=0)] = 7.0

    @field_validator("root")
    @classmethod
    def _root_fits(cls, root: Path) -> Path:
        if not root.is_absolute():
            raise ValueError("storage.root: must be an absolute path")
        length = len(os.fsencode(root))
        if length > ROOT_BYTES_MAX:
            raise ValueError(
                f"storage.root: is {length} bytes long, at most {ROOT_BYTES_MAX} leave room for sockets"
            )
        return root

    @property
    def floor_bytes(self) -> int:
        """Return the free space that receiving never eats into, in bytes."""
        return int(self.floor_gib * 2**30)


class LedgerSection(Section):
    """[ledger]: the database; empty means SQLite under the storage root."""

    url: str = ""


class Assembly(Section):
    """[assembly]: when a study counts as complete."""

    quiet_seconds: Seconds = 60.0
    series_quiet_seconds: Seconds = 30.0
    deadline_seconds: Seconds = 3600.0
    confirm_with: Name | None = None
    confirm_every_seconds: Seconds = 10.0
    confirm_settle_seconds: Seconds = 5.0


class Inference(Section):
    """[inference]: which engines to try, best first, on which device, and how much they may take.

    Attributes:
        threads: of one call on the processor; 0 takes every core.
        devices: CUDA ordinals.
        memory_gib: of all loaded models together; none: what there is.
        pinned: models that stay loaded whatever else is asked for.
        jobs_at_once: series that are worked on side by side; more than one lets a GPU batch across studies.
        batch_wait_ms: how long a call may wait for others to join it.
        kserve: servers of the Open Inference Protocol, http://host:port or grpc://host:port.
    """

    engines: tuple[EngineName, ...] = ("cpu",)
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    devices: Devices = (0,)
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    pinned: tuple[Name, ...] = ()
    jobs_at_once: Annotated[int, Field(ge=1, le=16)] = 1
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    kserve: tuple[Server, ...] = ()


class Models(Section):
    """[models]: folders whose sub-folders are packages; those that ship with Readside are always there."""

    folders: tuple[Path, ...] = ()


class Route(Section):
    """[[routes]]: which series of a study goes to which model, and who gets the result."""

    name: Name
    when: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    model: Name
    send_to: tuple[Name, ...] = ()
    mode: Literal["release", "shadow"] = "release"
    priority: Annotated[int, Field(ge=0, le=9)] = 5


class User(Section):
    """[[console.users]]: a person who may see patient data in the console."""

    name: Name
    password_hash: Annotated[str, StringConstraints(pattern=r"^\$argon2id\$")]


class Console(Section):
    """[console]: the pages for people.

    Attributes:
        viewer_link: address of a study in the site's own viewer; `{study_uid}` and `{accession_number}` stand
            for what it is asked by. Empty: no such link is shown.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8042
    users: tuple[User, ...] = ()
    viewer_link: Annotated[str, StringConstraints(max_length=2048)] = ""

    @field_validator("viewer_link")
    @classmethod
    def _link_opens_a_study(cls, link: str) -> str:
        if link and (fault := viewerlink.fault_of(link)):
            raise ValueError(f"console.viewer_link: {fault}")
        return link


class Audit(Section):
    """[audit]: where the audit trail goes besides the ledger: a repository that takes syslog over TLS.

    Attributes:
        host: of the repository; empty: the trail stays on this box.
        ca: PEM file with the certificates that the repository's is checked against.
        certificate: PEM file of this box's own, where the repository asks for one.
        key: its private key.
    """

    host: str = ""
    port: Port = 6514
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _files_fit(self) -> Self:
        if self.host and self.ca is None:
            raise ValueError(
                "audit.ca: must be given with audit.host: nothing is sent to who cannot prove itself"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("audit.certificate: is given together with audit.key, or neither is")
        return self


class Config(Section):
    """The whole file."""

    site: Site
    dicom: Dicom = Dicom()
    peers: tuple[Peer, ...] = ()
    storage: Storage
    ledger: LedgerSection = LedgerSection()
    assembly: Assembly = Assembly()
    inference: Inference = Inference()
    models: Models = Models()
    routes: tuple[Route, ...] = ()
    console: Console = Console()
    audit: Audit = Audit()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if faults := _faults_between(self.peers, self.routes, self.assembly.confirm_with):
            raise ValueError("\n".join(faults))
        return self

    @property
    def ledger_url(self) -> str:
        """Return the SQLAlchemy URL of the ledger."""
        return self.ledger.url or f"sqlite:///{self.storage.root / 'ledger.sqlite3'}"

    @property
    def run_dir(self) -> Path:
        """Return the folder of the ipc sockets; its access rights are the only lock on them."""
        return self.storage.root / "run"

    def peer(self, name: str) -> Peer:
        """Return a peer by its name in this file."""
        return next(peer for peer in self.peers if peer.name == name)


def _faults_between(
    peers: Sequence[Peer],
    routes: Sequence[Route],
    confirm_with: str | None,
    *,
    faulty: Set[str] = frozenset(),
) -> list[str]:
    """Check how entries refer to one another; peers in `faulty` are there, and no more is known of them."""
    faults = [
        *_doubles("peers", [p.name for p in peers]),
        *_doubles("routes", [r.name for r in routes]),
        *_doubles("peers' ae_title", [p.ae_title for p in peers]),
    ]
    by_name = {peer.name: peer for peer in peers}
    for route in routes:
        asked = [name for name in route.send_to if name not in faulty]
        faults += [_destination_fault(route.name, name, by_name.get(name)) for name in asked]
    if confirm_with is not None and confirm_with not in faulty:
        faults.append(_confirm_fault(confirm_with, by_name.get(confirm_with)))
    return [fault for fault in faults if fault]


def _faults_between_the_sound(tree: dict[str, Any]) -> list[str]:
    """Check how entries of a file refer to one another when some entries have faults of their own."""
    peers, faulty = _sound(Peer, tree.get("peers"))
    routes, _ = _sound(Route, tree.get("routes"))
    assembly = tree.get("assembly")
    confirm_with = assembly.get("confirm_with") if isinstance(assembly, dict) else None
    return _faults_between(
        peers, routes, confirm_with if isinstance(confirm_with, str) else None, faulty=faulty
    )


def _sound(kind: type[S], entries: Any) -> tuple[list[S], set[str]]:
    """Return the entries without a fault, and the names of the others."""
    sound: list[S] = []
    faulty: set[str] = set()
    for entry in entries if isinstance(entries, list) else []:
        try:
            sound.append(kind.model_validate(entry))
        except ValidationError:
            faulty.add(str(entry.get("name")) if isinstance(entry, dict) else "")
    return sound, faulty


def _doubles(where: str, names: Sequence[str]) -> list[str]:
    return [
        f"{where}: {name!r} stands there twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]


def _destination_fault(route: str, name: str, peer: Peer | None) -> str:
    if peer is None:
        return f"routes.{route}.send_to: no peer is called {name!r}"
    return (
        "" if peer.reachable else f"routes.{route}.send_to: peer {name!r} needs host and port to be sent to"
    )


def _confirm_fault(name: str, peer: Peer | None) -> str:
    if peer is None:
        return f"assembly.confirm_with: no peer is called {name!r}"
    if not peer.reachable:
        return f"assembly.confirm_with: peer {name!r} needs host and port to be asked"
    return "" if "query" in peer.may else f'assembly.confirm_with: peer {name!r} needs "query" in its `may`'


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has faults; all of them are listed.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 at byte {error.start}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from error
    return parse(tree)


def parse(tree: dict[str, Any]) -> Config:
    """Validate an already decoded file.

    Raises:
        ConfigError: with one sentence for every fault.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        faults = [line for fault in error.errors() for line in _sentences(fault, tree)]
        # What refers to what is checked last, and not at all once an entry is at fault; we want it anyway.
        already = any(not fault["loc"] for fault in error.errors())
        between = [] if already else _faults_between_the_sound(tree)
        raise ConfigError([*faults, *between]) from error


def _sentences(fault: Any, tree: dict[str, Any]) -> list[str]:
    """Turn one pydantic fault into sentences that name the key as the file spells it."""
    where = _spell(fault["loc"], tree)
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"]).splitlines()
    if fault["type"] == "extra_forbidden":
        reserved = where.split(".")[0] in RESERVED or where in RESERVED
        return [f"{where}: {'is not in this version' if reserved else 'this key is not known'}"]
    if fault["type"] == "missing":
        return [f"{where}: must be given"]
    return [f"{where}: {fault['msg']}"]


def _spell(loc: Sequence[int | str], tree: Any) -> str:
    """Write a location as `peers.pacs.port`, by name where the entry has one."""
    parts: list[str] = []
    for step in loc:
        tree = _descend(tree, step)
        named = isinstance(step, int) and isinstance(tree, dict) and isinstance(tree.get("name"), str)
        parts.append(tree["name"] if named else str(step))
    return ".".join(parts)


def _descend(tree: Any, step: int | str) -> Any:
    try:
        return tree[step]
    except (KeyError, IndexError, TypeError):
        return None
