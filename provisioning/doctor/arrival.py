"""Whether an object arrives at the box: by its ledger where it runs, else at a door of our own.

Promises: the door is closed again; nothing of what comes through it is kept.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from appliance.ledger import studies
from appliance.ledger.engine import Ledger, open_ledger
from appliance.services.wire import files_of, wire_peer
from dicom_node.listener import Listener
from dicom_node.memory import Held, MemoryIntake
from dicom_node.tls import Credentials, TlsFault
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import LISTENER, Site

# One port has one door, however many peers are tried.
_ONE_DOOR: Final = threading.Lock()


class NoDoor(Exception):
    """The box does not run, and its port could not be opened in its place."""


class Door:
    """Where one study is awaited, for the length of a with block."""

    def __init__(self, site: Site, study_uid: str) -> None:
        self._site, self._study_uid = site, study_uid
        self._came = threading.Event()
        self._stack = ExitStack()
        self._ledger: Ledger | None = None

    def __enter__(self) -> Self:
        """Open the ledger, or the door.

        Raises:
            NoDoor: the port cannot be listened on.
        """
        if self._site.runs(LISTENER):
            self._ledger = open_ledger(self._site.config.ledger_url)
            self._stack.callback(self._ledger.close)
            return self
        self._stack.enter_context(_ONE_DOOR)
        try:
            self._stack.callback(self._listening().stop)
        except (OSError, TlsFault) as error:
            self._stack.close()
            raise NoDoor(f"the box does not run, and its port cannot be opened ({error})") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened."""
        self._stack.close()

    def has_come(self) -> bool:
        """Say whether an instance of the study arrived."""
        if self._ledger is None:
            return self._came.is_set()
        with self._ledger.read() as tx:
            return studies.count_of(tx, self._study_uid) > 0

    def wait(self, seconds: float) -> None:
        """Wait a moment, or until something came."""
        if self._ledger is None:
            self._came.wait(seconds)
        else:
            time.sleep(seconds)

    def _listening(self) -> Listener:
        config, tls = self._site.config, self._site.config.dicom.tls
        under_tls = tls is not None and not tls.plain
        listener = Listener(
            ae_title=config.dicom.ae_title,
            host=config.dicom.host,
            port=tls.port if tls is not None and under_tls else config.dicom.port,
            peers=[wire_peer(peer, config) for peer in config.peers],
            intake=MemoryIntake(self._take),
            limits=WIRE,
            tls=Credentials(files_of(tls)) if tls is not None and under_tls else None,
        )
        listener.start()
        return listener

    def _take(self, held: Held) -> None:
        if held.header.study_uid == self._study_uid:
            self._came.set()
