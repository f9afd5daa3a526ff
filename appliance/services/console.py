"""The console: the pages for people, served until told to stop."""

from __future__ import annotations

from appliance.console.app import create_app
from appliance.console.serve import Serving
from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Config
from appliance.services.left import LeftOf
from appliance.services.stage import on_stage

_log = log.get("console")
_LOOK_SECONDS = 0.5


def run(config: Config) -> int:
    """Run the console until it is told to stop; return the exit code."""
    with on_stage("console", config, port=config.console.port) as stage:
        app = create_app(
            ledger=stage.ledger,
            config=config,
            spool_root=config.storage.root,
            clock=stage.ledger.clock,
            left=LeftOf(config),
        )
        serving = Serving(app, host=config.console.host, port=config.console.port)
        _log.info("console.listening", host=config.console.host, port=serving.start())
        while serving.alive and not stage.stopping.wait(_LOOK_SECONDS):
            alive()
        if not stage.stopping.is_set():
            stage.fault()
        serving.stop()
        return stage.exit_code
