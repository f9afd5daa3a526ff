"""No patient data leaves: studies full of planted words go through a box, and no registry hears one of them.

The words stand in every attribute that can hold one, in names of files, in what exceptions quote and in who
calls. What is looked at: every byte that the registry and a webhook were sent, the registry's database, the
outbox, the log, the metrics and the status. `test_it_can_fail` plants one on purpose in each of them.
"""

from __future__ import annotations

import gzip
import http.server
import json
import sqlite3
import threading
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from pydicom.dataset import Dataset
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.core.clock import Clock
from appliance.core.words import JobState
from appliance.demo.box import Box
from appliance.demo.study import encoded
from appliance.health.limits import LookLimits
from appliance.health.outbox import Outbox, folder_of
from appliance.health.reporter import Reporter
from appliance.health.schema import decode
from appliance.health.sender import Sender
from appliance.ledger import counts, figures
from appliance.services import telemetry
from appliance.services.outside import OutsideOf
from appliance.sync import softkey
from appliance.sync.release import reference
from dicom_node.send import Outgoing
from provisioning.registry.database import devices
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import open_database
from provisioning.registry.server.app import application
from provisioning.registry.server.setting import Setting
from tests.provisioning.registry.given import serving
from tests.system.boxes import Pacs, make_box, pacs_in, readside, running, settled, store, store_all
from tests.system.images import decoded, made_up, rewritten
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(900)
WORD, DATE, TIME, DIGITS = "Qvxzmark", "19130423", "031337", "770077007700"
# How an unknown caller calls himself is in the log, for the technician; it may not leave either.
CALLER = "QZNOBODY"
MARKS = (WORD.lower(), DATE, "1913-04-23", DIGITS)
_TEXTS = {"LO": 60, "SH": 14, "PN": 60, "LT": 200, "ST": 200, "UC": 200, "UT": 200, "AE": 14, "CS": 14}
# What the box must understand to get as far as a result.
_KEPT = {"Modality", "PhotometricInterpretation", "SpecificCharacterSet", "RescaleType"}
# fmt: off
_PLANTED = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "ReferringPhysicianName", "OperatorsName",
    "InstitutionName", "PerformingPhysicianName", "PatientID", "OtherPatientIDs", "AccessionNumber",
    "StudyID", "StationName", "InstitutionAddress", "StudyDescription", "SeriesDescription", "ProtocolName",
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "PatientComments",
    "AdditionalPatientHistory", "ImageComments", "Occupation", "PatientAddress", "StudyComments",
    "RequestedProcedureDescription", "RetrieveAETitle", "BodyPartExamined",
)
# fmt: on
_DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_ROUTE = """
[[routes]]
name = "bands"
when = 'Modality == "CT"'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""


def poisoned(item: Outgoing, number: int) -> Outgoing:
    """Return an image with a planted word wherever one can stand."""
    dataset = decoded(item)
    for keyword in _PLANTED:
        setattr(dataset, keyword, f"{WORD}{keyword}"[:14])
    for keyword in _DATES:
        setattr(dataset, keyword, DATE)
    dataset.StudyTime = TIME
    for element in dataset:
        if element.VR in _TEXTS and element.keyword not in _KEPT:
            element.value = f"{WORD} {element.keyword}"[: _TEXTS[element.VR]]
    block = dataset.private_block(0x0099, f"{WORD} PRIVATE", create=True)
    block.add_new(0x01, "LO", f"{WORD} in private")
    nested = Dataset()
    nested.CodeMeaning, nested.CodeValue, nested.CodingSchemeDesignator = f"{WORD} nested", WORD, "99QVXZ"
    dataset.ProcedureCodeSequence = [nested]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, keyword, f"{dataset[keyword].value}.{DIGITS}{number}")
    dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{DIGITS}{number}"
    return Outgoing(
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        transfer_syntax_uid=item.transfer_syntax_uid,
        data=encoded(dataset),
    )


def study(number: int) -> list[Outgoing]:
    return [poisoned(item, number) for item in made_up().instances()]


def without_numbers(item: Outgoing) -> Outgoing:
    """Return an image in which a planted word stands where a number belongs: what reads it will quote it."""
    filled = rewritten(item, KVP="1313131313", RescaleSlope="1414141414", PixelSpacing=["1515151515", "1"])
    data = filled.data
    for planted in (b"1313131313", b"1414141414", b"1515151515"):
        assert planted in data
        data = data.replace(planted, f"{WORD}99".encode())
    return replace(filled, data=data)


@dataclass
class Ears:
    """An ASGI application that writes down every byte of every request before it hands it on."""

    app: ASGIApp
    heard: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    batches: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: list[bytes] = []

        async def listening() -> Message:
            message = await receive()
            parts.append(message.get("body", b""))
            return message

        if scope["type"] == "http":
            self.heard.append(repr([scope["method"], scope["raw_path"], scope["query_string"]]).encode())
            self.heard += [name + b": " + value for name, value in scope["headers"]]
        await self.app(scope, listening, send)
        self.bodies.append(b"".join(parts))
        if scope["type"] == "http" and scope["path"] == telemetry.PATH:
            self.batches.append(self.bodies[-1])


@dataclass
class Hook:
    """A webhook on loopback."""

    heard: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        heard = self.heard

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(str(self.headers).encode())
                heard.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"


class Later(Clock):
    """A clock two days and some hours ahead: every hour and day of the test is over."""

    def now(self) -> float:
        return super().now() + 50 * 3600


@dataclass
class Told:
    """A box that went through everything, and everything that it told."""

    box: Box
    places: dict[str, bytes]
    records: list[Any]
    jobs: dict[str, int]
    kept: int
    quarantined: list[Path]
    refused: set[int]


def leaks(places: dict[str, bytes], marks: tuple[str, ...] = MARKS) -> list[str]:
    """Return where a planted word is, in the clear or packed."""
    found = []
    for name, data in places.items():
        for said in (data, *_unpacked(data)):
            text = said.decode("latin-1").lower()
            wide = said.decode("utf-16-le", "replace").lower()
            found += [f"{mark} in {name}" for mark in marks if mark in text or mark in wide]
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Give every gzip member that begins anywhere in the bytes."""
    start = data.find(b"\x1f\x8b\x08")
    while start >= 0:
        try:
            yield zlib.decompressobj(wbits=31).decompress(data[start:], 1 << 24)
        except zlib.error:
            yield b""
        start = data.find(b"\x1f\x8b\x08", start + 1)


def identity_in(roots: Path) -> softkey.SoftwareKey:
    """Give a device its key and a certificate."""
    roots.mkdir(parents=True)
    key = softkey.make(roots / "device.key")
    private: Any = load_pem_private_key((roots / "device.key").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "box-1")])
    now = datetime.now(tz=UTC)
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + timedelta(days=9))
    (roots / "device.crt").write_bytes(made.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM))
    return key


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("poisoned")
    server = folder / "registry"
    for repository in ("image", "director"):
        place = server / "public" / repository / "metadata"
        place.mkdir(parents=True)
        (place / "timestamp.json").write_text('{"signed": {"version": 7}}')
    url = f"sqlite:///{folder / 'registry.sqlite'}"
    key, hook = identity_in(folder / "roots"), Hook()
    database = open_database(url)
    with database.write() as tx:
        devices.add_slot(tx, Slot(name="box-1"), at=1.0)
        devices.enrol(tx, key.id, slot="box-1", serial="S1", public_key=key.public_pem.decode(), at=1.0)
    database.close()
    ears = Ears(application(Setting(folder=server, database=url)))
    pacs = pacs_in(folder / "pacs")
    try:
        with serving(ears) as served:  # type: ignore[arg-type]
            more = f"""{_ROUTE}
[registry]
url = "{served.url}"
device = "box-1"
roots = "{folder / "roots"}"
telemetry = "health+drift"

[alerts]
webhook = "{hook.address}"
"""
            box = make_box(folder / "site", pacs_port=pacs.start(), more=more)
            yield _through(box, pacs, ears, hook, folder)
    finally:
        pacs.stop()
        hook.server.shutdown()
        hook.server.server_close()


def _through(box: Box, pacs: Pacs, ears: Ears, hook: Hook, folder: Path) -> Told:
    root = box.config.storage.root
    planted = root / "kept" / "0" / f"{WORD}-{DATE}.dcm"
    planted.parent.mkdir(parents=True)
    planted.write_bytes(f"{WORD} is no image".encode() * 99)
    with running(box):
        metrics = _go(box)
        status = readside("status", "--json", "--config", box.config_path).stdout.encode()
        until(lambda: ears.batches, seconds=120, what="a first batch at the registry")
        with box.ledger.read() as tx:
            counted = counts.count(tx)
    # The box has ended: what is left to tell is told by this process, with its code and its files.
    _tell_the_rest(box)
    outbox = Outbox(folder=folder_of(root))
    left = b"\n".join(one.body for one in outbox.departures(9_999))
    tables = b"\n".join(path.read_bytes() for path in sorted(folder_of(root).iterdir()) if path.is_file())
    base = sqlite3.connect(folder / "registry.sqlite")
    rows = "\n".join(base.iterdump()).encode()
    base.close()
    return Told(
        box=box,
        places={
            "requests": b"\n".join(ears.heard + ears.bodies),
            "webhook": b"\n".join(hook.heard),
            "registry": rows,
            "outbox": tables,
            "left": left,
            "log": box.log_path.read_bytes(),
            "metrics": metrics,
            "status": status,
        },
        records=[one for body in ears.batches for one in decode(body)],
        jobs=dict(counted.jobs),
        kept=counted.kept,
        quarantined=[path for path in (root / "quarantine").rglob("*") if path.is_file()],
        refused=REFUSED,
    )


REFUSED: set[int] = set()


def _go(box: Box) -> bytes:
    """Send one study that succeeds, one that fails, and images that are refused; return the metrics."""
    good, odd = study(1), [without_numbers(item) for item in study(2)]
    # Fewer bytes than the rows and columns say: the box keeps it, and its pixels cannot be read.
    bad = [rewritten(item, PixelData=b"\0" * 64) for item in study(4)]
    for objects in (good, odd, bad):
        store_all(box, objects)
    torn = study(3)[0]
    REFUSED.update(
        sent.status or 0
        for sent in store(
            box,
            [
                replace(torn, data=torn.data[:-99]),
                rewritten(torn, SeriesInstanceUID=f"../../{WORD}"),
                replace(torn, sop_instance_uid=f"2.25.{DIGITS}"),
            ],
        )
    )
    assert store(box, good, calling_ae=CALLER)[0].status != 0
    for objects in (good, odd, bad):
        settled(box, str(decoded(objects[0]).StudyInstanceUID), seconds=400)
    return bytes(urllib.request.urlopen(f"{box.console}/metrics", timeout=60).read())


def _tell_the_rest(box: Box) -> None:
    """Look and send once more, when each hour and day of the test is over."""
    ledger = box.ledger
    later, ledger.clock = Later(), Later()
    outbox = Outbox(folder=folder_of(box.config.storage.root), clock=later)
    Reporter(
        ledger=ledger,
        config=box.config,
        outbox=outbox,
        outside=OutsideOf(ledger=ledger, config=box.config),
        number_of=reference,
        limits=LookLimits(hours_per_turn=9 * 7 * 24),
    ).turn()
    Sender(outbox=outbox, post=lambda body: telemetry.post(box.config, body)).turn()
    telemetry.tell(box.config, outbox)
    with ledger.read() as tx:
        assert figures.strata(tx, 0), "the box kept numbers of its answers"
    box.stop()


def test_everything_went_through(told: Told) -> None:
    assert told.jobs.get(JobState.DONE, 0) >= 2
    assert told.jobs.get(JobState.FAILED, 0) == 1
    assert told.kept > 6
    assert any(WORD in path.name or WORD.encode() in path.read_bytes() for path in told.quarantined)
    assert {0xC110, 0xC111, 0xC112} <= told.refused
    kinds = {record.kind.name for record in told.records}
    assert {"MACHINE", "STATE", "WORK", "INPUT"} <= kinds
    assert b"raised" in told.places["webhook"]
    said = json.loads(told.places["status"])
    assert said["telemetry"]["level"] == "health+drift"
    assert {"alarm", "subject", "since", "sentence"} <= said["alerts"][0].keys()
    assert all(told.places.values())


def test_not_one_planted_word_left_the_box(told: Told) -> None:
    assert leaks(told.places) == []
    leaving = {name: told.places[name] for name in ("requests", "webhook", "registry", "outbox", "left")}
    assert leaks(leaving, (CALLER.lower(),)) == []
    assert leaks(told.places, (CALLER.lower(),)) == [f"{CALLER.lower()} in log"]


@pytest.mark.parametrize(
    "planted",
    [
        f"x{WORD}x".encode(),
        WORD.upper().encode(),
        f"1.2.{DIGITS}".encode(),
        DATE.encode(),
        gzip.compress(f'{{"name": "{WORD}"}}'.encode()),
        WORD.encode("utf-16-le"),
    ],
    ids=["a word", "in capitals", "in a UID", "a date", "packed", "in UTF-16"],
)
def test_it_can_fail(told: Told, planted: bytes) -> None:
    for place, data in told.places.items():
        # UTF-16 is found where it begins at an even byte; the rest of the place is looked at elsewhere.
        whole = planted if planted == WORD.encode("utf-16-le") else data[:4_000] + b"\n" + planted
        assert {found.rpartition(" in ")[2] for found in leaks({place: whole})} == {place}
