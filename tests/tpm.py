"""A TPM 2.0 in software (swtpm), for tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

needed = pytest.mark.skipif(
    (shutil.which("swtpm") is None or shutil.which("tpm2_sign") is None) and not os.environ.get("CI"),
    reason="swtpm and tpm2-tools are not installed",
)


@contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run a TPM whose state is new; the tools find it by their environment."""
    # The path of a socket may have 107 characters; a test's own folder is longer.
    with TemporaryDirectory(prefix="tpm-") as folder:
        socket = Path(folder) / "socket"
        process = subprocess.Popen(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"),
                *("--server", f"type=unixio,path={socket}"),
                *("--ctrl", f"type=unixio,path={socket}.ctrl"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _there(socket, Path(f"{socket}.ctrl"))
            monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:path={socket}")
            yield socket
        finally:
            process.terminate()
            process.wait(timeout=30)


def _there(*paths: Path) -> None:
    end = time.monotonic() + 30
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, "swtpm does not start"
        time.sleep(0.02)
