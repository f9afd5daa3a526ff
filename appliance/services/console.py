"""The console: uvicorn around the pages for people."""

from __future__ import annotations

import threading

import uvicorn

from appliance.console.app import create_app
from appliance.core import log
from appliance.core.config import Config
from appliance.services.stage import Stage, on_stage

_log = log.get("console")


def run_console(config: Config) -> int:
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
        server.install_signal_handlers = lambda: None
        watcher = threading.Thread(target=_stop_with, args=(stage, server), daemon=True)
        watcher.start()
        _log.info("console.listening", host=config.console.host, port=config.console.port)
        server.run()
        return stage.exit_code


def _stop_with(stage: Stage, server: uvicorn.Server) -> None:
    stage.stopping.wait()
    server.should_exit = True
