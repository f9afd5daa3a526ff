"""Measure the whole box: receiving, the wait after the last image, raw inference, encoding, memory.

One run, one machine, peers beside us in the same run; the table says what was measured and by which command.
Loads are bounded: each study is sent once to each receiver, and everything stops by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from appliance.core import log
from appliance.core.outputs import SOP_CLASSES
from appliance.demo import encoding
from appliance.demo.box import BOX_AE, Box, SiteShape, free_ports
from appliance.demo.pacs import StandInPacs
from appliance.demo.study import MadeStudy
from appliance.spool.record import as_file
from dicom_node.send import Outgoing
from models import phantom

_PACS_AE = "BENCHPACS"
_QUIET_SECONDS = 1.0
# Last slice to report accepted may be so many times the larger of receiving and inference, and so much more.
_SHARE_MAX, _BESIDE_SECONDS_MAX = 1.10, 0.5
_REPORT = SOP_CLASSES["sr"]
_WAIT_SECONDS_MAX = 900.0
# Without it DCMTK and Orthanc wait 40 ms for each answer (Nagle's algorithm): a peer is measured at its best.
_NODELAY = os.environ | {"TCP_NODELAY": "1"}
_MODELS = ("ct-tissue-bands", "ct-phantom-lesion")
# Where a study is to come slowly it comes in pieces, each over an association of its own.
_PIECE_SECONDS = 0.25
# Long enough that only the archive's count says that a study is complete.
_NEVER_QUIET_SECONDS = 300.0
_ARCHIVE = """
[[peers]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {port}
may = ["store", "query"]
"""
_ROUTE = """
[[routes]]
name = "bench"
when = 'Modality == "CT" && slices >= 3'
model = "{model}"
send_to = ["pacs"]
"""


@dataclass(frozen=True, kw_only=True)
class Load:
    """A study as files that any sender takes: what it is called, where it lies, how large it is."""

    name: str
    folder: Path
    study_uid: str
    instances: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """How a study comes to the box, and how the box knows that it is complete.

    Attributes:
        quiet_seconds: nothing must have come for so long.
        confirm_seconds: or an archive is asked for its count so long after the last image; None: it is not.
        over_seconds: a study is sent within so many seconds; 0: as fast as it goes.
    """

    quiet_seconds: float = _QUIET_SECONDS
    confirm_seconds: float | None = None
    over_seconds: float = 0.0

    @property
    def pause_seconds(self) -> float:
        """Return what the site lets pass after the last image before it counts a study as complete."""
        return self.quiet_seconds if self.confirm_seconds is None else self.confirm_seconds


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one study took, in seconds; memory in MiB by service."""

    load: Load
    model: str
    receive_seconds: float
    to_report_seconds: float
    to_accepted_seconds: float
    raw_inference_seconds: float
    quiet_seconds: float
    memory_mib: dict[str, int]

    @property
    def bound_seconds(self) -> float:
        """Return what the wait for the report may be, the site's quiet time apart."""
        return _SHARE_MAX * max(self.receive_seconds, self.raw_inference_seconds) + _BESIDE_SECONDS_MAX

    @property
    def waited_seconds(self) -> float:
        """Return the wait for the report without the quiet time, which the box does not spend idly."""
        return self.to_report_seconds - self.quiet_seconds


def generated(folder: Path, slices: int) -> Load:
    """Make a CT study of 512 x 512 slices and write it as files."""
    spacing_mm = (0.5, 0.5, 0.5) if slices > 100 else (3.0, 0.5, 0.5)
    hu, _ = phantom.volume(3, shape=(slices, 512, 512), spacing_mm=spacing_mm, lesions=3)
    study = MadeStudy(hu=hu, spacing_mm=spacing_mm, number=int(time.time() * 1000))
    folder.mkdir(parents=True)
    size = sum(_write(folder / f"{n:04d}.dcm", item) for n, item in enumerate(study.instances()))
    name = f"generated, {slices} x 512 x 512"
    return Load(name=name, folder=folder, study_uid=study.study_uid, instances=slices, bytes=size)


def real(folder: Path) -> Load:
    """Take a folder of real files as it is."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    study_uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    size = sum(path.stat().st_size for path in files)
    return Load(
        name=f"real, {folder.name}", folder=folder, study_uid=study_uid, instances=len(files), bytes=size
    )


def _write(path: Path, item: Outgoing) -> int:
    file = as_file(
        item.data,
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        calling_ae=_PACS_AE,
        at=0.0,
    )
    path.write_bytes(file)
    return len(item.data)


def send_files(load: Load, *, called_ae: str, port: int, over_seconds: float = 0.0) -> float:
    """Send a study with DCMTK's storescu in the order of its files; return the seconds it took.

    Over one association, or in pieces that begin evenly within `over_seconds`.
    """
    files = sorted(str(path) for path in load.folder.iterdir() if path.is_file())
    pieces = max(min(round(over_seconds / _PIECE_SECONDS), len(files)), 1)
    size = -(-len(files) // pieces)
    started = time.monotonic()
    for number, first in enumerate(range(0, len(files), size)):
        due = started + number * over_seconds / pieces
        time.sleep(max(due - time.monotonic(), 0.0))
        _storescu(files[first : first + size], called_ae=called_ae, port=port)
    return time.monotonic() - started


def _storescu(files: Sequence[str], *, called_ae: str, port: int) -> None:
    command = ["storescu", "-R", "-aet", _PACS_AE, "-aec", called_ae, "127.0.0.1", str(port)]
    subprocess.run(
        [*command, *files],
        check=True,
        timeout=_WAIT_SECONDS_MAX,
        env=_NODELAY,
        stdout=subprocess.DEVNULL,
    )


def measure(load: Load, model: str, folder: Path, site: Site | None = None) -> Figures:
    """Send a study to a fresh box and wait until every object of its result was accepted."""
    site = site or Site()
    folder.mkdir(parents=True)
    if site.confirm_seconds is None:
        return _measured_at(load, model, folder, site, archive_port=None)
    with _orthanc(folder / "archive") as port:
        # The archive has the study, as a PACS that routes to the box has.
        send_files(load, called_ae="ORTHANC", port=port)
        return _measured_at(load, model, folder, site, archive_port=port)


def _measured_at(load: Load, model: str, folder: Path, site: Site, *, archive_port: int | None) -> Figures:
    pacs = StandInPacs(folder / "pacs", _PACS_AE, peers=[BOX_AE])
    box = Box(folder, _shape(site, model, pacs.start(), archive_port))
    try:
        box.start()
        # The worker checks its models' golden cases first; a box that has run for a while is measured.
        _wait(lambda: b'"worker.ready"' in box.log_path.read_bytes())
        receive_seconds = send_files(
            load, called_ae=BOX_AE, port=box.config.dicom.port, over_seconds=site.over_seconds
        )
        sent_at = time.monotonic()
        _wait(lambda: box.account(load.study_uid).settled(1))
        account, came = box.account(load.study_uid), pacs.came_for(load.study_uid)
        return Figures(
            load=load,
            model=model,
            receive_seconds=receive_seconds,
            to_report_seconds=min(one.at for one in came if one.sop_class_uid == _REPORT) - sent_at,
            to_accepted_seconds=max(one.at for one in came) - sent_at,
            raw_inference_seconds=account.raw_inference_seconds,
            quiet_seconds=site.pause_seconds,
            memory_mib={name: peak_mib(pid) for name, pid in box.service_pids().items()},
        )
    finally:
        box.stop()
        pacs.stop()


def _shape(site: Site, model: str, pacs_port: int, archive_port: int | None) -> SiteShape:
    quiet_seconds, archive, assembly = site.quiet_seconds, "", ""
    if archive_port is not None:
        quiet_seconds, archive = _NEVER_QUIET_SECONDS, _ARCHIVE.format(port=archive_port)
        assembly = f'confirm_with = "archive"\nconfirm_settle_seconds = {site.confirm_seconds}'
    return SiteShape(
        pacs_ae=_PACS_AE,
        pacs_port=pacs_port,
        quiet_seconds=quiet_seconds,
        series_quiet_seconds=quiet_seconds,
        deadline_seconds=2 * _NEVER_QUIET_SECONDS,
        assembly=assembly,
        more=_ROUTE.format(model=model) + archive,
    )


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS_MAX
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError("the box brought no result in time")
        time.sleep(0.05)


def peak_mib(pid: int) -> int:
    """Return the largest resident size a process ever had, in MiB (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


@contextmanager
def _peer(command: Sequence[str], folder: Path) -> Iterator[None]:
    """Run a receiver beside us for the length of a block."""
    folder.mkdir()
    process = subprocess.Popen(
        command, cwd=folder, env=_NODELAY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1.5)
        yield
    finally:
        process.terminate()
        process.wait(20)


def storescp_seconds(load: Load, folder: Path) -> float:
    """Return what DCMTK's storescp takes to receive the same study; it never syncs, we always do."""
    (port,) = free_ports(1)
    with _peer(["storescp", "-od", ".", "+B", "-pdu", "131072", str(port)], folder):
        return send_files(load, called_ae="STORESCP", port=port)


def orthanc_seconds(load: Load, folder: Path) -> float:
    """Return what Orthanc takes to receive the same study, with its own syncing storage."""
    with _orthanc(folder) as port:
        return send_files(load, called_ae="ORTHANC", port=port)


@contextmanager
def _orthanc(folder: Path) -> Iterator[int]:
    """Run Orthanc for the length of a block; give its port."""
    port, http_port = free_ports(2)
    settings = {
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowFind": True,
        "DicomAet": "ORTHANC",
        "StorageDirectory": f"{folder}/db",
        "IndexDirectory": f"{folder}/db",
        "TcpNoDelay": True,
    }
    settings_path = folder.with_suffix(".json")
    settings_path.write_text(json.dumps(settings), encoding="utf-8")
    with _peer(["Orthanc", str(settings_path)], folder):
        yield port


def table(figures: Sequence[Figures], peers: dict[str, dict[str, float]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| study | model | receive MB/s | images/s | last answer to accepted, s | raw inference, s | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        size = one.load.bytes / 1e6
        ratio = one.to_accepted_seconds / one.raw_inference_seconds
        lines.append(
            f"| {one.load.name}, {size:.0f} MB | {one.model} | {size / one.receive_seconds:.0f} "
            f"| {one.load.instances / one.receive_seconds:.0f} | {one.to_accepted_seconds:.2f} "
            f"| {one.raw_inference_seconds:.2f} | {ratio:.1f} |"
        )
    lines += ["", *_waits(figures)]
    lines += ["", "| study | receiver | images/s | times ours |", "|---|---|---|---|"]
    for one in [one for one in figures if one.model == _MODELS[0]]:
        ours = one.load.instances / one.receive_seconds
        lines.append(f"| {one.load.name} | Readside | {ours:.0f} | 1.0 |")
        for name, seconds in peers.get(one.load.name, {}).items():
            rate = one.load.instances / seconds
            lines.append(f"| {one.load.name} | {name} | {rate:.0f} | {rate / ours:.1f} |")
    lines += ["", "| study | model | peak memory of each process, MiB |", "|---|---|---|"]
    for one in figures:
        memory = ", ".join(f"{name} {mib}" for name, mib in one.memory_mib.items())
        lines.append(f"| {one.load.name} | {one.model} | {memory} |")
    return "\n".join(lines)


def _waits(figures: Sequence[Figures]) -> list[str]:
    """Return the wait for the report beside what it may be."""
    lines = [
        "| study | model | pure receive, s | pure inference, s | bound, s | last slice to report accepted, s "
        "| of it quiet time, s | without it, s | met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        met = "yes" if one.waited_seconds <= one.bound_seconds else "no"
        lines.append(
            f"| {one.load.name} | {one.model} | {one.receive_seconds:.2f} | {one.raw_inference_seconds:.2f} "
            f"| {one.bound_seconds:.2f} | {one.to_report_seconds:.2f} | {one.quiet_seconds:.2f} "
            f"| {one.waited_seconds:.2f} | {met} |"
        )
    return lines


def bench(arguments: Sequence[str] | None = None) -> int:
    """Measure a generated study and real ones, with DCMTK's storescp and Orthanc as receivers beside us."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=bench.__doc__)
    parser.add_argument("--slices", type=int, default=400, help="slices of the generated study")
    parser.add_argument("--only", choices=("box", "encoding"), help="one part; both without it")
    parser.add_argument("--study", type=Path, action="append", default=[], help="a folder of real files")
    parser.add_argument("--quiet-seconds", type=float, default=_QUIET_SECONDS, help="the site's quiet time")
    parser.add_argument(
        "--confirm-seconds", type=float, help="ask an Orthanc for its count so long after the last image"
    )
    parser.add_argument("--over-seconds", type=float, default=0.0, help="send a study within so many seconds")
    asked = parser.parse_args(arguments)
    log.silence()
    if asked.only != "encoding" and shutil.which("storescu") is None:
        parser.error("storescu is needed as the sender: install Debian's dcmtk")
    if asked.confirm_seconds is not None and shutil.which("Orthanc") is None:
        parser.error("Orthanc is needed to be asked: install Debian's orthanc")
    with tempfile.TemporaryDirectory(prefix="readside-bench-") as folder:
        made = generated(Path(folder) / "generated", asked.slices)
        if asked.only != "box":
            print("measuring: encoding", file=sys.stderr)
            print(encoding.table(encoding.measure_encoding(made.folder, made.name)))
        if asked.only != "encoding":
            loads = [made, *(real(path) for path in asked.study)]
            site = Site(
                quiet_seconds=asked.quiet_seconds,
                confirm_seconds=asked.confirm_seconds,
                over_seconds=asked.over_seconds,
            )
            print(_measured(Path(folder), loads, site))
    return 0


def _measured(folder: Path, loads: Sequence[Load], site: Site) -> str:
    figures: list[Figures] = []
    peers: dict[str, dict[str, float]] = {}
    for number, load in enumerate(loads):
        print(f"measuring: {load.name}", file=sys.stderr)
        figures += [measure(load, model, folder / f"box{number}-{model}", site) for model in _MODELS]
        beside = peers.setdefault(load.name, {})
        if shutil.which("storescp") is not None:
            seconds = storescp_seconds(load, folder / f"scp{number}")
            beside["DCMTK storescp (no sync, no record)"] = seconds
        if shutil.which("Orthanc") is not None:
            beside["Orthanc"] = orthanc_seconds(load, folder / f"orthanc{number}")
    return table(figures, peers)


if __name__ == "__main__":
    sys.exit(bench())
