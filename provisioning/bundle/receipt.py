"""What a box without a network has to say, on the stick that came to it: what it took, refused, and holds to.

A receipt is JSON of words, versions and numbers in an envelope that the device signs (DSSE). With it rides a
batch of the same records that a box with a network posts.

Promises: a box that has no key of its own writes an unsigned one, and it says so; what is written to a stick
is noted among what left the site, byte for byte, before the first of them.
Never: holds a sentence of the box, a path, or anything of a study.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance.core.clock import as_text
from appliance.disk.durable import make_folder, write_file
from appliance.health.codes import Kind
from appliance.health.outbox import Outbox, folder_of
from appliance.health.schema import Record, SchemaFault, decode, encode
from appliance.ledger import versions
from appliance.sync.box import ModelBox
from appliance.sync.dsse import Envelope, envelope_of, key_of, to_sign
from appliance.sync.floors import read_floors
from appliance.sync.phase import code_of
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import is_name, reference
from appliance.sync.signing import Signer
from appliance.sync.standing import Standing, registry_folder
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits

FOLDER = "receipts"
KIND = "application/vnd.readside.receipt+json"
_WAY = "stick"
_FLOORS = "floors.json"
_FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}")
_SERVING = (Word.CURRENT, Word.ACTIVATED)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of one release on the box."""

    model: str
    version: str
    word: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What one box said at one time.

    Attributes:
        slot: the name that it was claimed under.
        id: of the key that signs, SHA-256 as hex; empty: the box has none.
        at: epoch seconds, by the box's clock.
        counters: the floors of releases, by model.
        serves: versions that serve, by model; only of models that came by a registry or were installed.
        records: what a box with a network posts.
    """

    slot: str
    id: str
    at: int
    taken: tuple[Taken, ...]
    counters: Mapping[str, int]
    serves: Mapping[str, str]
    clock_at: int
    targets_version: int
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Return the name of its file."""
        return f"receipt-{self.slot}-{self.at}.json"


@dataclass(frozen=True, kw_only=True)
class Read:
    """A receipt as it was found; `envelope` is what its signature is held against."""

    receipt: Receipt
    envelope: Envelope

    def signed_by(self, public_pem: bytes) -> bool:
        """Say whether the holder of this key signed it."""
        try:
            return bool(self.receipt.id) and self.envelope.held_by([key_of(public_pem)])
        except ValueError:
            return False


def made(box: ModelBox, standing: Standing, signer: Signer | None) -> Receipt:
    """Return what a turn came to, as a receipt.

    Raises:
        BundleFault: the box was claimed nowhere.
    """
    slot = box.config.registry.device
    if slot is None:
        raise BundleFault("registry.device is not given: a receipt must say whose it is")
    with box.ledger.read() as tx:
        serves = {name: row.version for name, row in versions.active(tx).items()}
    try:
        floors = read_floors(registry_folder(box.root) / _FLOORS, box.config.registry.roots / _FLOORS)
    except Refusal as refusal:
        raise BundleFault(refusal.sentence) from refusal
    return Receipt(
        slot=slot,
        id="" if signer is None else signer.id,
        at=int(standing.at),
        taken=tuple(Taken(model=o.model, version=o.version, word=o.word.value) for o in standing.outcomes),
        counters=floors.counters,
        serves=serves,
        clock_at=int(floors.clock_at),
        targets_version=floors.targets_version,
        records=tuple(_records(box, standing)),
    )


def put(box: ModelBox, receipt: Receipt, signer: Signer | None, folder: Path) -> Path:
    """Write a receipt, signed if the box can, and return its file.

    Raises:
        OSError, DiskFault, NoSpace: the stick cannot be written; the note that something left is taken back.
        BundleFault: the stick would have it written elsewhere.
    """
    if folder.is_symlink() or (folder / FOLDER).is_symlink():
        raise BundleFault("the folder for receipts on the stick is a link, which no bundle has")
    data = to_bytes(receipt, signer)
    outbox = _outbox(box)
    note = outbox.depart(_WAY, data)
    try:
        path = make_folder(folder / FOLDER) / receipt.name
        write_file(path, data)
    except BaseException:
        outbox.stayed(note)
        raise
    outbox.departed(note, "written")
    return path


def to_bytes(receipt: Receipt, signer: Signer | None) -> bytes:
    """Return a receipt as it is written."""
    said = {"format": _FORMAT, **asdict(replace(receipt, records=()))}
    try:
        said["records"] = base64.b64encode(encode(receipt.records)).decode()
    except SchemaFault as error:
        raise BundleFault(f"what waits to be told cannot be written: {error}") from error
    payload = json.dumps(said, indent=1, sort_keys=True).encode()
    signed = () if signer is None else ((signer.id, signer.sign(to_sign(KIND, payload))),)
    envelope = Envelope(kind=KIND, payload=payload, signatures=signed)
    return json.dumps(envelope.as_json(), indent=1).encode()


def read(data: bytes) -> Read:
    """Read a receipt; who signed it is not judged by this.

    Raises:
        BundleFault: it has another form, or holds what no receipt may.
    """
    try:
        envelope = envelope_of(json.loads(data))
        if envelope.kind != KIND:
            raise ValueError("another kind")
        said = json.loads(envelope.payload)
        if said["format"] != _FORMAT or (said["id"] and not _ID.fullmatch(said["id"])):
            raise ValueError("another form")
        receipt = Receipt(
            slot=_named(said["slot"]),
            id=said["id"],
            at=_count(said["at"]),
            taken=tuple(_taken(one) for one in said["taken"]),
            counters={_named(name): _count(counter) for name, counter in said["counters"].items()},
            serves={_named(name): _named(version) for name, version in said["serves"].items()},
            clock_at=_count(said["clock_at"]),
            targets_version=_count(said["targets_version"]),
            records=tuple(decode(base64.b64decode(said["records"], validate=True))),
        )
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        binascii.Error,
        SchemaFault,
    ) as error:
        raise BundleFault(f"it is no receipt ({type(error).__name__})") from error
    return Read(receipt=receipt, envelope=envelope)


def files_on(stick: Path, *, limits: BundleLimits = DEFAULT) -> list[Path]:
    """Return the receipts on a stick, by name.

    Raises:
        BundleFault: there is no folder of them, it holds links, or too many.
    """
    folder = stick / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        raise BundleFault(f"{folder} is not there: no box has written a receipt to this stick")
    found = sorted(path for path in folder.glob("receipt-*.json"))
    if len(found) > limits.receipts_max:
        raise BundleFault(f"{folder} holds more than {limits.receipts_max} receipts: take some of them away")
    return found


def bytes_of(path: Path, *, limits: BundleLimits = DEFAULT) -> bytes:
    """Return the bytes of a receipt's file.

    Raises:
        BundleFault: it is a link, is too large, or cannot be read.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > limits.receipt_bytes_max:
            raise BundleFault("it is no file that can be a receipt")
        return path.read_bytes()
    except OSError as error:
        raise BundleFault(f"it cannot be read: {error.strerror}") from error


def said(receipt: Receipt) -> str:
    """Return a receipt in one line."""
    words = [f"{one.model} {one.version} {one.word}".strip() for one in receipt.taken]
    return f"{receipt.slot} at {as_text(receipt.at)}: {', '.join(words)}"


def _records(box: ModelBox, standing: Standing) -> list[Record]:
    """Put the turn's outcome into the outbox, and return what would be posted next.

    A site that wants no numbers told has none in its receipts either.
    """
    if box.config.registry.telemetry == "off":
        return []
    outbox = _outbox(box)
    for outcome in standing.outcomes:
        if outcome.digest:
            values = {
                "release": reference(outcome.digest),
                "phase": int(outcome.phase),
                "reason": code_of(outcome.word),
                "serving": outcome.word in _SERVING,
            }
            outbox.add(Kind.STATE, values, at=standing.at)
    return outbox.waiting(DEFAULT.records_max)


def _outbox(box: ModelBox) -> Outbox:
    return Outbox(folder=folder_of(box.root), clock=box.ledger.clock)


def _taken(said: Any) -> Taken:
    model, version = said["model"], said["version"]
    return Taken(
        model=model and _named(model), version=version and _named(version), word=Word(said["word"]).value
    )


def _named(said: Any) -> str:
    if not isinstance(said, str) or not is_name(said):
        raise ValueError("no name")
    return said


def _count(said: Any) -> int:
    if type(said) is not int or not 0 <= said < 2**53:
        raise ValueError("no number")
    return said
