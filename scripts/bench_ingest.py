"""Measure how fast instances come in, beside DCMTK, Orthanc and a small C program that syncs each to a file.

usage: scripts/bench-ingest [--rounds N] [--associations N ...] [--cases ct mr ...] [--receivers NAME ...]
Receivers take turns within a round, so that a busy machine falls on all alike; told are medians of the rounds
and ratios to ours.
Before each measurement 1.5 GB are faulted in and freed: where a hypervisor takes idle pages back, page-cache
allocations are several times slower until then. How busy others keep the machine is told below the table.
Only this machine is used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import mmap
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pynetdicom.dsutils import encode

from appliance.core import log
from appliance.demo.box import BOX_AE, Box, SiteShape, free_ports
from dicom_node.echo import echo
from dicom_node.limits import Limits
from dicom_node.values import Peer

CALLING_AE: Final = "BENCH"
SENDER_PDU_BYTES: Final = 1 << 20
WARM_BYTES: Final = 1536 << 20
START_SECONDS_MAX: Final = 60.0
SEND_SECONDS_MAX: Final = 300.0
SETTLE_SECONDS: Final = 0.7
LOOK_SECONDS: Final = 0.2
CT: Final = "1.2.840.10008.5.1.4.1.1.2"
MR: Final = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
# The sender counts in the last nine digits.
UID: Final = "2.25.3141592653589793238462643383000000000"
NODELAY: Final = {"TCP_NODELAY": "1"}
NAGLE: Final = {"TCP_NODELAY": "0"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of object, and how many of it one association sends in a measurement with so many of them."""

    name: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    instances: int

    def each(self, associations: int) -> int:
        """Return how many instances one association sends."""
        return max(2, math.ceil(self.instances / associations))


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running receiver: where it listens, whom it is, and where its files may be thrown away."""

    name: str
    port: int
    called_ae: str
    pid: int
    throw_away: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement."""

    receiver: str
    case: str
    associations: int
    per_second: float
    mb_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_seconds_per_gb: float
    kept: int
    refused: int
    # What part of the processors others used just before.
    others: float


def main() -> int:
    """Measure what is asked for and print it."""
    asked = _arguments()
    log.silence()
    # What was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if shutil.which("cc") is None:
        print("scripts/bench-ingest: no C compiler (cc) here, and the sender needs one", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=asked.folder) as name:
        folder = Path(name)
        wire = folder / "wire"
        source = Path(__file__).with_name("bench_wire.c")
        subprocess.run(["cc", "-O2", "-o", str(wire), str(source), "-lpthread"], check=True)
        figures = _measure(asked, folder, wire)
    print(json.dumps([vars(figure) for figure in figures]) if asked.json else table(figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--receivers", nargs="+", choices=RECEIVERS, default=list(RECEIVERS))
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of instances")
    parser.add_argument("--folder", type=Path, default=None, help="where the receivers keep (a real disk)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _measure(asked: argparse.Namespace, folder: Path, wire: Path) -> list[Figure]:
    """Run every receiver at once, each idle but for its turn."""
    cases = [CASES[name](folder, asked.scale) for name in asked.cases]
    figures, first = [], 1
    with contextlib.ExitStack() as stack:
        running = []
        for name in asked.receivers:
            place = folder / name
            place.mkdir()
            running.append(stack.enter_context(RECEIVERS[name](name, place, wire)))
        for _ in range(asked.rounds):
            for case in cases:
                for associations in asked.associations:
                    for receiver in running:
                        figures.append(_one(receiver, case, associations, wire, first))
                        first += associations * case.each(associations)
    return figures


def _one(receiver: Receiver, case: Case, associations: int, wire: Path, first: int) -> Figure:
    """Send once and account for it."""
    _fault_in()
    each = case.each(associations)
    command = [
        *(str(wire), "send", "127.0.0.1", str(receiver.port), CALLING_AE, receiver.called_ae),
        *(str(associations), str(each), str(SENDER_PDU_BYTES), str(case.path)),
        *(case.sop_class_uid, case.transfer_syntax_uid, UID, str(first)),
    ]
    others = _busy()
    before = _cpu_seconds(receiver.pid)
    done = subprocess.run(command, capture_output=True, text=True, timeout=SEND_SECONDS_MAX, check=False)
    if done.returncode:
        raise SystemExit(f"{receiver.name}: {done.stderr.strip()}")
    # Rows follow the answers, and are counted.
    time.sleep(SETTLE_SECONDS)
    cpu = _cpu_seconds(receiver.pid) - before
    head, *rest = done.stdout.split("\n")
    seconds, kept, refused = head.split()
    latencies = sorted(float(line) / 1000 for line in rest if line)
    count, size = len(latencies), case.path.stat().st_size
    if receiver.throw_away is not None:
        for path in receiver.throw_away.iterdir():
            path.unlink()
    return Figure(
        receiver=receiver.name,
        case=case.name,
        associations=associations,
        per_second=count / float(seconds),
        mb_per_second=count * size / float(seconds) / 1e6,
        p50_ms=latencies[count // 2],
        p99_ms=latencies[min(count - 1, math.ceil(count * 0.99))],
        cpu_seconds_per_gb=cpu / (count * size / 1e9),
        kept=int(kept),
        refused=int(refused) + each * associations - count,
        others=others,
    )


def _fault_in() -> None:
    """Touch and free memory, so that the page cache has pages to take."""
    with mmap.mmap(-1, WARM_BYTES) as pages:
        for offset in range(0, WARM_BYTES, mmap.PAGESIZE):
            pages[offset] = 1


def _busy() -> float:
    """Return what part of the processors is in use while nothing is measured."""
    before = _ticks()
    time.sleep(LOOK_SECONDS)
    used, total = (now - then for now, then in zip(_ticks(), before, strict=True))
    return used / max(1, total)


def _ticks() -> tuple[int, int]:
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    # Idle, and waiting for a disk.
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and of its children."""
    total = 0.0
    for one in _family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
            # Its own, and that of children that have ended: storescp has one for each association.
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(one for child in children for one in _family(int(child)))]


# What is sent.


def _ct(folder: Path, scale: float) -> Case:
    return _case(folder, "ct", _slice(CT, 512), round(400 * scale))


def _mr(folder: Path, scale: float) -> Case:
    return _case(folder, "mr", _slice(MR, 256, Modality="MR"), round(1500 * scale))


def _big(folder: Path, scale: float) -> Case:
    data = _slice(CT, 512, frames=190)
    return _case(folder, "big", data, max(2, round(8 * scale)))


def _jpeg(folder: Path, scale: float) -> Case:
    """A CT slice in 180 KB of something that nobody decodes here."""
    data = _slice(CT, 512)
    data.PixelData = encapsulate([os.urandom(180_000)])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return _case(folder, "jpeg", data, round(1000 * scale), syntax=JPEG_LS)


def _case(folder: Path, name: str, data: Dataset, instances: int, *, syntax: str = EXPLICIT) -> Case:
    encoded = encode(data, False, True)
    assert encoded is not None
    path = folder / f"{name}.bin"
    path.write_bytes(encoded)
    return Case(
        name=name,
        sop_class_uid=str(data.SOPClassUID),
        transfer_syntax_uid=syntax,
        path=path,
        instances=instances,
    )


def _slice(sop_class_uid: str, side: int, *, frames: int = 1, **changes: Any) -> Dataset:
    """A slice with the header that scanners write: some seventy elements, sequences among them."""
    data = Dataset()
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-D1100", "SRT", "Head"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, "2.25.17"
    data.SpecificCharacterSet, data.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = sop_class_uid, UID, "CT"
    data.StudyInstanceUID, data.SeriesInstanceUID = "2.25.1000000001", "2.25.1000000002"
    data.FrameOfReferenceUID = "2.25.1000000003"
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(data, keyword, "20260101")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(data, keyword, "101112.123456")
    for keyword in ("Manufacturer", "InstitutionName", "StationName", "ManufacturerModelName"):
        setattr(data, keyword, "Bench")
    for keyword in ("StudyDescription", "SeriesDescription", "ProtocolName", "ConvolutionKernel"):
        setattr(data, keyword, "BENCH")
    data.PatientName, data.PatientID, data.PatientSex = "Bench^Nobody", "BENCH-1", "O"
    data.AccessionNumber, data.StudyID, data.BodyPartExamined = "1", "1", "HEAD"
    data.PatientPosition, data.SoftwareVersions, data.DeviceSerialNumber = "HFS", "1.0", "1"
    data.ProcedureCodeSequence, data.AnatomicRegionSequence = Items([code]), Items([code])
    data.ReferencedImageSequence = Items([reference, reference, reference])
    data.SeriesNumber = data.AcquisitionNumber = data.InstanceNumber = 1
    for keyword in ("KVP", "SliceThickness", "ReconstructionDiameter", "DataCollectionDiameter"):
        setattr(data, keyword, "120")
    for keyword in (
        "DistanceSourceToDetector",
        "DistanceSourceToPatient",
        "TableHeight",
        "GantryDetectorTilt",
    ):
        setattr(data, keyword, "0.5")
    for keyword in ("ExposureTime", "XRayTubeCurrent", "Exposure", "GeneratorPower"):
        setattr(data, keyword, "100")
    data.FilterType, data.RotationDirection, data.SliceLocation = "0", "CW", "-12.5"
    data.ImagePositionPatient, data.ImageOrientationPatient = [-125, -125, 10.5], [1, 0, 0, 0, 1, 0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = side
    data.PixelSpacing = [0.488, 0.488]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 1
    data.WindowCenter, data.WindowWidth, data.RescaleIntercept, data.RescaleSlope = 40, 80, -1024, 1
    if frames > 1:
        data.NumberOfFrames = frames
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    data.PixelData = os.urandom(side * side * 2) * frames
    data["PixelData"].VR = "OW"
    return data


# Who receives.


@contextlib.contextmanager
def _running(name: str, command: Sequence[str], folder: Path, port: int, **more: Any) -> Iterator[Receiver]:
    """Run a receiver until the end, once it takes connections."""
    environment = os.environ | more.pop("environment", {})
    with (folder.parent / f"{name}.log").open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    called_ae = more.pop("called_ae", "RECEIVER")
    try:
        _await(process, port, called_ae)
        yield Receiver(name=name, port=port, called_ae=called_ae, pid=process.pid, **more)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, called_ae: str) -> None:
    """Wait for an answer to an echo; a refused class is an answer too."""
    peer = Peer(name="receiver", ae_title=called_ae, host="127.0.0.1", port=port)
    deadline = time.monotonic() + START_SECONDS_MAX
    while echo(peer, calling_ae=CALLING_AE, limits=Limits()).word == "echo.unreachable":
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r}: did not start")
        time.sleep(0.1)


@contextlib.contextmanager
def _ours(name: str, folder: Path, _wire: Path) -> Iterator[Receiver]:
    """The listener of a box as it is: durable, with header scan and ledger."""
    site = SiteShape(pacs_ae=CALLING_AE, pacs_port=1, quiet_seconds=3600.0, more="")
    box = Box(folder, site)
    command = [sys.executable, "-m", "appliance.cli", "service", "listener"]
    with _running(
        name,
        [*command, "--config", str(box.config_path)],
        folder,
        box.config.dicom.port,
        called_ae=BOX_AE,
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as receiver:
        yield receiver


@contextlib.contextmanager
def _wire_alone(name: str, folder: Path, _wire: Path) -> Iterator[Receiver]:
    """Our listener with header scan, keeping nothing: what the wire costs."""
    (port,) = free_ports(1)
    with _running(
        name,
        [sys.executable, "-m", "scripts.bench_ingest_null", str(port), CALLING_AE],
        folder,
        port,
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as receiver:
        yield receiver


def _storescp(environment: dict[str, str], *options: str) -> Callable[[str, Path, Path], Any]:
    @contextlib.contextmanager
    def run(name: str, folder: Path, _wire: Path) -> Iterator[Receiver]:
        (port,) = free_ports(1)
        # A child for each association, as it is run where several senders come at once.
        command = ["storescp", "--fork", "-od", ".", "+B", "+xa", "-aet", "RECEIVER", *options, str(port)]
        with _running(name, command, folder, port, throw_away=folder, environment=environment) as receiver:
            yield receiver

    return run


def _orthanc(environment: dict[str, str], **changes: object) -> Callable[[str, Path, Path], Any]:
    @contextlib.contextmanager
    def run(name: str, folder: Path, _wire: Path) -> Iterator[Receiver]:
        port, http_port = free_ports(2)
        settings = {
            "DicomPort": port,
            "HttpPort": http_port,
            "DicomAet": "RECEIVER",
            "StorageDirectory": "db",
            "IndexDirectory": "db",
            "RemoteAccessAllowed": False,
        } | changes
        (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
        with _running(name, ["Orthanc", "orthanc.json"], folder, port, environment=environment) as receiver:
            yield receiver

    return run


def _raw(durability: str) -> Callable[[str, Path, Path], Any]:
    @contextlib.contextmanager
    def run(name: str, folder: Path, wire: Path) -> Iterator[Receiver]:
        process = subprocess.Popen(
            [str(wire), "receive", str(folder), durability], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield Receiver(name=name, port=port, called_ae="RECEIVER", pid=process.pid, throw_away=folder)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    return run


CASES: Final[dict[str, Callable[[Path, float], Case]]] = {"ct": _ct, "mr": _mr, "big": _big, "jpeg": _jpeg}
RECEIVERS: Final[dict[str, Callable[[str, Path, Path], Any]]] = {
    "readside": _ours,
    "readside-wire-alone": _wire_alone,
    "storescp-tuned": _storescp(NODELAY, "--max-pdu", "131072"),
    "storescp-default": _storescp(NAGLE),
    "orthanc-tuned": _orthanc(NODELAY, TcpNoDelay=True, MaximumPduLength=131072, DicomThreadsCount=8),
    "orthanc-default": _orthanc({}),
    "c-fsync": _raw("fsync"),
    "c-plain": _raw("plain"),
    "c-null": _raw("null"),
}


def table(figures: Sequence[Figure]) -> str:
    """Return medians as Markdown, with how ours compares."""
    lines = [
        "| case | at once | receiver | per second | MB/s | p50 ms | p99 ms | CPU s/GB | ours is times this |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, int], dict[str, list[Figure]]] = {}
    for figure in figures:
        of = groups.setdefault((figure.case, figure.associations), {})
        of.setdefault(figure.receiver, []).append(figure)
    for (case, associations), receivers in groups.items():
        ours = _median(receivers.get("readside", []), "per_second")
        for name, some in receivers.items():
            rate = _median(some, "per_second")
            refused = sum(one.refused for one in some)
            lines.append(
                f"| {case} | {associations} | {name}{f' ({refused} refused)' if refused else ''} "
                f"| {rate:.0f} | {_median(some, 'mb_per_second'):.0f} "
                f"| {_median(some, 'p50_ms'):.2f} | {_median(some, 'p99_ms'):.1f} "
                f"| {_median(some, 'cpu_seconds_per_gb'):.2f} | {ours / rate:.2f} |"
            )
    lines += ["", f"Others kept {_median(figures, 'others'):.0%} of the processors busy (median)."]
    return "\n".join(lines)


def _median(figures: Sequence[Figure], name: str) -> float:
    return statistics.median(getattr(one, name) for one in figures) if figures else math.nan


if __name__ == "__main__":
    raise SystemExit(main())
