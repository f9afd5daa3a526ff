"""A machine with a systemd of its own: this one's files under an overlay in memory, no network but loopback.

What is installed and written there is gone at its end, and nothing of it is seen outside.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.programs import need

ROOT = Path(__file__).resolve().parents[2]
_CHECKOUT, _PYTHON, _PREFIX = Path("/opt/checkout"), Path("/opt/python"), Path("/opt/readside")
_ENTRY = f"#!{_PREFIX}/bin/python\nfrom appliance.cli.entry import main\n\nmain()\n"
# Where something of this machine is seen there, for reading only.
Binds = Mapping[Path, Path]
_BOOT_SECONDS_MAX = 60.0
_END_SECONDS_MAX = 60.0


class Machine:
    """One booted machine; `files` is its root as it is seen from here."""

    def __init__(self, folder: Path, files: Path, binds: Binds) -> None:
        """Boot nothing yet."""
        self.files, self._binds = files, binds
        self._log_path = folder / "console.log"
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self, unit: str) -> None:
        """Boot to one unit and what it wants; the test is skipped where no systemd comes up by itself."""
        command = [need("systemd-nspawn"), "--quiet", f"--directory={self.files}", "--private-network"]
        command += ["--register=no", "--keep-unit", "--link-journal=no", "--settings=no", "--boot"]
        command[-1:-1] = [f"--bind-ro={source}:{place}" for place, source in self._binds.items()]
        command += [f"systemd.unit={unit}", "systemd.log_color=0"]
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _BOOT_SECONDS_MAX
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log_path.read_text(errors="replace").strip().splitlines()
                self.off()
                pytest.skip(f"this machine boots no container: {said[-1] if said else 'no word'}")
            time.sleep(0.2)

    def run(
        self, *command: str | Path | int, check: bool = True, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine, as root."""
        ran = subprocess.run(
            self._inside(command), capture_output=True, text=True, timeout=seconds, check=False
        )
        assert not check or ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran

    def start(self, *command: str | Path | int) -> subprocess.Popen[bytes]:
        """Start a command on the machine, which the caller ends."""
        return subprocess.Popen(self._inside(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _inside(self, command: Sequence[str | Path | int]) -> list[str]:
        inside = [need("nsenter"), f"--target={self._first()}", "--mount", "--net", "--uts", "--ipc", "--pid"]
        return [*inside, "--", *map(str, command)]

    def shows(self, unit: str, name: str) -> str:
        """Return what systemd knows of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False).stdout

    def off(self) -> None:
        """Turn it off as a power cut does; what is in memory is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        # Process 1 takes all the others with it. Its parent does not: killed, it would leave them running.
        for first in children(process.pid):
            os.kill(first, signal.SIGKILL)
        try:
            process.wait(_END_SECONDS_MAX)
        finally:
            process.kill()

    def _listens(self) -> bool:
        if self._first() is None:
            return False
        said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return said in ("initializing", "starting", "running", "degraded")

    def _first(self) -> int | None:
        """Return the machine's process 1 as it is numbered here."""
        assert self._process is not None, "it is off"
        found = children(self._process.pid)
        return found[0] if found else None


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextmanager
def machine(folder: Path, furnish: Callable[[Path], Binds]) -> Iterator[Machine]:
    """Make the files of a machine, let `furnish` put things there, and take everything away at the end."""
    memory, files = folder / "memory", folder / "files"
    for path in (memory, files):
        path.mkdir(parents=True)
    made: Machine | None = None
    _mount("-t", "tmpfs", "-o", "size=5g,mode=0755", "readside-test", memory)
    try:
        for name in ("upper", "work"):
            (memory / name).mkdir()
        options = f"lowerdir=/,upperdir={memory / 'upper'},workdir={memory / 'work'}"
        _mount("-t", "overlay", "-o", options, "readside-test", files)
        try:
            (files / "etc/machine-id").write_text("", encoding="ascii")
            made = Machine(folder, files, furnish(files))
            yield made
        finally:
            if made is not None:
                made.off()
            _run("umount", "--lazy", files)
    finally:
        _run("umount", "--lazy", memory)


def checkout_in(files: Path) -> Binds:
    """Put this checkout where the package puts Readside, with its units, users and folders."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = Path(sys.prefix) / "lib" / python / "site-packages"
    inside = _CHECKOUT / "site-packages"
    # A Python may lie in somebody's home, which no service sees.
    binds = {_PYTHON: Path(sys.base_prefix), inside: packages}
    binds |= {_CHECKOUT / name: ROOT / name for name in ("appliance", "dicom_node", "models", "provisioning")}
    _bring_library(files)
    prefix = files / _PREFIX.relative_to("/")
    site = prefix / "lib" / python / "site-packages"
    (prefix / "bin").mkdir(parents=True)
    site.mkdir(parents=True)
    (site / "readside.pth").write_text(f"{_CHECKOUT}\n{inside}\n", encoding="utf-8")
    (prefix / "pyvenv.cfg").write_text(f"home = {_PYTHON}/bin\n", encoding="utf-8")
    (prefix / "bin/python").symlink_to(_PYTHON / "bin" / python)
    entry = prefix / "bin/readside"
    entry.write_text(_ENTRY, encoding="utf-8")
    entry.chmod(0o755)
    units = files / "etc/systemd/system"
    shutil.copytree(ROOT / "systemd", units, dirs_exist_ok=True)
    for name in ("sysusers.d", "tmpfiles.d"):
        shutil.copytree(units / name, files / "etc" / name, dirs_exist_ok=True)
    return binds


def _bring_library(files: Path) -> None:
    """Let the Python there find its own shared library, and not the system's of another patch level."""
    library = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(sysconfig.get_config_var("INSTSONAME"))
    if not library.name.endswith(".a") and library.is_file():
        (files / "opt/library").mkdir()
        shutil.copy(library, files / "opt/library")
        # The first folder that has it wins, and they are read in the order of these names.
        (files / "etc/ld.so.conf.d/000-readside-test.conf").write_text("/opt/library\n", encoding="ascii")
        _run("ldconfig", "-r", files)


def _mount(*arguments: Any) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    ran = subprocess.run([need("mount"), *map(str, arguments)], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"this machine does not let us mount: {ran.stderr.strip()}")


def _run(*command: Any) -> None:
    subprocess.run([need(str(command[0])), *map(str, command[1:])], check=True, capture_output=True)
