"""Ask each PACS every hour what it has, and fetch what never arrived: a thread for each PACS."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

from appliance.assemble.reconcile import Archive, Reconciler
from appliance.core import log
from appliance.core.config import Config
from appliance.ledger.reading import LedgerFault
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.find import FoundInstance, FoundStudy, find_instances, find_studies
from dicom_node.limits import Limits as WireLimits
from dicom_node.move import Moved, move

_log = log.get("conductor")
# A question that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(acse_seconds_max=15.0, dimse_seconds_max=20.0)


class Reconciling:
    """Looks at each PACS when the service starts, then as often as the site wants."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage, self._config = stage, config
        self._beside = Beside(stage, self._keep, config.reconcile.peers, called="reconcile")

    def start(self) -> None:
        """Begin to ask."""
        self._beside.start()

    def join(self) -> None:
        """Wait for what is under way; a retrieval is called off, a question is bounded."""
        self._beside.join()

    def _keep(self, name: str) -> None:
        stage, section = self._stage, self._config.reconcile
        reconciler = Reconciler(stage.ledger, section, name, self._archive(name), stage.limits)
        look_at, stopping = 0.0, stage.stopping.is_set
        every_seconds = section.every_minutes * 60
        try:
            while not stage.stopping.wait(stage.limits.poll_seconds):
                if time.monotonic() >= look_at:
                    again = every_seconds if self._look(reconciler, name) else stage.limits.ask_again_seconds
                    look_at = time.monotonic() + min(again, every_seconds)
                with self._bearing(name):
                    reconciler.turn(stopping)
        # A thread that died silently would leave "missed: 0" on the page for ever: the service starts anew.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stopping():
                _log.critical("conductor.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()

    def _look(self, reconciler: Reconciler, name: str) -> bool:
        with self._bearing(name):
            return reconciler.look(self._stage.stopping.is_set)
        return False

    @contextmanager
    def _bearing(self, name: str) -> Iterator[None]:
        """Bear with a full disk, or a ledger locked for too long: what was not written is done again."""
        try:
            yield
        except LedgerFault:
            _log.warning("reconcile.not_recorded", peer=name)

    def _archive(self, name: str) -> Archive:
        """Return what asks one peer over the wire."""
        config = self._config
        peer = wire_peer(config.peer(name), config)
        title, kinds = config.dicom.ae_title, config.reconcile.modalities

        def list_studies(first: date, last: date) -> Sequence[FoundStudy] | None:
            return find_studies(
                peer, calling_ae=title, first=first, last=last, modalities=kinds, limits=_WIRE
            )

        def list_instances(study_uid: str) -> Sequence[FoundInstance] | None:
            return find_instances(peer, calling_ae=title, study_uid=study_uid, modalities=kinds, limits=_WIRE)

        def fetch(study_uid: str, series_uids: Sequence[str]) -> Moved:
            return move(
                peer,
                calling_ae=title,
                destination_ae=title,
                study_uid=study_uid,
                series_uids=series_uids,
                limits=_WIRE,
                given_up=self._stage.stopping.is_set,
            )

        return Archive(studies=list_studies, instances=list_instances, fetch=fetch)
