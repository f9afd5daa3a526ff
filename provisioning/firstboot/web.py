"""A first boot on a page of the local network, served until it is finished or nobody uses it any more.

Promises: on the network it speaks TLS alone, with a certificate whose fingerprint stands on the terminal.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from rich.console import Console

from appliance.console.serve import SERVE
from appliance.core.addresses import is_loopback
from appliance.core.clock import SYSTEM
from provisioning.firstboot import certificate
from provisioning.firstboot.desk import Desk
from provisioning.firstboot.door import Door
from provisioning.firstboot.pages import application
from provisioning.firstboot.sitting import Sitting, detected
from provisioning.firstboot.values import AnswerFault
from provisioning.identity import code as codes

_LOOK_SECONDS = 0.1


def answer_on(sitting: Sitting, at: str, *, code_file: Path | None, over: bool, out: Console) -> None:
    """Serve the page until it is finished, idle for too long or interrupted.

    Raises:
        AnswerFault: `at` is no HOST:PORT, or cannot be listened on.
        CodeFault: the file of the label holds no claim code.
    """
    host, port = _address(at)
    code = codes.make() if code_file is None else _code_in(code_file)
    desk = Desk(sitting, Door(code, SYSTEM), over=over)
    context, fingerprint = (None, "") if is_loopback(host) else certificate.made(_names(host))
    served = Served(application(desk), host=host, port=port, tls=context)
    try:
        bound = served.start()
    except OSError as error:
        raise AnswerFault([f"--web {at}: {error.strerror or error}"]) from error
    name = detected() if _is_any(host) else host
    where = f"[{name}]" if ":" in name else name
    out.print(f"Open {'http' if context is None else 'https'}://{where}:{bound}/", markup=False)
    if fingerprint:
        out.print(f"The browser warns; its certificate must have this SHA-256 fingerprint: {fingerprint}")
    if code_file is None:
        out.print(f"Claim code: {codes.shown(code)}", markup=False)
    try:
        while served.alive and not desk.is_over():
            time.sleep(_LOOK_SECONDS)
    finally:
        served.stop()
    out.print(desk.last_word(), markup=False)


class Served:
    """The page behind a listening socket, in a thread of its own."""

    def __init__(self, app: FastAPI, *, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port = host, port
        setting = uvicorn.Config(app, **SERVE)
        setting.load()
        # Its key lies in no file, so the context is handed over as it is.
        setting.ssl = tls
        self._server = uvicorn.Server(setting)
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Open the socket and return its port.

        Raises:
            OSError: the address cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.create_server((self._host, self._port), family=family)
        port: int = listening.getsockname()[1]
        run = functools.partial(self._server.run, sockets=[listening])
        self._thread = threading.Thread(target=run, name="first-boot", daemon=True)
        self._thread.start()
        return port

    @property
    def alive(self) -> bool:
        """Say whether requests are still answered."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Answer what is under way, then close."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()


def _address(at: str) -> tuple[str, int]:
    host, colon, port = at.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise AnswerFault([f"--web {at[:80]}: must be HOST:PORT, such as 0.0.0.0:8443"])
    return host, int(port)


def _code_in(path: Path) -> str:
    try:
        return codes.read(path.read_text(encoding="ascii")[:1_000].strip())
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerFault([f"{path}: cannot be read as a claim code"]) from error


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")


def _names(host: str) -> list[str]:
    found = detected() if _is_any(host) else host
    return [name for name in (found, socket.gethostname()) if name]
