"""Attack our listener, DCMTK's storescp, Orthanc and stock pynetdicom while a good peer stores images.

usage: scripts/bench-attacks [--attacks quiet W1 ...] [--receivers NAME ...] [--seconds S] [--json]
The good peer calls from one loopback address, opens an association for each image and begins one every
0.2 s at most; each of its steps may take 2 s. The attacker calls from another address (W4-beside: from the
good peer's own), with a known AE title.
Told is what the good peer saw: "served" when every image was kept within a second, "slow" when one was not,
"locked out" when fewer than half were kept, "died" when the receiver's process ended.
The whole run ends by itself within four minutes; what it did not come to is said. Only this machine is used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core import log
from appliance.demo.box import BOX_AE, Box, SiteShape, free_ports
from dicom_node.tls import Credentials, Files
from scripts.bench_attackers import ATTACKS, CALLING_AE, EVERY_SECONDS, Attacker, Good, Receiver
from tests.certificates import Authority, Pair

SLOW_SECONDS: Final = 1.0
START_SECONDS_MAX: Final = 40.0
HEAL_SECONDS_MAX: Final = 2.0
RUN_SECONDS_MAX: Final = 220.0


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files of the receiver, and what the good peer calls with."""

    server: Pair
    authority: Path
    client: ssl.SSLContext


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one attack did to one receiver; `cut_seconds` is None where the attacker was not cut."""

    attack: str
    receiver: str
    verdict: str
    served: int
    asked: int
    p50_ms: float | None
    p99_ms: float | None
    memory_mib: float
    attacker: str
    cut_seconds: float | None
    lived: bool


# The receivers.


@contextlib.contextmanager
def _running(name: str, folder: Path, tls: Tls | None) -> Iterator[Receiver]:
    """Run a receiver until the end, once it keeps what the good peer stores."""
    # Paths are short: the sockets of a box lie below them.
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    port, command = RECEIVERS[name](inner, tls)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TCP_NODELAY": "1"}
    with (folder / "log").open("ab") as output:
        process = subprocess.Popen(
            command, cwd=inner, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    receiver = Receiver(
        port=port,
        called_ae=BOX_AE if name == "readside" else "RECEIVER",
        process=process,
        folder=inner,
        tls=None if tls is None else tls.client,
    )
    try:
        if not _serves(receiver, START_SECONDS_MAX):
            raise SystemExit(f"{name}: did not start")
        yield receiver
    finally:
        # The session is its own, with what it forked.
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def _serves(receiver: Receiver, seconds: float) -> bool:
    """Say whether the good peer is served within so long."""
    good, deadline = Good(receiver), time.monotonic() + seconds
    while good.store() is None:
        if receiver.process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _ours(folder: Path, tls: Tls | None) -> tuple[int, list[str]]:
    """The listener of a box as it is: durable, with header scan and ledger."""
    (tls_port,) = free_ports(1)
    section = (
        ""
        if tls is None
        else (
            f'[dicom.tls]\ncertificate = "{tls.server.certificate}"\nkey = "{tls.server.key}"\n'
            f'ca = "{tls.authority}"\nport = {tls_port}\n'
        )
    )
    more = "" if tls is None else "tls = true"
    site = SiteShape(
        pacs_ae=CALLING_AE, pacs_port=1, quiet_seconds=3600.0, more="", dicom=section, pacs_more=more
    )
    box = Box(folder, site)
    command = [sys.executable, "-m", "appliance.cli", "service", "listener", "--config", str(box.config_path)]
    return box.config.dicom.port if tls is None else tls_port, command


def _storescp(folder: Path, tls: Tls | None) -> tuple[int, list[str]]:
    """DCMTK's receiver with a child for each association, as it is run where several senders come at once."""
    (port,) = free_ports(1)
    secure = (
        []
        if tls is None
        else [*("+tls", str(tls.server.key), str(tls.server.certificate), "+cf", str(tls.authority))]
    )
    options = ["--fork", "-od", str(folder), "+B", "-aet", "RECEIVER", "--max-pdu", "131072"]
    return port, [_program("storescp"), *options, *secure, str(port)]


def _orthanc(folder: Path, tls: Tls | None) -> tuple[int, list[str]]:
    """Orthanc, tuned as in scripts/bench-ingest."""
    port, http_port = free_ports(2)
    settings: dict[str, object] = {
        "DicomPort": port,
        "HttpPort": http_port,
        "DicomAet": "RECEIVER",
        "StorageDirectory": "db",
        "IndexDirectory": "db",
        "RemoteAccessAllowed": False,
        "TcpNoDelay": True,
        "MaximumPduLength": 131072,
        "DicomThreadsCount": 8,
    }
    if tls is not None:
        settings |= {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(tls.server.certificate),
            "DicomTlsPrivateKey": str(tls.server.key),
            "DicomTlsTrustedCertificates": str(tls.authority),
        }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    return port, [_program("Orthanc"), "orthanc.json"]


def _stock(folder: Path, tls: Tls | None) -> tuple[int, list[str]]:
    """Stock pynetdicom, with a handler that writes a file."""
    (port,) = free_ports(1)
    secure = [] if tls is None else [str(tls.server.certificate), str(tls.server.key), str(tls.authority)]
    return port, [sys.executable, "-m", "scripts.bench_attacks_stock", str(port), str(folder), *secure]


def _program(name: str) -> str:
    """Find a program; pynetdicom brings others of DCMTK's names into the virtual environment."""
    inside = str(Path(sys.executable).parent)
    places = [one for one in os.environ.get("PATH", "").split(os.pathsep) if one != inside]
    found = shutil.which(name, path=os.pathsep.join([*places, "/usr/sbin"]))
    if found is None:
        raise SystemExit(f"{name} is not installed; leave it out with --receivers")
    return found


RECEIVERS: Final[dict[str, Callable[[Path, Tls | None], tuple[int, list[str]]]]] = {
    "readside": _ours,
    "storescp": _storescp,
    "orthanc": _orthanc,
    "pynetdicom": _stock,
}


class _Memory:
    """The most memory a process and its children had, their shared pages counted once; in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid, self._stop = pid, threading.Event()
        self._first = self._most = self._now()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        """Return by how much it grew at most."""
        return self._most - self._first

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self._most = max(self._most, self._now())

    def _now(self) -> float:
        kib = 0
        for pid in _family(self._pid):
            with contextlib.suppress(OSError):
                found = re.search(
                    r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
                )
                kib += int(found[1]) if found else 0
        return kib / 1024


def _family(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = " ".join((thread / "children").read_text() for thread in threads).split()
    except OSError:
        children = []
    return [pid, *(one for child in children for one in _family(int(child)))]


def verdict(came: Sequence[float | None], *, lived: bool) -> str:
    """Judge what the good peer saw: seconds for each image kept, None for each that was not."""
    served = [one for one in came if one is not None]
    if not lived:
        return "died"
    if 2 * len(served) < len(came) or not came:
        return "locked out"
    return "served" if len(served) == len(came) and max(served) <= SLOW_SECONDS else "slow"


def _attacked(name: str, attack: str, receiver: Receiver, seconds: float) -> Figure:
    """Attack a running receiver once."""
    good = Good(receiver)
    good.serve(3 * EVERY_SECONDS)
    with _Memory(receiver.process.pid) as memory:
        attacker = Attacker(receiver)
        thread = threading.Thread(target=attacker.run, args=(attack,))
        thread.start()
        try:
            time.sleep(EVERY_SECONDS)
            came = good.serve(seconds)
        finally:
            attacker.over.set()
            thread.join()
    lived = receiver.process.poll() is None
    kept = sorted(1000 * one for one in came if one is not None)
    return Figure(
        attack=attack,
        receiver=name,
        verdict=verdict(came, lived=lived),
        served=len(kept),
        asked=len(came),
        p50_ms=kept[len(kept) // 2] if kept else None,
        p99_ms=kept[math.ceil(0.99 * len(kept)) - 1] if kept else None,
        memory_mib=memory.growth,
        attacker=attacker.told,
        cut_seconds=attacker.cut_seconds,
        lived=lived,
    )


def measure(asked: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    """Attack one receiver after the other, each anew when an attack has left it unfit to serve."""
    authority = Authority(folder / "tls")
    own, peer = authority.issue("receiver"), authority.issue(CALLING_AE)
    files = Files(certificate=peer.certificate, key=peer.key, ca=authority.path)
    tls = Tls(server=own, authority=authority.path, client=Credentials(files).client(checks_name=False))
    deadline = time.monotonic() + RUN_SECONDS_MAX
    for name in asked.receivers:
        for secure in (False, True):
            todo = [attack for attack in asked.attacks if ATTACKS[attack].tls is secure]
            while todo and time.monotonic() < deadline:
                place = Path(tempfile.mkdtemp(prefix="", dir=folder))
                with _running(name, place, tls if secure else None) as receiver:
                    fit = True
                    while todo and fit and time.monotonic() < deadline:
                        attack = todo.pop(0)
                        yield _attacked(name, attack, receiver, asked.seconds or ATTACKS[attack].seconds)
                        fit = _serves(receiver, HEAL_SECONDS_MAX)
            for attack in todo:
                print(f"no time left: {attack} on {name} was not done", file=sys.stderr)


def main() -> int:
    """Attack as asked and print what was seen."""
    asked = _arguments()
    log.silence()
    # What was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="attacks-", dir=asked.folder) as name:
        figures = []
        for figure in measure(asked, Path(name)):
            print(
                f"{time.strftime('%T')} {figure.attack} {figure.receiver}: {figure.verdict}", file=sys.stderr
            )
            figures.append(figure)
    figures.sort(key=lambda one: (asked.attacks.index(one.attack), asked.receivers.index(one.receiver)))
    print(json.dumps([vars(figure) for figure in figures]) if asked.json else table(figures))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--receivers", nargs="+", choices=RECEIVERS, default=list(RECEIVERS))
    parser.add_argument("--seconds", type=float, default=None, help="of each attack, instead of its own")
    parser.add_argument("--folder", type=Path, default=None, help="where the receivers keep (a real disk)")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| attack | receiver | good peer | kept | p50 ms | p99 ms | memory MiB | attacker | process |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        lines.append(
            f"| {one.attack} | {one.receiver} | {one.verdict} | {one.served} of {one.asked} "
            f"| {_ms(one.p50_ms)} | {_ms(one.p99_ms)} | {one.memory_mib:+.0f} "
            f"| {one.attacker} | {'lived' if one.lived else 'died'} |"
        )
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    raise SystemExit(main())
