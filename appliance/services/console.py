"""The console: uvicorn around the pages for people."""

from __future__ import annotations

import threading

import uvicorn

from appliance.console.app import create_app
from appliance.core import log
from appliance.core.config import Config
from appliance.services.stage import on_stage

_log = log.get("console")
_LOOK_SECONDS = 0.5


def run(config: Config) -> int:
    """Run the console until it is told to stop; return the exit code."""
    with on_stage("console", config, port=config.console.port) as stage:
        app = create_app(
            ledger=stage.ledger, config=config, spool_root=config.storage.root, clock=stage.ledger.clock
        )
        settings = uvicorn.Config(
            app,
            host=config.console.host,
            port=config.console.port,
            access_log=False,  # an access log would hold the addresses of patients' pages
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(settings)
        # Off the main thread uvicorn leaves signals alone; they are the stage's.
        serving = threading.Thread(target=server.run, name="console")
        serving.start()
        _log.info("console.listening", host=config.console.host, port=config.console.port)
        while serving.is_alive() and not stage.stopping.wait(_LOOK_SECONDS):
            pass
        if not stage.stopping.is_set():
            stage.fault()
        server.should_exit = True
        serving.join()
        return stage.exit_code
