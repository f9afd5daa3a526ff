"""The files of the firewall: what they say, and what a kernel does with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.host.firewall import USER, UnknownName, firewall_of, nameservers_of
from provisioning.host.flows import flows_of
from tests.provisioning.host.test_flows import config
from tests.system.programs import need

ADDRESSES = {"models.example": ["192.0.2.7"], "db.example": ["192.0.2.8", "2001:db8::8"]}
ROOT = "/var/lib/readside"
# Who may reach the box's port is who the site names: the box has .1, its PACS .2, a stranger .3.
_PEERS = [{"name": "pacs", "ae_title": "PACS", "host": "10.99.0.2", "port": 104}]
_TRY = """
import socket, sys
source, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    socket.create_connection((host, port), timeout=1.5, source_address=(source, 0)).close()
    print("open")
except OSError as error:
    print("closed", type(error).__name__)
"""
_SERVE = """
import socket, sys
servers = []
for host, port in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    servers.append(socket.create_server((host, port)))
print("ready", flush=True)
sys.stdin.read()
"""


def resolve(name: str) -> list[str]:
    try:
        return ADDRESSES[name]
    except KeyError:
        raise UnknownName(name) from None


def test_an_unknown_name_is_named() -> None:
    peers = [{"name": "pacs", "ae_title": "PACS", "host": "gone.example", "port": 104}]
    with pytest.raises(UnknownName, match=r"gone\.example"):
        firewall_of(flows_of(config(peers=peers)), storage_root=ROOT, resolve=resolve)


def test_a_unit_may_speak_with_whom_it_must() -> None:
    flows = flows_of(config(peers=_PEERS, registry={}, console={}))
    units = firewall_of(flows, storage_root=ROOT, resolve=resolve).units
    for service in ("listener", "courier", "conductor"):
        assert "IPAddressAllow=10.99.0.2" in units[service].splitlines()
        assert "any" not in units[service]
    assert "worker" not in units
    assert units["console"].splitlines()[-1] == "IPAddressAllow=127.0.0.1"


def test_a_database_elsewhere_gives_the_worker_a_network() -> None:
    flows = flows_of(config(ledger={"url": "postgresql://box@db.example/readside"}))
    worker = firewall_of(flows, storage_root=ROOT, nameservers=["192.0.2.53"], resolve=resolve).units[
        "worker"
    ]
    assert worker.splitlines()[2:] == [
        "PrivateNetwork=no",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "IPAddressAllow=192.0.2.8",
        "IPAddressAllow=2001:db8::8",
        "IPAddressAllow=192.0.2.53",
    ]


def test_another_folder_for_storage_may_be_written_by_every_service() -> None:
    units = firewall_of(flows_of(config()), storage_root="/srv/readside", resolve=resolve).units
    telemetry = units.pop("telemetry").splitlines()
    assert all("ReadWritePaths=/srv/readside" in text for text in units.values())
    assert set(units) >= {"worker", "listener"}
    assert telemetry[-3:] == [
        "TemporaryFileSystem=/srv/readside:mode=0755",
        "BindPaths=/srv/readside/telemetry",
        "ReadWritePaths=/srv/readside/telemetry",
    ]


def test_name_servers_are_read_as_the_system_reads_them() -> None:
    text = (
        "# nameserver 192.0.2.1\nnameserver 192.0.2.53\noptions edns0\nnameserver\nnameserver 2001:db8::1\n"
    )
    assert nameservers_of(text) == ["192.0.2.53", "2001:db8::1"]


class Lab:
    """Two network namespaces and a wire between them: the box's, and everybody else's."""

    def __init__(self) -> None:
        self.box, self.world = f"rsbox{os.getpid()}", f"rsworld{os.getpid()}"
        self.servers: list[subprocess.Popen[str]] = []

    def run(self, *command: str, inside: str = "") -> str:
        there = [need("ip"), "netns", "exec", inside] if inside else []
        ran = subprocess.run([*there, *command], capture_output=True, text=True, timeout=20, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def lay(self) -> None:
        for name in (self.box, self.world):
            made = subprocess.run(
                [need("ip"), "netns", "add", name], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"this machine has no network namespaces for us: {made.stderr.strip()}")
        if subprocess.run([need("ip"), "netns", "exec", self.box, need("nft"), "list", "ruleset"]).returncode:
            pytest.skip("this machine's kernel has no nftables for us")
        wire = ("type", "veth", "peer", "name", "veth0", "netns", self.world)
        self.run(need("ip"), "-n", self.box, "link", "add", "veth0", *wire)
        for name, numbers in ((self.box, (1,)), (self.world, (2, 3))):
            for number in numbers:
                self.run(need("ip"), "-n", name, "address", "add", f"10.99.0.{number}/24", "dev", "veth0")
            for link in ("lo", "veth0"):
                self.run(need("ip"), "-n", name, "link", "set", link, "up")

    def serve(self, inside: str, *ends: str | int) -> None:
        command = [need("ip"), "netns", "exec", inside, sys.executable, "-c", _SERVE, *map(str, ends)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

    def tries(self, inside: str, source: str, host: str, port: int, *, user: str = "root") -> str:
        who = () if user == "root" else (need("setpriv"), f"--reuid={user}", "--clear-groups")
        return self.run(*who, sys.executable, "-c", _TRY, source, host, str(port), inside=inside).split()[0]

    def clear(self) -> None:
        for server in self.servers:
            server.kill()
            server.communicate(timeout=10)
        for name in (self.box, self.world):
            subprocess.run([need("ip"), "netns", "delete", name], capture_output=True, check=False)


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.geteuid():
        pytest.skip("only root may lay wires between network namespaces")
    made = Lab()
    try:
        made.lay()
        yield made
    finally:
        made.clear()


def test_the_kernel_lets_through_what_the_site_means(lab: Lab, tmp_path: Path) -> None:
    flows = flows_of(config(peers=_PEERS, registry={}, console={"host": "127.0.0.1"}))
    # The user of the services is not on every machine that runs tests.
    table = firewall_of(flows, storage_root=ROOT, resolve=resolve).table.replace(
        f"skuid != {USER}", "skuid != 65534"
    )
    (tmp_path / "readside.nft").write_text(table, encoding="utf-8")
    lab.serve(lab.box, "10.99.0.1", 11112, "10.99.0.1", 22, "10.99.0.1", 8042)
    lab.serve(lab.world, "10.99.0.2", 104, "10.99.0.2", 8000, "10.99.0.3", 104)
    stranger = (lab.world, "10.99.0.3", "10.99.0.1", 11112)
    assert lab.tries(*stranger) == "open", "without the table anybody comes in"
    for _ in range(2):
        # Loading it again replaces it.
        lab.run(need("nft"), "-f", str(tmp_path / "readside.nft"), inside=lab.box)
    assert lab.tries(*stranger) == "closed"
    assert lab.tries(lab.world, "10.99.0.2", "10.99.0.1", 11112) == "open"
    assert lab.tries(lab.world, "10.99.0.3", "10.99.0.1", 22) == "open", "other ports are not ours to close"
    assert lab.tries(lab.world, "10.99.0.2", "10.99.0.1", 8042) == "closed", "the pages are for loopback"
    box = (lab.box, "10.99.0.1")
    assert lab.tries(*box, "10.99.0.2", 104, user="65534") == "open"
    assert lab.tries(*box, "10.99.0.2", 8000, user="65534") == "closed"
    assert lab.tries(*box, "10.99.0.3", 104, user="65534") == "closed"
    assert lab.tries(*box, "10.99.0.2", 8000) == "open", "what others on the machine do is not ours to forbid"
    rules = json.loads(lab.run(need("nft"), "-j", "list", "ruleset", inside=lab.box))
    assert sum("table" in entry for entry in rules["nftables"]) == 1
