"""The site's configuration: one TOML file, read once, validated whole, every fault reported at once.

Unknown keys are faults.
Nothing here reads the environment or opens anything but the file itself.
Route expressions are checked by `appliance.routes`, packages by `models`; this module knows only shapes
and names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ValidationError, model_validator

from appliance.core.alerts_section import Alerts
from appliance.core.dicomweb_section import Dicomweb, DicomwebTls, WebClient
from appliance.core.priors_section import priors_faults
from appliance.core.reconcile_section import Reconcile, reconcile_faults
from appliance.core.registry_section import Registry
from appliance.core.sections import (
    Assembly,
    Audit,
    Console,
    Dicom,
    DicomTls,
    Inference,
    LedgerSection,
    Models,
    Peer,
    Priors,
    Route,
    Section,
    Site,
    Storage,
    User,
)
from appliance.core.worklist_section import Worklist, WorklistItem, worklist_faults

__all__ = [
    "DEFAULT_PATH",
    "Alerts",
    "Assembly",
    "Audit",
    "Config",
    "ConfigError",
    "Console",
    "Dicom",
    "DicomTls",
    "Dicomweb",
    "DicomwebTls",
    "Inference",
    "LedgerSection",
    "Models",
    "Peer",
    "Priors",
    "Reconcile",
    "Registry",
    "Route",
    "Section",
    "Site",
    "Storage",
    "User",
    "WebClient",
    "Worklist",
    "WorklistItem",
    "load",
    "parse",
]

DEFAULT_PATH = Path("/etc/readside/site.toml")


class ConfigError(Exception):
    """The configuration cannot be used; `faults` holds one sentence for each reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


S = TypeVar("S", bound=Section)


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
    reconcile: Reconcile = Reconcile()
    registry: Registry = Registry()
    alerts: Alerts = Alerts()
    dicomweb: Dicomweb = Dicomweb()
    worklist: Worklist = Worklist()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        faults = _faults_between(
            self.peers, self.routes, self.assembly.confirm_with, has_tls=self.dicom.tls is not None
        )
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _archives_can_be_asked(self) -> Self:
        if faults := reconcile_faults(self.reconcile, self.peers):
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _workitems_can_be_performed(self) -> Self:
        if faults := worklist_faults(self.worklist, self.peers, self.routes):
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _priors_can_be_asked_for(self) -> Self:
        if faults := priors_faults(self.routes, self.peers, self.assembly):
            raise ValueError("\n".join(faults))
        return self

    @model_validator(mode="after")
    def _windows_have_a_zone(self) -> Self:
        if self.registry.windows and self.site.time_zone is None:
            raise ValueError(
                "site.time_zone: must be given with registry.windows: by which clocks they open, such as"
                " Europe/Vienna"
            )
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
    has_tls: bool,
    faulty: Set[str] = frozenset(),
) -> list[str]:
    """Check how entries refer to one another; peers in `faulty` are there, and no more is known of them."""
    faults = [
        *_doubles("peers", [p.name for p in peers]),
        *_doubles("routes", [r.name for r in routes]),
        *_doubles("peers' ae_title", [p.ae_title for p in peers]),
    ]
    faults += [
        f"peers.{peer.name}: tls and certificate_sha256 need [dicom.tls] with the box's own certificate"
        for peer in peers
        if (peer.tls or peer.certificate_sha256) and not has_tls
    ]
    faults += [fault for peer in peers for fault in _passcode_faults(peer)]
    faults += [
        f"peers.{peer.name}.commitment: needs host and port of the peer, to ask it"
        for peer in peers
        if peer.commitment and not peer.reachable
    ]
    faults += [
        f"peers.{peer.name}: dicomweb_token needs dicomweb"
        for peer in peers
        if peer.dicomweb_token is not None and peer.dicomweb is None
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
    dicom = tree.get("dicom")
    return _faults_between(
        peers,
        routes,
        confirm_with if isinstance(confirm_with, str) else None,
        has_tls=isinstance(dicom, dict) and "tls" in dicom,
        faulty=faulty,
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


def _passcode_faults(peer: Peer) -> Iterator[str]:
    for key, user, _ in peer.passcodes:
        if user is None:
            yield f"peers.{peer.name}.{key}: needs {key.removesuffix('_passcode')}, whose passcode it is"
        if not peer.tls:
            yield f"peers.{peer.name}.{key}: would travel in the clear; set tls = true, or leave it out"


def _destination_fault(route: str, name: str, peer: Peer | None) -> str:
    if peer is None:
        return f"routes.{route}.send_to: no peer is called {name!r}"
    return (
        ""
        if peer.deliverable
        else f"routes.{route}.send_to: peer {name!r} needs host and port, or dicomweb, to be sent to"
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
        return [f"{where}: this key is not known"]
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
