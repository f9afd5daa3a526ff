"""From an unpacked package to a passed acceptance, step by step, as a machine counts it.

A systemd boots over this machine's files with nothing of Readside; an Orthanc beside it is the PACS. What a
person reads, types and carries is not in these times: they are what the software makes a person wait for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.waiting import until
from tests.systemd.machine import ROOT, Binds, Machine, machine

_ANSWERS = """\
[network]
address = "127.0.0.1"
[time]
time_zone = "UTC"
[site]
name = "Newcomer"
[storage]
floor_gib = 0.5
[account]
password = "correct horse battery"
[dicom]
ae_title = "READSIDE"
port = 11112
[pacs]
ae_title = "PACS"
host = "127.0.0.1"
port = 11113
[models]
names = ["ct-tissue-bands"]
[registry]
skip = "the bench has none"
[acceptance]
"""
# A careful rule: what the box itself stores is not sent back to it; the acceptance then asks for it.
_ORTHANC = {
    "Name": "PACS",
    "StorageDirectory": "/srv/orthanc",
    "IndexDirectory": "/srv/orthanc",
    "Plugins": [],
    "HttpPort": 8099,
    "RemoteAccessAllowed": False,
    "AuthenticationEnabled": False,
    "DicomAet": "PACS",
    "DicomPort": 11113,
    "DicomModalities": {"box": {"AET": "READSIDE", "Host": "127.0.0.1", "Port": 11112, "AllowFind": True}},
}
_CONFIG = "/etc/readside/site.toml"
_AS_BOX = ("runuser", "-u", "readside", "--")


def main() -> int:
    """Run the bench; return 0 if the acceptance passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deb", type=Path, help="the package; built anew if not given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="readside-newcomer-") as folder:
        package = asked.deb or _built(Path(folder) / "dist")
        print(f"{os.cpu_count()} cores; {package.name}, {package.stat().st_size / 2**20:.0f} MiB")

        def furnish(files: Path) -> Binds:
            (files / "srv/readside.deb").write_bytes(package.read_bytes())
            (files / "srv/answers.toml").write_text(_ANSWERS, encoding="utf-8")
            (files / "srv/orthanc.json").write_text(json.dumps(_ORTHANC), encoding="utf-8")
            return {}

        with machine(Path(folder) / "machine", furnish) as made:
            made.boot("basic.target")
            return _visit(made)


def _visit(made: Machine) -> int:
    taken: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        taken[name] = time.monotonic() - began
        print(f"{taken[name]:8.1f} s  {name}", flush=True)

    pacs = made.start("Orthanc", "/srv/orthanc.json")
    try:
        with step("install the package"):
            made.run("dpkg", "--install", "/srv/readside.deb", seconds=600)
        with step("first boot, from a file"):
            made.run(
                "readside", "provision", "first-boot", "--file", "/srv/answers.toml", "--config", _CONFIG
            )
        with step("firewall and the units' addresses"):
            made.run("readside", "provision", "firewall", "--config", _CONFIG, "--out", "/")
            made.run("nft", "-f", "/etc/nftables.d/readside.nft")
            made.run("systemctl", "daemon-reload")
        with step("start every service, models loaded and checked"):
            made.run("systemctl", "enable", "--now", "--no-block", "readside.target")
            until(lambda: _all_active(made), seconds=300, what="every service is ready")
        with step("doctor"):
            doctor = made.run(*_AS_BOX, "readside", "doctor", "--config", _CONFIG, check=False, seconds=300)
        with step("acceptance through the PACS"):
            command = (
                "readside",
                "provision",
                "accept",
                "--config",
                _CONFIG,
                "--out",
                "/var/lib/readside/reports",
            )
            accepted = made.run(*_AS_BOX, *command, check=False, seconds=900)
    finally:
        pacs.kill()
        pacs.wait(30)
    print(f"{sum(taken.values()):8.1f} s  in all ({sum(taken.values()) / 60:.1f} min)")
    print(doctor.stdout.strip().splitlines()[-1] if doctor.stdout.strip() else doctor.stderr)
    print(accepted.stdout or accepted.stderr)
    return accepted.returncode


def _all_active(made: Machine) -> bool:
    names = sorted(path.name for path in (ROOT / "systemd").glob("readside-*.service"))
    said = made.run("systemctl", "is-active", *names, check=False).stdout.split()
    return said == ["active"] * len(names)


def _built(out: Path) -> Path:
    subprocess.run([str(ROOT / "scripts/build-deb"), "--out", str(out)], check=True)
    return next(out.glob("*.deb"))


if __name__ == "__main__":
    raise SystemExit(main())
