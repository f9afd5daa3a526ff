"""A box on loopback as a site would run it: a configuration and `readside run` in a process of its own.

The demonstration, the benchmark and the tests of the whole system stand on it.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from argon2 import PasswordHasher

from appliance.core.config import Config, load
from appliance.ledger import counts, deliveries, results, services
from appliance.ledger.custody import ENDED_DELIVERIES
from appliance.ledger.engine import Ledger, open_ledger
from appliance.ledger.tokens import TokenKind, issue
from dicom_node.echo import echo
from dicom_node.limits import Limits as WireLimits
from dicom_node.values import AeTitle, Peer

USER = "demo"
BOX_AE = "READSIDE"
_STOP_SECONDS_MAX = 60.0
_LINK_SECONDS = 24 * 3600.0
_PORTS = range(15_000, 32_000)
_given: set[int] = set()

_CONFIG = """\
[site]
name = "Demonstration"

[dicom]
ae_title = "{box_ae}"
host = "127.0.0.1"
port = {box_port}
{dicom}

[[peers]]
name = "pacs"
ae_title = "{pacs_ae}"
host = "127.0.0.1"
port = {pacs_port}
may = {pacs_may}
outputs = {outputs}
{pacs_more}

[storage]
root = "{root}"
floor_gib = {floor_gib}
retain_days = {retain_days}

[assembly]
quiet_seconds = {quiet_seconds}
series_quiet_seconds = {series_quiet_seconds}
deadline_seconds = {deadline_seconds}
{assembly}

[console]
host = "127.0.0.1"
port = {console_port}

[[console.users]]
name = "{user}"
password_hash = "{password_hash}"
{more}"""


class NotReady(Exception):
    """The box did not get ready in time."""


@dataclass(frozen=True, kw_only=True)
class SiteShape:
    """What differs from one loopback site to the next; `more` is TOML that is appended as it stands."""

    pacs_ae: str
    pacs_port: int
    quiet_seconds: float
    more: str
    series_quiet_seconds: float = 1.0
    deadline_seconds: float = 600.0
    outputs: Sequence[str] = ("sr", "seg", "sc", "text-sr")
    pacs_may: Sequence[str] = ("store",)
    pacs_more: str = ""
    assembly: str = ""
    dicom: str = ""
    floor_gib: float = 0.2
    retain_days: float = 7.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the ledger says of one study, and whether the whole box adds up."""

    counts: counts.Counts
    outcomes: Mapping[str, str]
    deliveries: Sequence[deliveries.Delivery]
    raw_inference_seconds: float

    @property
    def balance(self) -> int:
        """Return how many rows break a promise."""
        return self.counts.balance

    def settled(self, results_expected: int) -> bool:
        """Say whether the study has its results and each of their deliveries has ended."""
        ended = all(delivery.state in ENDED_DELIVERIES for delivery in self.deliveries)
        return len(self.outcomes) >= results_expected and bool(self.deliveries) and ended


@dataclass
class Box:
    """One box in a folder: site.toml, box.log, and everything it keeps under box/."""

    start_seconds_max: ClassVar[float] = 60.0

    folder: Path
    site: SiteShape
    config_path: Path = field(init=False)
    config: Config = field(init=False)
    _process: subprocess.Popen[bytes] | None = None
    _ledger: Ledger | None = None

    def __post_init__(self) -> None:
        """Write the configuration; the console user's password is known to nobody, a link logs in."""
        box_port, console_port = free_ports(2)
        values = {
            "box_ae": BOX_AE,
            "box_port": box_port,
            "console_port": console_port,
            "root": self.folder / "box",
            "user": USER,
            "password_hash": PasswordHasher().hash(secrets.token_urlsafe(24)),
        }
        site = {
            name: json.dumps(list(value)) if name in ("outputs", "pacs_may") else value
            for name, value in vars(self.site).items()
        }
        self.config_path = self.folder / "site.toml"
        self.config_path.write_text(_CONFIG.format(**values, **site), encoding="utf-8")
        self.config = load(self.config_path)

    @property
    def log_path(self) -> Path:
        """Return where the box's log goes."""
        return self.folder / "box.log"

    @property
    def console(self) -> str:
        """Return the address of the console."""
        return f"http://127.0.0.1:{self.config.console.port}"

    @property
    def as_peer(self) -> Peer:
        """Return the box as a sender sees it."""
        title = AeTitle.parse(BOX_AE)
        return Peer(
            name="box", ae_title=title, host="127.0.0.1", port=self.config.dicom.port, may=frozenset()
        )

    @property
    def ledger(self) -> Ledger:
        """Return the box's ledger, to look at it from outside."""
        if self._ledger is None:
            self._ledger = open_ledger(self.config.ledger_url)
        return self._ledger

    @property
    def command(self) -> list[str]:
        """Return what runs the box in the foreground."""
        return [sys.executable, "-m", "appliance.cli", "run", "--config", str(self.config_path)]

    def start(self) -> None:
        """Start the box and wait until it says that it is ready.

        Raises:
            NotReady: it did not get ready in time, or ended.
        """
        self._process = self._launched()
        deadline = time.monotonic() + self.start_seconds_max
        while not self._ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise NotReady("the box did not get ready")
            time.sleep(0.1)

    def _launched(self) -> subprocess.Popen[bytes]:
        """Start what runs the box."""
        with self.log_path.open("ab") as output:
            return subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT)

    def _ready(self) -> bool:
        """Say whether the services were heard and the listener, which may still be sweeping, answers."""
        try:
            with urllib.request.urlopen(f"{self.console}/health/ready", timeout=2) as answer:
                heard = bool(answer.status == 200)
        except OSError:
            return False
        return heard and echo(self.as_peer, calling_ae=self.site.pacs_ae, limits=WireLimits()).ok

    def stop(self) -> int | None:
        """Stop the box in order; return its exit code."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_STOP_SECONDS_MAX)

    def kill(self) -> None:
        """End the supervisor without a word, as the kernel may; its services notice and end by themselves."""
        assert self._process is not None, "only a box that was started can be killed"
        self._process.kill()
        self._process.wait(_STOP_SECONDS_MAX)

    def service_pids(self) -> dict[str, int]:
        """Return the process of each service as the ledger knows it."""
        with self.ledger.read() as tx:
            return {service.name: service.pid for service in services.everyone(tx)}

    @property
    def models_loaded(self) -> bool:
        """Say whether the worker has loaded and checked the routes' models, as far as they can be."""
        with self.ledger.read() as tx:
            return any(one.name == "worker" and "lanes" in one.detail for one in services.everyone(tx))

    def login_link(self, study_uid: str) -> str:
        """Return an address that logs in once and shows a study."""
        with self.ledger.write() as tx:
            now = self.ledger.clock.now()
            token = issue(tx, TokenKind.LOGIN_LINK, USER, at=now, seconds=_LINK_SECONDS)
        return f"{self.console}/login/once/{token}?next=/studies/{study_uid}"

    def account(self, study_uid: str) -> Account:
        """Return what the ledger says."""
        with self.ledger.read() as tx:
            made = results.of_study(tx, study_uid)
            return Account(
                counts=counts.count(tx),
                outcomes={result.route: str(result.outcome) for result in made},
                deliveries=deliveries.of_study(tx, study_uid),
                raw_inference_seconds=sum(result.seconds.get("inference", 0.0) for result in made),
            )


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody uses right now.

    They lie below the range from which systems take the ports of outgoing connections,
    or one of those could have them by the time that they are bound.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in _given:
                _given.add(port)
                ports.append(port)
    return ports
