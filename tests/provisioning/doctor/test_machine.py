"""What a machine tells of itself in files, each made as the kernel writes it, and what the doctor says."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import parse
from provisioning.doctor.checks import cpu, encryption, filesystem, gpu, memory, thermals, unit_addresses
from provisioning.doctor.finding import Finding
from provisioning.doctor.machine import Machine
from provisioning.doctor.site import Site
from provisioning.host.commands import DROP_IN
from provisioning.host.firewall import firewall_of
from provisioning.host.flows import flows_of

MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Jan  7 20:57:43 UTC 2026\n"
OPEN_MODULE = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  {}  Release Build  (dvs-builder)  Mon\n"
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "data"
    root.mkdir()
    read = parse({"site": {"name": "s"}, "storage": {"root": str(root)}})
    machine = tmp_path / "machine"
    machine.mkdir()
    return Site(read=read, machine=Machine(root=machine))


def write(site: Site, name: str, text: str) -> None:
    path = site.machine.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def of(check: object, site: Site) -> list[str]:
    """The faults that a check names, or how it ended without one."""
    found: list[Finding] = list(check.CHECK.look(site, ""))  # type: ignore[attr-defined]
    return [one.fault.id if one.fault else one.state.value for one in found]


def with_engines(site: Site, *engines: str) -> None:
    site.read = parse(
        {
            "site": {"name": "s"},
            "storage": {"root": str(site.root)},
            "inference": {"engines": list(engines)},
        }
    )


class TestGpu:
    def card(self, site: Site) -> None:
        write(site, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
        write(site, "sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n")

    def library(self, site: Site, version: str) -> None:
        folder = site.machine.path("usr/lib/x86_64-linux-gnu")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"libnvidia-ml.so.{version}").touch()
        (folder / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{version}")

    def test_none_and_none_wanted(self, site: Site):
        assert of(gpu, site) == ["sound"]

    def test_none_and_one_wanted(self, site: Site):
        with_engines(site, "tensorrt", "cpu")
        assert of(gpu, site) == ["gpu.missing"]

    def test_a_card_without_a_driver(self, site: Site):
        self.card(site)
        assert of(gpu, site) == ["gpu.no-driver"]

    @pytest.mark.parametrize("module", [MODULE, OPEN_MODULE])
    @pytest.mark.parametrize(
        ("library", "named"), [("570.86.15", "sound"), ("570.124.06", "gpu.driver-mismatch")]
    )
    def test_a_driver_and_its_libraries(self, site: Site, module: str, library: str, named: str):
        with_engines(site, "cuda", "cpu")
        self.card(site)
        write(site, "proc/driver/nvidia/version", module.format("570.86.15"))
        self.library(site, library)
        assert of(gpu, site) == [named]

    def test_a_gpu_that_nobody_uses_is_advice(self, site: Site):
        self.card(site)
        write(site, "proc/driver/nvidia/version", MODULE.format("570.86.15"))
        self.library(site, "570.86.15")
        assert of(gpu, site) == ["gpu.not-used"]


class TestProcessor:
    @pytest.mark.parametrize(
        ("flags", "named"),
        [
            ("fpu ssse3 sse4_1 sse4_2 popcnt cx16 avx2 fma", "sound"),
            ("fpu ssse3 sse4_1 sse4_2 popcnt cx16", "cpu.no-vectors"),
            ("fpu sse2 cx16", "cpu.too-old"),
        ],
    )
    def test_instructions(self, site: Site, flags: str, named: str):
        write(site, "proc/cpuinfo", f"processor\t: 0\nflags\t\t: {flags}\n")
        assert of(cpu, site) == [named]

    def test_an_arm_processor(self, site: Site):
        write(site, "proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd evtstrm\n")
        assert of(cpu, site) == ["sound"]


class TestMemory:
    @pytest.mark.parametrize(
        ("kib", "named"), [(32 << 20, "sound"), (4 << 20, "memory.little"), (1 << 20, "memory.too-little")]
    )
    def test_how_much_there_is(self, site: Site, kib: int, named: str):
        write(site, "proc/meminfo", f"MemTotal:       {kib} kB\n")
        assert of(memory, site) == [named]

    def test_the_slice_that_is_given_counts(self, site: Site):
        write(site, "proc/meminfo", f"MemTotal:       {32 << 20} kB\n")
        write(site, "proc/self/cgroup", "0::/system.slice/readside.slice\n")
        write(site, "sys/fs/cgroup/system.slice/memory.max", f"{2**30}\n")
        write(site, "sys/fs/cgroup/system.slice/readside.slice/memory.max", "max\n")
        assert of(memory, site) == ["memory.too-little"]


class TestHeat:
    @pytest.mark.parametrize(("now", "named"), [(45_000, "sound"), (97_000, "thermals.hot")])
    def test_a_sensor_against_its_limit(self, site: Site, now: int, named: str):
        for name, text in {
            "type": "x86_pkg_temp",
            "temp": str(now),
            "trip_point_0_type": "passive",
            "trip_point_0_temp": "40000",
            "trip_point_1_type": "critical",
            "trip_point_1_temp": "100000",
        }.items():
            write(site, f"sys/class/thermal/thermal_zone0/{name}", f"{text}\n")
        assert of(thermals, site) == [named]

    def test_a_machine_without_sensors(self, site: Site):
        assert of(thermals, site) == ["unknown"]


def mounted(site: Site, *, device: str, kind: str, options: str = "rw", source: str = "/dev/x") -> None:
    point = str(site.root).replace(" ", "\\040")
    write(
        site,
        "proc/self/mountinfo",
        f"20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"30 20 {device} / {point} rw,noatime shared:2 master:1 - {kind} {source} {options}\n",
    )


class TestFileSystem:
    @pytest.mark.parametrize(
        ("kind", "options", "named"),
        [
            ("ext4", "rw", "sound"),
            ("xfs", "rw,attr2", "sound"),
            ("tmpfs", "rw,size=1g", "filesystem.volatile"),
            ("nfs4", "rw,vers=4.2", "filesystem.network"),
            ("exfat", "rw", "filesystem.unsuitable"),
            ("ext4", "rw,barrier=0", "filesystem.no-barrier"),
        ],
    )
    def test_kinds_and_options(self, site: Site, kind: str, options: str, named: str):
        mounted(site, device="0:99", kind=kind, options=options)
        assert of(filesystem, site) == [named]


class TestEncryption:
    def device(self, site: Site, number: str, name: str, *, uuid: str = "", on: tuple[str, ...] = ()) -> None:
        """A block device as sysfs shows it: a link by number, the device's folder, what it stands on."""
        folder = site.machine.path(f"sys/devices/{name}")
        (folder / "slaves").mkdir(parents=True, exist_ok=True)
        if uuid:
            write(site, f"sys/devices/{name}/dm/uuid", f"{uuid}\n")
        for below in on:
            (folder / "slaves" / below).symlink_to(site.machine.path(f"sys/devices/{below}"))
        links = site.machine.path("sys/dev/block")
        links.mkdir(parents=True, exist_ok=True)
        (links / number).symlink_to(folder)

    def test_luks2_below_lvm(self, site: Site):
        self.device(site, "259:1", "nvme0n1p3")
        self.device(site, "253:0", "dm-0", uuid="CRYPT-LUKS2-0123-data", on=("nvme0n1p3",))
        self.device(site, "253:1", "dm-1", uuid="LVM-abc", on=("dm-0",))
        mounted(site, device="253:1", kind="ext4")
        assert of(encryption, site) == ["sound"]

    def test_a_volume_that_lies_half_on_a_plain_disk(self, site: Site):
        self.device(site, "8:16", "sdb")
        self.device(site, "8:32", "sdc")
        self.device(site, "253:0", "dm-0", uuid="CRYPT-LUKS2-0123-data", on=("sdb",))
        self.device(site, "253:1", "dm-1", uuid="LVM-abc", on=("dm-0", "sdc"))
        mounted(site, device="253:1", kind="ext4")
        assert of(encryption, site) == ["encryption.none"]

    def test_luks1(self, site: Site):
        self.device(site, "8:16", "sdb")
        self.device(site, "253:0", "dm-0", uuid="CRYPT-LUKS1-0123-data", on=("sdb",))
        mounted(site, device="253:0", kind="ext4")
        assert of(encryption, site) == ["encryption.luks1"]

    def test_a_plain_disk(self, site: Site):
        self.device(site, "8:17", "sdb1")
        mounted(site, device="8:17", kind="ext4")
        assert of(encryption, site) == ["encryption.none"]

    def test_where_it_cannot_be_told(self, site: Site):
        mounted(site, device="0:42", kind="overlay", source="overlay")
        assert of(encryption, site) == ["unknown"]


class TestUnits:
    def test_where_no_units_are_installed(self, site: Site):
        assert of(unit_addresses, site) == ["unknown"]

    def test_addresses_of_an_older_configuration(self, site: Site):
        write(site, "etc/resolv.conf", "")
        write(site, "usr/lib/systemd/system/readside-.service.d/10-all.conf", "")
        assert of(unit_addresses, site) == ["unit-addresses.outdated"], "nothing was written yet"
        made = firewall_of(flows_of(site.config), storage_root=str(site.root))
        for name, text in made.units.items():
            write(site, DROP_IN.format(name), text)
        assert of(unit_addresses, site) == ["sound"]
        peer = {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.7", "port": 104}
        storage = {"root": str(site.root)}
        site.read = parse({"site": {"name": "s"}, "storage": storage, "peers": [peer]})
        assert of(unit_addresses, site) == ["unit-addresses.outdated"]
