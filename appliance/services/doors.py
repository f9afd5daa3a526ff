"""The ports of the listener: under TLS, plain, or both, and for STOW-RS; what is told of who comes there.

With [dicom.tls] the plain port is closed unless the site keeps it by `plain = true`.
"""

from __future__ import annotations

import threading

from appliance.core import log
from appliance.core.clock import TokenBucket
from appliance.core.config import Config
from appliance.ledger import events
from appliance.ledger.reading import LedgerFault
from appliance.services.stage import Stage
from appliance.services.stow_door import stow_server
from appliance.services.wire import files_of, wire_peer
from dicom_node.commit_desk import Steward
from dicom_node.dicomweb.server import StowServer
from dicom_node.intake import Intake
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.notice_desk import Clerk
from dicom_node.receive import OnRefused, Reception
from dicom_node.roster import Suspect
from dicom_node.tls import Credentials

_log = log.get("listener")


class Doors:
    """Every port that the box listens on."""

    def __init__(
        self,
        stage: Stage,
        config: Config,
        *,
        intake: Intake,
        limits: Limits,
        on_refused: OnRefused,
        steward: Steward | None = None,
        clerk: Clerk | None = None,
    ) -> None:
        """Read the files of TLS, and bind nothing yet. All ports share one intake: segments have one writer.

        Raises:
            TlsFault: they cannot be used. The plain port does not take the other's place.
        """
        timeline, tls = _Timeline(stage), config.dicom.tls
        self._credentials = None
        if tls is not None:
            self._credentials = Credentials(files_of(tls), notice=timeline.changed)
            self._credentials.look()
        peers = [wire_peer(peer, config) for peer in config.peers]

        def door(port: int, credentials: Credentials | None) -> Listener:
            return Listener(
                ae_title=config.dicom.ae_title,
                host=config.dicom.host,
                port=port,
                peers=peers,
                intake=intake,
                limits=limits,
                on_refused=on_refused,
                on_suspect=timeline.suspect,
                tls=credentials,
                steward=steward,
                clerk=clerk,
            )

        self._doors: dict[str, Listener | StowServer] = {}
        if tls is None or tls.plain:
            self._doors["port"] = door(config.dicom.port, None)
        if tls is not None:
            self._doors["tls_port"] = door(tls.port, self._credentials)
        if config.dicomweb.port is not None:
            reception = Reception(intake=intake, limits=limits, on_refused=on_refused)
            self._doors["stow_port"] = stow_server(
                config, reception, on_suspect=timeline.suspect, notice=timeline.changed
            )

    def start(self) -> dict[str, int]:
        """Listen on every port; return each as it was bound, under "port", "tls_port" and "stow_port".

        Raises:
            OSError: one cannot be bound.
        """
        return {name: door.start() for name, door in self._doors.items()}

    def look(self) -> None:
        """Use new files of TLS, where there are some."""
        if self._credentials is not None:
            self._credentials.look()
        for door in self._doors.values():
            if isinstance(door, StowServer):
                door.look()

    def drain(self, seconds: float) -> None:
        """Let running associations end on all ports at once, within `seconds`."""
        threads = [threading.Thread(target=door.drain, args=(seconds,)) for door in self._doors.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        """Close every port."""
        for door in self._doors.values():
            door.stop()


def count_of(config: Config) -> int:
    """Return how many ports a configuration opens."""
    dimse = 2 if config.dicom.tls is not None and config.dicom.tls.plain else 1
    return dimse + (config.dicomweb.port is not None)


class _Timeline:
    """Writes what the audit trail tells of into the timeline; a flood of it only into the log."""

    def __init__(self, stage: Stage) -> None:
        self._ledger = stage.ledger
        self._left = TokenBucket(stage.limits.refusal_rows_per_minute_max, stage.ledger.clock)

    def suspect(self, suspect: Suspect) -> None:
        """Note somebody who is not who they should be."""
        self._add(suspect.word, reason=suspect.reason, address=suspect.address, calling_ae=suspect.calling_ae)

    def changed(self, word: str, reason: str) -> None:
        """Note that the files of TLS changed."""
        self._add(word, reason=reason)

    def _add(self, word: str, **detail: str) -> None:
        if not self._left.take():
            return
        try:
            with self._ledger.write() as tx:
                events.add(tx, word, at=self._ledger.clock.now(), **detail)
        except LedgerFault as error:
            # The log has its word already; whoever was turned away stays so.
            _log.warning("listener.unrecorded", word=word, error=type(error).__name__)
