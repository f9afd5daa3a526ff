"""Run the server: one or several processes on one listening socket, until told to stop.

Promises: a process that dies is started anew; SIGTERM lets each answer what is under way.
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import signal
import socket
import threading
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn

from appliance.core import log
from provisioning.registry.server.app import application
from provisioning.registry.server.hasty import PROTOCOL
from provisioning.registry.server.limits import ServerLimits
from provisioning.registry.server.setting import Setting

_log = log.get("registry")
_LOOK_SECONDS = 0.5
_FILES_BESIDE = 256
_STOP_SECONDS_MAX = 30.0


def uvicorn_options(limits: ServerLimits) -> dict[str, Any]:
    """Return how uvicorn must serve the application: no access log, bounded, HTTP/1.1."""
    return {
        "http": PROTOCOL,
        "ws": "none",
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "date_header": False,
        "limit_concurrency": limits.connections_max,
        "backlog": 2_048,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": 10,
        "h11_max_incomplete_event_size": 32 * 1024,
    }


def serve(setting: Setting, *, host: str, port: int, processes: int = 1) -> None:
    """Serve until told to stop.

    Raises:
        RegistryFault: there is no registry, or its database cannot be opened.
        OSError: the address cannot be listened on.
    """
    _make_room(setting.limits.connections_max)
    # Here and not in a child: what is wrong is said once, and the tables are there before several want them.
    application(setting).state.room.database.close()
    with _listening(host, port) as listening:
        if processes == 1:
            _server(setting).run(sockets=[listening])
        else:
            _Several(setting, listening, processes).run()


def _make_room(connections: int) -> None:
    """Let this process and its children have a file for each connection, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES_BESIDE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _server(setting: Setting) -> uvicorn.Server:
    made = functools.partial(application, setting)
    return uvicorn.Server(uvicorn.Config(made, factory=True, **uvicorn_options(setting.limits)))


class _Several:
    """Processes that share one listening socket; each is started anew when it dies."""

    def __init__(self, setting: Setting, listening: socket.socket, processes: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._given = (setting, listening)
        self._stopping = threading.Event()
        self._processes = [self._start() for _ in range(processes)]

    def run(self) -> None:
        """Keep them running until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        while not self._stopping.wait(_LOOK_SECONDS):
            self._processes = [one if one.is_alive() else self._anew(one) for one in self._processes]
        for one in self._processes:
            one.terminate()
        for one in self._processes:
            one.join(_STOP_SECONDS_MAX)
            one.kill()

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=_child, args=self._given)
        process.start()
        return process

    def _anew(self, dead: BaseProcess) -> BaseProcess:
        _log.error("registry.process_ended", exit_code=dead.exitcode)
        return self._start()


def _child(setting: Setting, listening: socket.socket) -> None:
    """Serve in a process of several; it ends when the first one is gone, however that ended."""
    log.configure("registry")
    server, parent = _server(setting), multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        server.should_exit = True

    threading.Thread(target=watch, name="parent", daemon=True).start()
    server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=2_048)
