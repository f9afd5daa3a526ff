"""The fault table: each is planted for real, and the doctor names exactly that one and no other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.audit.checkpoint import folder_of, open_signer
from appliance.demo.box import BOX_AE, free_ports
from appliance.demo.pacs import StandInPacs
from appliance.services.stage import living
from provisioning.doctor.limits import WIRE
from tests.appliance.inference.given import bands
from tests.certificates import Authority
from tests.provisioning.doctor.pacs import Pacs, pacs
from tests.provisioning.doctor.rig import DAY, Rig, Web, dropped_port, lists, portal, rigged, time_server
from tests.system.boxes import COMMAND
from tests.system.waiting import until


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rigged(tmp_path_factory.mktemp("doctor")) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_it_should_be(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One small model stands for all that ship; what a test did to the PACS or the registry is undone."""
    package = bands()
    for name in ("find_packages", "packages_now"):
        monkeypatch.setattr(
            f"appliance.cli.packages.{name}", lambda _: ({package.manifest.name: package}, [])
        )
    # In this process: one of its own for each look would be most of what this table costs.
    monkeypatch.setattr("provisioning.doctor.checks.models.hosted", lambda makers: makers)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield
    rig.registry.answer, rig.registry.clock_off_seconds = lists, 0.0
    rig.orthanc.enter(Port=rig.box.config.dicom.port)


def peer_of(rig: Rig, other: Pacs) -> tuple[tuple[str, str], tuple[str, str]]:
    """The change by which another PACS takes Orthanc's place."""
    return (
        (f'ae_title = "{rig.orthanc.ae_title}"', f'ae_title = "{other.ae_title}"'),
        (f"port = {rig.orthanc.dicom_port}", f"port = {other.port}"),
    )


def test_a_healthy_box_has_no_fault(rig: Rig):
    assert rig.faults() == set()
    looked_at = {one.check for one in rig.told if not one.because}
    assert {"peer-store", "peer-move", "peer-calls-in", "registry-answer", "audit", "models"} <= looked_at
    moved = next(one for one in rig.told if one.check == "peer-move")
    assert moved.text.endswith("it came"), "the box's own ledger says so"


class TestPeers:
    """Each of these PACS answers the box, and one thing is wrong with it."""

    def test_a_wrong_ae_title(self, rig: Rig):
        path = rig.configured((f'ae_title = "{rig.orthanc.ae_title}"', 'ae_title = "ANOTHER"'))
        assert rig.faults(path) == {"peer.wrong-ae-title"}
        assert rig.because()["peer-store"] == "peer.wrong-ae-title"

    def test_a_pacs_that_does_not_know_the_box(self, rig: Rig):
        with pacs(knows=["SOMEBODY"]) as other:
            assert rig.faults(rig.configured(*peer_of(rig, other))) == {"peer.does-not-know-us"}

    def test_a_wrong_port(self, rig: Rig):
        wrong = free_ports(1)[0]
        path = rig.configured((f"port = {rig.orthanc.dicom_port}", f"port = {wrong}"))
        assert rig.faults(path) == {"peer.port-closed"}
        told = {check for check, why in rig.because().items() if why == "peer.port-closed"}
        assert {"peer-associate", "peer-echo", "peer-accepts", "peer-store", "peer-move"} <= told

    @pytest.mark.long
    def test_a_port_with_another_program(self, rig: Rig, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(
            "provisioning.doctor.checks.peer_associate.WIRE", replace(WIRE, acse_seconds_max=1.0)
        )
        path = rig.configured((f"port = {rig.orthanc.dicom_port}", f"port = {rig.registry.port}"))
        assert rig.faults(path) == {"peer.mute"}, "it waits for the end of a line"

    @pytest.mark.long
    def test_a_port_that_wants_tls(self, rig: Rig, tmp_path: Path):
        with Web(lists).serving(Authority(tmp_path).issue("web")) as web:
            path = rig.configured((f"port = {rig.orthanc.dicom_port}", f"port = {web.port}"))
            assert rig.faults(path) == {"peer.aborts"}

    def test_a_port_that_is_dropped_without_a_word(self, rig: Rig):
        with dropped_port() as port:
            path = rig.configured((f"port = {rig.orthanc.dicom_port}", f"port = {port}"))
            assert rig.faults(path) == {"peer.silent"}

    @pytest.mark.long
    def test_a_name_without_an_address(self, rig: Rig):
        changed = ('host = "127.0.0.1"\nport = ' + str(rig.orthanc.dicom_port),)
        path = rig.configured((changed[0], changed[0].replace("127.0.0.1", "pacs.invalid")))
        assert rig.faults(path) == {"peer.unknown-host"}

    def test_a_pacs_that_accepts_echo_but_not_store(self, rig: Rig):
        with pacs(store_status=0x0124) as other:
            assert rig.faults(rig.configured(*peer_of(rig, other))) == {"peer.store-refused"}
            assert rig.because() == {"peer-move": "peer.store-refused"}

    def test_an_orthanc_that_accepts_echo_but_not_store(self, rig: Rig):
        rig.orthanc.enter(Port=rig.box.config.dicom.port, AllowStore=False)
        assert rig.faults() == {"peer.store-refused"}
        assert any("in place of an answer" in one.text for one in rig.told if one.fault)

    @pytest.mark.long
    def test_a_pacs_that_takes_none_of_the_objects(self, rig: Rig):
        with pacs(stores=False) as other:
            assert rig.faults(rig.configured(*peer_of(rig, other))) == {"peer.takes-nothing"}

    @pytest.mark.long
    def test_a_pacs_that_is_full(self, rig: Rig):
        with pacs(store_status=0xA700) as other:
            assert rig.faults(rig.configured(*peer_of(rig, other))) == {"peer.out-of-room"}

    def test_a_pacs_that_moves_to_the_wrong_address(self, rig: Rig, tmp_path: Path):
        another = StandInPacs(tmp_path / "another", BOX_AE, peers=[rig.orthanc.ae_title])
        port = another.start()
        try:
            rig.orthanc.enter(Port=port)
            assert rig.faults() == {"peer.sends-elsewhere"}
            assert len(another.journal) == 1, "the other node has it, and every echo was answered"
        finally:
            another.stop()

    @pytest.mark.long
    def test_a_pacs_that_cannot_call_the_box(self, rig: Rig):
        rig.orthanc.enter(Port=free_ports(1)[0])
        assert rig.faults() == {"peer.cannot-call-us"}

    def test_a_pacs_without_a_destination_entry(self, rig: Rig):
        with pacs() as other:
            assert rig.faults(rig.configured(*peer_of(rig, other))) == {"peer.no-destination"}

    def test_an_expired_certificate_of_the_peer(self, rig: Rig, tmp_path: Path):
        authority = Authority(tmp_path / "ca")
        own = authority.issue("box", days=90)
        with pacs(tls=authority.issue("pacs", days=-1)) as other:
            path = self._under_tls(rig, tmp_path, authority, own.certificate, own.key, other)
            assert rig.faults(path, full=False) == {"peer.certificate-expired"}

    @pytest.mark.long
    def test_a_certificate_of_another_authority(self, rig: Rig, tmp_path: Path):
        authority, another = Authority(tmp_path / "ca", "hospital"), Authority(tmp_path / "mitm", "inspector")
        own = authority.issue("box", days=90)
        with pacs(tls=another.issue("pacs", days=90)) as other:
            path = self._under_tls(rig, tmp_path, authority, own.certificate, own.key, other)
            assert rig.faults(path, full=False) == {"peer.certificate-issuer"}
        told = next(one for one in rig.told if one.check == "peer-tls")
        assert "issued by inspector" in told.text
        assert "expected: 127.0.0.1, issued by hospital" in told.text

    def test_an_expired_certificate_of_the_box(self, rig: Rig, tmp_path: Path):
        authority = Authority(tmp_path / "ca")
        own = authority.issue("box", days=-1)
        with pacs(tls=authority.issue("pacs", days=90)) as other:
            path = self._under_tls(rig, tmp_path, authority, own.certificate, own.key, other)
            assert rig.faults(path, full=False) == {"tls-files.expired"}
        assert rig.because()["peer-associate"] == "tls-files.expired"

    def _under_tls(
        self, rig: Rig, tmp_path: Path, authority: Authority, certificate: Path, key: Path, other: Pacs
    ) -> Path:
        """A box that does not run, and speaks with its PACS under TLS."""
        root = tmp_path / "root"
        root.mkdir(mode=0o700)
        tls = f"""[dicom.tls]
certificate = "{certificate}"
key = "{key}"
ca = "{authority.path}"
port = {free_ports(1)[0]}
"""
        ae, port = peer_of(rig, other)
        return rig.elsewhere(root, ae, (port[0], f"{port[1]}\ntls = true"), more=tls)

    @pytest.mark.parametrize(
        ("days", "named"), [(60, set()), (-1, {"peer.certificate-expired"})], ids=["sound", "expired"]
    )
    def test_a_peer_that_takes_results_by_stow(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, named: set[str]
    ):
        authority = Authority(tmp_path / "ca")
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        with Web(lists).serving(authority.issue("localhost", days=days)) as web:
            peer = (
                f'[[peers]]\nname = "web"\nae_title = "STANDIN"\ndicomweb = "https://127.0.0.1:{web.port}"\n'
            )
            assert rig.faults(rig.configured(more=f"\n{peer}"), full=False) == named
        assert any(one.what == "peer-web web" for one in rig.told)

    @pytest.mark.parametrize(
        ("issuer", "named"),
        [("ca", set()), ("another", {"audit-repository.unproven"})],
        ids=["own", "strange"],
    )
    def test_an_audit_repository(self, rig: Rig, tmp_path: Path, issuer: str, named: set[str]):
        authorities = {name: Authority(tmp_path / name, name) for name in ("ca", "another")}
        with Web(lists).serving(authorities[issuer].issue("localhost", days=60)) as web:
            table = f'[audit]\nhost = "127.0.0.1"\nport = {web.port}\nca = "{authorities["ca"].path}"\n'
            assert rig.faults(rig.configured(more=f"\n{table}"), full=False) == named


class TestMachine:
    """The clock, the disk, rights, engines."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        root.mkdir(mode=0o700)
        return root

    def test_a_box_that_does_not_run_has_no_fault(self, rig: Rig, root: Path):
        assert rig.faults(rig.elsewhere(root), full=False) == set()
        assert rig.because() == {"peer-calls-in": "services.stopped"}

    @pytest.mark.parametrize("off_seconds", [DAY, -DAY])
    def test_a_clock_off_by_a_day_by_a_time_server(self, rig: Rig, off_seconds: float):
        with time_server(off_seconds) as server:
            assert rig.faults(ntp=server, full=False) == {"clock.off"}

    def test_a_clock_off_by_a_day_by_the_registry(self, rig: Rig):
        rig.registry.clock_off_seconds = DAY
        assert rig.faults(ntp="", full=False) == {"clock.off"}

    def test_a_full_disk(self, rig: Rig, tmp_path: Path):
        with small_disk(tmp_path) as disk:
            path = rig.elsewhere(disk, ("floor_gib = 0.2", "floor_gib = 0"))
            with (disk / "ballast").open("wb", buffering=0) as file:
                for size in (2**20, 4096, 1):
                    fill(file.fileno(), size)
            assert rig.faults(path, full=False) == {"space.full"}

    def test_a_read_only_spool(self, rig: Rig, root: Path):
        (root / "kept").mkdir(mode=0o700)
        path = rig.elsewhere(root)
        with read_only(root / "kept"):
            assert rig.faults(path, full=False) == {"storage.read-only"}

    def test_a_storage_root_that_is_open_to_others(self, rig: Rig, root: Path):
        path = rig.elsewhere(root)
        root.chmod(0o755)
        assert rig.faults(path, full=False) == {"permissions.open"}

    def test_a_folder_of_another_user(self, rig: Rig, root: Path):
        if os.geteuid() != 0:
            pytest.skip("only root may give a folder away")
        (root / "kept").mkdir(mode=0o700)
        path = rig.elsewhere(root)
        os.chown(root / "kept", 65534, 65534)
        assert rig.faults(path, full=False) == {"permissions.owner"}

    def test_a_key_that_others_can_read(self, rig: Rig, root: Path):
        open_signer(folder_of(root))
        (folder_of(root) / "key.pem").chmod(0o644)
        assert rig.faults(rig.elsewhere(root), full=False) == {"permissions.key"}

    def test_a_port_that_another_program_has(self, rig: Rig, root: Path):
        path = rig.elsewhere(root)
        text = path.read_text(encoding="utf-8")
        ours = text.partition("[dicom]")[2].partition("port = ")[2].split()[0]
        path.write_text(text.replace(f"port = {ours}", f"port = {rig.registry.port}", 1), encoding="utf-8")
        assert rig.faults(path, full=False) == {"ports.taken"}

    def test_a_missing_engine(self, rig: Rig):
        path = rig.configured(more='\n[inference]\nengines = ["kserve", "cpu"]\n')
        assert rig.faults(path, full=False) == {"engines.missing"}

    @pytest.mark.long
    def test_a_service_that_runs_alone(self, rig: Rig, root: Path):
        path = rig.elsewhere(root)
        process = subprocess.Popen([*COMMAND, "service", "audit", "--config", str(path)])
        try:
            until(lambda: living(root / "run", "audit"), seconds=60, what="one service is up")
            assert rig.faults(path, full=False) == {"services.missing"}
        finally:
            process.terminate()
            process.wait(60)


class TestRegistry:
    """What stands between the box and its registry."""

    def at(self, rig: Rig, url: str) -> Path:
        return rig.configured((rig.registry.url, url))

    def test_a_captive_portal(self, rig: Rig):
        rig.registry.answer = portal
        assert rig.faults(full=False) == {"registry.captive-portal"}

    @pytest.mark.long
    def test_a_portal_that_leads_elsewhere(self, rig: Rig):
        rig.registry.answer = lambda _: (302, {"Location": "http://log.in.example/"}, b"")
        assert rig.faults(full=False) == {"registry.captive-portal"}
        assert any("leads to log.in.example" in one.text for one in rig.told)

    @pytest.mark.long
    def test_a_server_that_is_no_registry(self, rig: Rig):
        rig.registry.answer = lambda _: (404, {}, b"{}")
        assert rig.faults(full=False) == {"registry.not-a-registry"}

    def test_a_wrong_port(self, rig: Rig):
        port = free_ports(1)[0]
        assert rig.faults(self.at(rig, f"http://127.0.0.1:{port}"), full=False) == {"registry.port-closed"}
        assert any(f"127.0.0.1:{port}" in one.text for one in rig.told if one.fault), (
            "host and port are named"
        )

    def test_a_port_that_is_dropped(self, rig: Rig):
        with dropped_port() as port:
            path = self.at(rig, f"http://127.0.0.1:{port}")
            assert rig.faults(path, full=False) == {"registry.silent"}

    @pytest.mark.long
    def test_a_name_without_an_address(self, rig: Rig):
        path = self.at(rig, "http://fleet.invalid")
        assert rig.faults(path, full=False) == {"registry.unknown-host"}

    def test_a_proxy_that_inspects_tls(self, rig: Rig, tmp_path: Path):
        with Web(lists).serving(Authority(tmp_path, "inspector").issue("localhost")) as web:
            path = self.at(rig, f"https://127.0.0.1:{web.port}")
            assert rig.faults(path, full=False) == {"registry.tls-inspected"}
        told = next(one for one in rig.told if one.check == "registry-tls")
        assert "issued by inspector" in told.text
        assert "expected: 127.0.0.1, issued by an authority of this machine" in told.text

    @pytest.mark.parametrize(
        ("days", "named"), [(30, set()), (-1, {"registry.certificate-expired"})], ids=["sound", "expired"]
    )
    def test_a_certificate_that_is_trusted(
        self, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, named: set[str]
    ):
        authority = Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        with Web(lists).serving(authority.issue("localhost", days=days)) as web:
            path = self.at(rig, f"https://127.0.0.1:{web.port}")
            assert rig.faults(path, full=False) == named

    @pytest.mark.parametrize(
        ("status", "named"), [(407, "registry.proxy-login"), (403, "registry.proxy-blocks")]
    )
    def test_a_proxy_that_does_not_let_the_box_through(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, status: int, named: str
    ):
        with Web(lambda _: (status, {}, b"")).serving() as proxy:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            assert rig.faults(self.at(rig, "https://fleet.example.org"), full=False) == {named}
        assert any("fleet.example.org:443" in one.text for one in rig.told if one.fault)

    @pytest.mark.long
    def test_a_proxy_that_is_not_there(self, rig: Rig, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_ports(1)[0]}")
        path = self.at(rig, "https://fleet.example.org")
        assert rig.faults(path, full=False) == {"registry.proxy-unreachable"}


def fill(handle: int, size: int) -> None:
    """Write until the disk has no room for so much more."""
    try:
        while os.write(handle, bytes(size)) == size:
            pass
    except OSError:
        pass


@contextmanager
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with a real file system, which the test may fill."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(24 * 2**20)
    _or_skip("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    _or_skip("mount", "-o", "loop", str(image), str(disk))
    try:
        root = disk / "root"
        root.mkdir(mode=0o700)
        yield root
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=60)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    _or_skip("mount", "--bind", str(folder), str(folder))
    try:
        _or_skip("mount", "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=60)


def _or_skip(*command: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"{command[0]} does not work here: {done.stderr.strip()}")
