"""What the box may ask of a peer that has studies: turned into questions over the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial

from appliance.assemble.fetch import Source
from appliance.assemble.reconcile import Archive
from appliance.core.config import Config
from appliance.services.wire import wire_peer
from dicom_node.find import FoundInstance, FoundStudy, find_instances, find_studies
from dicom_node.get import Wanted, get
from dicom_node.limits import Limits as WireLimits
from dicom_node.move import Moved, move
from dicom_node.receive import Reception

# A question that nobody waits for gives up early enough for the service to end in time.
_WIRE = WireLimits(acse_seconds_max=15.0, dimse_seconds_max=20.0)


class PeerArchive:
    """One peer; belongs to one thread. With a `reception` studies are got from it, else it sends them."""

    def __init__(
        self, config: Config, name: str, *, reception: Reception | None, given_up: Callable[[], bool]
    ) -> None:
        self._peer, self._title = wire_peer(config.peer(name), config), config.dicom.ae_title
        self._kinds = config.reconcile.modalities
        self._reception, self._given_up = reception, given_up
        # Which classes the last study has that was asked about: a C-GET has to propose them.
        self._classes: frozenset[str] = frozenset()

    @property
    def archive(self) -> Archive:
        """Return what reconciliation asks: what the site should have been sent."""
        instances = partial(self._instances, modalities=self._kinds)
        everything = partial(self._instances, modalities=())
        return Archive(studies=self._studies, instances=instances, everything=everything, fetch=self._fetch)

    @property
    def source(self) -> Source:
        """Return what a person's request asks: whatever the study has."""
        return Source(instances=partial(self._instances, modalities=()), fetch=self._fetch)

    def _studies(self, first: date, last: date) -> Sequence[FoundStudy] | None:
        return find_studies(
            self._peer, calling_ae=self._title, first=first, last=last, modalities=self._kinds, limits=_WIRE
        )

    def _instances(self, study_uid: str, *, modalities: Sequence[str]) -> Sequence[FoundInstance] | None:
        found = find_instances(
            self._peer, calling_ae=self._title, study_uid=study_uid, modalities=modalities, limits=_WIRE
        )
        self._classes = frozenset(one.sop_class_uid for one in found or () if one.sop_class_uid)
        return found

    def _fetch(self, study_uid: str, series_uids: Sequence[str]) -> Moved:
        if self._reception is None:
            return move(
                self._peer,
                calling_ae=self._title,
                destination_ae=self._title,
                study_uid=study_uid,
                series_uids=series_uids,
                limits=_WIRE,
                given_up=self._given_up,
            )
        wanted = Wanted(study_uid=study_uid, series_uids=series_uids, sop_classes=self._classes)
        return get(
            self._peer,
            calling_ae=self._title,
            wanted=wanted,
            reception=self._reception,
            limits=_WIRE,
            given_up=self._given_up,
        )
