"""The tables of the configuration, one class for each: what may stand in them, and in which shape.

Promises: frozen, and closed to keys they do not know; a default is what a small box needs.
Never: opens a file, or looks at another table; `appliance.core.config` does both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from appliance.core import viewerlink
from appliance.core.credential import SecretFile
from appliance.core.outputs import Output

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
AeTitleText = Annotated[
    str, StringConstraints(pattern=r"^[\x20-\x5b\x5d-\x7e]{1,16}$", strip_whitespace=True)
]
UserName = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,62}[\x21-\x7e])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400)]
Right = Literal["store", "query", "notify"]


def _fingerprint(text: object) -> object:
    """Take a fingerprint as the tools write it: with colons or without, in either case."""
    return text.replace(":", "").lower() if isinstance(text, str) else text


def _one_or_more(entry: object) -> object:
    return (entry,) if isinstance(entry, str) else entry


def _is_a_zone(name: str) -> str:
    """Check that this machine has the rules of a time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"site.time_zone: {name!r} is no time zone that this machine knows, such as Europe/Vienna"
        ) from None
    return name


def _has_a_port(address: str) -> str:
    """Check the port of an address, which has the shape of one."""
    try:
        port = urlsplit(address).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"peers: dicomweb: {address} has no port between 1 and 65535")
    return address


Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), BeforeValidator(_fingerprint)]
Fingerprints = Annotated[tuple[Fingerprint, ...], BeforeValidator(_one_or_more)]
# ASCII alone, for it goes into a request as it stands; no user, query or fragment.
WebAddress = Annotated[
    str,
    StringConstraints(pattern=r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[!-\"$->@-~]*)?$"),
    AfterValidator(_has_a_port),
]
EngineName = Literal["tensorrt", "cuda", "openvino", "cpu", "kserve"]
Server = Annotated[str, StringConstraints(pattern=r"^(http|grpc)://[^/\s:]+:\d{1,5}$")]
# More than one device is one box each for now: the key stays a list, and one entry is taken.
Devices = Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(min_length=1, max_length=1)]

# A socket's address holds 107 bytes on Linux; the box's sockets lie in `run/` under the storage root.
ROOT_BYTES_MAX = 90


class Section(BaseModel):
    """One table of the file: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(Section):
    """[site]: who runs this box, and by which clocks, such as Europe/Vienna; not given: UTC."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    time_zone: Annotated[str, StringConstraints(max_length=64), AfterValidator(_is_a_zone)] | None = None

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone of the site's clocks."""
        return ZoneInfo(self.time_zone or "UTC")


class DicomTls(Section):
    """[dicom.tls]: how the box proves itself to peers, and by what it knows them (PS3.15 B.12).

    Attributes:
        certificate: PEM file of the box's own certificate, with those between it and its authority.
        key: PEM file of its private key, without a password.
        ca: PEM file of the authorities whose certificates peers may show.
        plain: whether the port without TLS stays open too.
    """

    certificate: Path
    key: SecretFile
    ca: Path
    port: Annotated[int, Field(ge=0, le=65535)] = 2762
    plain: bool = False


class Dicom(Section):
    """[dicom]: the box's own application entity; with `tls`, `port` is closed unless `plain` keeps it.

    With `commit` the box commits to peers what it keeps (PS3.4 J); it keeps until it purges, so no peer may
    delete on its word.
    """

    ae_title: AeTitleText = "READSIDE"
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    max_associations: Annotated[int, Field(ge=1, le=512)] = 16
    commit: bool = False
    tls: DicomTls | None = None

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.tls is not None and self.tls.plain and self.port and self.port == self.tls.port:
            raise ValueError("dicom.tls.port: is dicom.port too; with plain = true they must differ")
        return self


class Peer(Section):
    """[[peers]]: one application entity that may talk to the box, receive from it, or both.

    Attributes:
        tls: whether it is spoken with under TLS only, in both directions.
        certificate_sha256: fingerprints of the certificates it may show; none: one that names it.
        commitment: whether it has to commit what it was sent (PS3.4 J) before a delivery is done.
        dicomweb: address of its DICOMweb service; with it results go there by STOW-RS.
        dicomweb_token: file with the token that the service is shown.
        retrieve: how the box fetches from it: have it sent (C-MOVE), or get it (C-GET).
        user: the user that the box names to it (PS3.7 D.3.3.7), with `user_passcode` a file of its passcode.
        shows_user: the user that it has to name to the box, with `shows_user_passcode` likewise.
    """

    name: Name
    ae_title: AeTitleText
    host: str = ""
    port: Port | None = None
    may: tuple[Right, ...] = ("store",)
    outputs: tuple[Output, ...] = ("sr", "seg", "sc", "text-sr")
    tls: bool = False
    certificate_sha256: Fingerprints = ()
    commitment: bool = False
    dicomweb: WebAddress | None = None
    dicomweb_token: SecretFile | None = None
    retrieve: Literal["move", "get"] = "move"
    user: UserName | None = None
    user_passcode: SecretFile | None = None
    shows_user: UserName | None = None
    shows_user_passcode: SecretFile | None = None

    @property
    def passcodes(self) -> list[tuple[str, str | None, Path]]:
        """Return each passcode: its key, the user it is of, and its file."""
        both = (
            ("user_passcode", self.user, self.user_passcode),
            ("shows_user_passcode", self.shows_user, self.shows_user_passcode),
        )
        return [(key, user, file) for key, user, file in both if file is not None]

    @property
    def reachable(self) -> bool:
        """Say whether the box has an address to open an association to."""
        return bool(self.host) and self.port is not None

    @property
    def fetchable(self) -> bool:
        """Say whether the box may ask it for studies, and take them from it."""
        return self.reachable and {"store", "query"} <= set(self.may)

    @property
    def deliverable(self) -> bool:
        """Say whether the box has an address to send results to."""
        return self.reachable or self.dicomweb is not None


class Storage(Section):
    """[storage]: where everything lies, how much room stays free, how long images and results are kept."""

    root: Path
    floor_gib: Annotated[float, Field(ge=0)] = 5.0
    retain_days: Annotated[float, Field(gt=0)] = 7.0
    retain_results_days: Annotated[float, Field(gt=0)] = 365.0

    @property
    def results_days(self) -> float:
        """Return how long results are kept, in days: never for less than the images they were made from."""
        return max(self.retain_results_days, self.retain_days)

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
        ahead: whether studies are worked on while they arrive; it takes up to 3 GiB of memory more.
        kserve: servers of the Open Inference Protocol, http://host:port or grpc://host:port.
    """

    engines: tuple[EngineName, ...] = ("cpu",)
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    devices: Devices = (0,)
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    pinned: tuple[Name, ...] = ()
    jobs_at_once: Annotated[int, Field(ge=1, le=16)] = 1
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    ahead: bool = True
    kserve: tuple[Server, ...] = ()


class Models(Section):
    """[models]: folders whose sub-folders are packages; those that ship with Readside are always there."""

    folders: tuple[Path, ...] = ()


class Priors(Section):
    """`priors` of a route: which earlier studies of the patient a result is compared with.

    Attributes:
        count: at most so many, the newest that fit.
        within_days: how much earlier they may be.
        wait_seconds: how long a job waits for them at most.
        when: expression over what a peer says of a study; empty: any of the same modality.
        ask: names of the peers that are asked; empty: all that may be.
        send: whether the results of studies that were fetched only to be compared with are sent too.
    """

    count: Annotated[int, Field(ge=1, le=4)] = 1
    within_days: Annotated[int, Field(ge=1, le=36525)] = 1095
    wait_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    when: Annotated[str, StringConstraints(max_length=4096)] = ""
    ask: tuple[Name, ...] = ()
    send: bool = False


class Route(Section):
    """[[routes]]: which series of a study goes to which model, and who gets the result."""

    name: Name
    when: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    model: Name
    send_to: tuple[Name, ...] = ()
    mode: Literal["release", "shadow"] = "release"
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    priors: Priors | None = None


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
    key: SecretFile | None = None

    @model_validator(mode="after")
    def _files_fit(self) -> Self:
        if self.host and self.ca is None:
            raise ValueError(
                "audit.ca: must be given with audit.host: nothing is sent to who cannot prove itself"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("audit.certificate: is given together with audit.key, or neither is")
        return self
