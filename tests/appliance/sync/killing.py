"""Run a command on versions in a process of its own and kill it in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from appliance.sync.box import ModelBox

PROCESS_SECONDS_MAX = 60
KILLED = """
import sys, time
from pathlib import Path
from appliance.core.config import load
from appliance.ledger.engine import open_ledger
from appliance.sync import {module} as module
from appliance.sync.box import ModelBox

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(600)

module.{step} = stop
config = load(Path(sys.argv[1]))
box = ModelBox(config=config, ledger=open_ledger(config.ledger_url), by="jo")
module.{call}
"""


def killed_at(box: ModelBox, folder: Path, *, module: str, step: str, call: str) -> None:
    """Run a command in a process of its own and kill it in the middle."""
    site = folder / "site.toml"
    site.write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{box.root}"\nfloor_gib = 0.01\n'
        f'[ledger]\nurl = "{box.config.ledger.url}"\n',
        encoding="utf-8",
    )
    code = KILLED.format(module=module, step=step, call=call)
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(site)], cwd=root, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            # What is logged on the way stands there too.
            assert any(line == "here\n" for line in process.stdout)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(PROCESS_SECONDS_MAX)
