"""A healthy site on loopback: a box that runs, an Orthanc as its PACS, a registry, a time server.

Each fault is planted for real in a copy of its configuration, or in what stands around it.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from appliance.demo.box import BOX_AE, Box, free_ports
from appliance.ledger.engine import open_ledger
from provisioning.doctor.examine import Examination
from provisioning.doctor.finding import Finding, State
from provisioning.doctor.limits import DoctorLimits
from provisioning.doctor.show import Asked, chosen
from provisioning.doctor.site import Site
from tests.certificates import Pair
from tests.system.boxes import BANDS, make_box, running
from tests.system.orthanc import Orthanc
from tests.system.waiting import until

DAY = 86_400.0
# What other PACS that take Orthanc's place call themselves: the box that runs answers them too.
SPARE_PEERS = """
[[peers]]
name = "spare"
ae_title = "STANDIN"

[[peers]]
name = "other-spare"
ae_title = "ANOTHER"
"""
# A machine that many share is slow now and then, and that is not what is looked at.
LIMITS = DoctorLimits(
    sync_seconds_max=60.0,
    write_mib_per_second_min=0.0,
    connect_seconds_max=2.0,
    answer_seconds_max=3.0,
    arrival_seconds_max=3.0,
    start_seconds_max=2.0,
)


class StrictOrthanc(Orthanc):
    """An Orthanc that keeps to its list of who may do what."""

    def _configuration(self, box_port: int, script: Path) -> dict[str, Any]:
        made = super()._configuration(box_port, script)
        made["DicomAlwaysAllowStore"] = False
        made["DicomModalities"]["box"] |= {"AllowStore": True, "AllowMove": True, "AllowEcho": True}
        return made

    def enter(self, **changed: Any) -> None:
        """Write the box into its list anew."""
        entry = {"AET": BOX_AE, "Host": "127.0.0.1", "AllowFind": True, "AllowStore": True, "AllowMove": True}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._http_port}/modalities/box",
            json.dumps(entry | changed).encode(),
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=30).close()


@dataclass
class Web:
    """A registry's server, or what stands in its place: `answer` gives status, headers and body."""

    answer: Callable[[str], tuple[int, dict[str, str], bytes]]
    clock_off_seconds: float = 0.0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self, pair: Pair | None = None) -> Iterator[Web]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, headers, body = web.answer(self.path)
                self.send_response_only(status)
                self.send_header("Date", formatdate(time.time() + web.clock_off_seconds, usegmt=True))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_CONNECT = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        server = _Quiet(("127.0.0.1", 0), Handler)
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that does not like a certificate goes away, and that is what it is here for."""


def lists(_path: str) -> tuple[int, dict[str, str], bytes]:
    """What a registry answers with, as far as it can be told from outside."""
    return 200, {}, b'{"signed": {"_type": "timestamp", "version": 1}, "signatures": []}'


def portal(_path: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>"


@contextmanager
def time_server(off_seconds: float) -> Iterator[str]:
    """An SNTP server (RFC 5905) whose clock is off; yields host:port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.2)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    asked, caller = line.recvfrom(512)
                except TimeoutError:
                    continue
                now = time.time() + off_seconds + 2_208_988_800
                stamp = struct.pack(">II", int(now), int((now % 1) * 2**32))
                line.sendto(bytes([0x24, 2]) + bytes(22) + asked[40:48] + stamp + stamp, caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{line.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@contextmanager
def dropped_port() -> Iterator[int]:
    """A port behind which every new connection is dropped without a word: its queue is full for ever."""
    with ExitStack() as stack:
        held = stack.enter_context(socket.socket())
        held.bind(("127.0.0.1", 0))
        held.listen(0)
        port = held.getsockname()[1]
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        time.sleep(0.2)
        yield port


@dataclass(kw_only=True)
class Rig:
    """The healthy site; `configured` writes a copy of its configuration with something changed."""

    folder: Path
    box: Box
    orthanc: StrictOrthanc
    registry: Web
    ntp: str
    copies: int = 0
    told: list[Finding] = field(default_factory=list)

    def configured(self, *changes: tuple[str, str], more: str = "") -> Path:
        text = self.box.config_path.read_text(encoding="utf-8").replace(SPARE_PEERS, "")
        for old, new in changes:
            assert old in text, f"{old!r} is not in the configuration"
            text = text.replace(old, new)
        self.copies += 1
        path = self.folder / f"site-{self.copies}.toml"
        path.write_text(text + more, encoding="utf-8")
        return path

    def elsewhere(self, root: Path, *changes: tuple[str, str], more: str = "") -> Path:
        """The same site on another root and other ports: a box that does not run."""
        if not (root / "ledger.sqlite3").exists():
            open_ledger(f"sqlite:///{root / 'ledger.sqlite3'}").close()
        ports = free_ports(2)
        config = self.box.config
        return self.configured(
            (f'root = "{config.storage.root}"', f'root = "{root}"'),
            (f"port = {config.dicom.port}", f"port = {ports[0]}"),
            (f"port = {config.console.port}", f"port = {ports[1]}"),
            *changes,
            more=more,
        )

    def faults(self, config: Path | None = None, *, full: bool = True, ntp: str | None = None) -> set[str]:
        """Examine a site; return what is wrong with it, and nothing else."""
        site = Site.of(config or self.box.config_path, ntp=self.ntp if ntp is None else ntp)
        site.limits = LIMITS
        checks = chosen(Asked(config=site.path, full=full), site)
        self.told = [one for some in Examination(site=site, checks=checks).run() for one in some]
        assert {one.check for one in self.told} <= {check.id for check in checks}
        named = [one.fault for one in self.told if one.state is State.FAULT]
        return {fault.id for fault in named if fault is not None}

    def because(self) -> dict[str, str]:
        """Which checks were not looked at, and because of what."""
        return {one.check: one.because for one in self.told if one.because}


@contextmanager
def rigged(folder: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        registry = stack.enter_context(Web(lists).serving())
        ntp = stack.enter_context(time_server(0.0))
        orthanc = StrictOrthanc(folder / "orthanc")
        more = f"""{BANDS}{SPARE_PEERS}
[registry]
url = "{registry.url}"
device = "box-1"
roots = "{folder / "roots"}"
"""
        box = make_box(
            folder / "site",
            pacs_port=orthanc.dicom_port,
            pacs_ae=orthanc.ae_title,
            pacs_may=("store", "query"),
            more=more,
        )
        orthanc.start(box_port=box.config.dicom.port)
        stack.callback(orthanc.stop)
        stack.enter_context(running(box))
        until(lambda: box.models_loaded, seconds=90, what="the worker is up")
        yield Rig(folder=folder, box=box, orthanc=orthanc, registry=registry, ntp=ntp)
