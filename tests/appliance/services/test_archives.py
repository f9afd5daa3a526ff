"""Which service asks which peer, and how: one that sends is asked to, one that gives is got from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from appliance.core.config import Config, parse
from appliance.ledger.engine import open_ledger
from appliance.services.archives import PeerArchive
from appliance.services.reconciling import Reconciling
from appliance.services.stage import Stage
from dicom_node.receive import Reception
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, IMPLICIT, LIMITS, Shelf, header, serving

STUDY = "2.25.102"


def site(folder: Path, port: int = 104, **reconcile: Any) -> Config:
    both = {"host": "127.0.0.1", "port": port, "may": ["store", "query"]}
    peers = [
        {"name": "sends", "ae_title": "PACS"} | both,
        {"name": "gives", "ae_title": "GIVES", "retrieve": "get"} | both,
        {"name": "asks", "ae_title": "ASKS", "host": "127.0.0.1", "port": port, "may": ["query"]},
        {"name": "calls", "ae_title": "CALLS"},
    ]
    return parse(
        {"site": {"name": "s"}, "storage": {"root": str(folder)}, "peers": peers, "reconcile": reconcile}
    )


def reception(shelf: Shelf) -> Reception:
    return Reception(intake=shelf, limits=LIMITS, on_refused=lambda _: None)


def test_each_peer_is_asked_by_one_service(tmp_path: Path) -> None:
    config = site(tmp_path)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    stage = Stage(name="s", config=config, ledger=ledger)
    asked: dict[str, list[str]] = {}
    for way, received in (("conductor", None), ("listener", reception(Shelf()))):
        beside = Reconciling(stage, config, received)._beside
        asked[way] = [thread.name for thread in beside._threads]
    assert asked == {"conductor": ["reconcile sends"], "listener": ["reconcile gives"]}
    ledger.close()


def test_a_study_is_got_in_the_classes_that_the_peer_named(tmp_path: Path) -> None:
    def found(_event: Any) -> Iterator[Any]:
        answer = header()
        for keyword in ("SourceImageSequence", "ImagePositionPatient"):
            delattr(answer, keyword)
        answer.QueryRetrieveLevel = "IMAGE"
        yield 0xFF00, answer

    def gives(_event: Any) -> Iterator[Any]:
        dataset = header()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT)
        yield 1
        yield 0xFF00, dataset

    proposed: list[set[str]] = []

    def requested(event: Any) -> None:
        contexts = event.assoc.requestor.primitive.presentation_context_definition_list
        proposed.append({str(one.abstract_syntax) for one in contexts})

    entity = AE("PACS")
    entity.supported_contexts = [
        build_context(StudyRootQueryRetrieveInformationModelFind, [IMPLICIT]),
        build_context(StudyRootQueryRetrieveInformationModelGet, [IMPLICIT]),
    ]
    entity.add_supported_context(CT, [IMPLICIT], scu_role=True, scp_role=True)
    shelf = Shelf()
    handlers = ((evt.EVT_C_FIND, found), (evt.EVT_C_GET, gives), (evt.EVT_REQUESTED, requested))
    with serving(entity, *handlers) as peer:
        there = _archive(tmp_path, peer, shelf)
        instances = there.source.instances(STUDY)
        assert instances is not None
        assert [(one.sop_class_uid, one.series_uid) for one in instances] == [(CT, "2.25.103")]
        assert there.source.fetch(STUDY, ["2.25.103"]).word == "get.done"
    assert [a.header.study_uid for a in shelf.arrivals] == [STUDY]
    assert proposed[-1] == {CT, str(StudyRootQueryRetrieveInformationModelGet)}


def test_without_a_reception_the_peer_is_made_to_send(tmp_path: Path) -> None:
    def answers(event: Any) -> Iterator[Any]:
        assert event.move_destination == "READSIDE"
        yield None, None

    entity = AE("PACS")
    entity.supported_contexts = [build_context(StudyRootQueryRetrieveInformationModelMove, [IMPLICIT])]
    with serving(entity, (evt.EVT_C_MOVE, answers)) as peer:
        there = _archive(tmp_path, peer, None)
        assert there.archive.fetch(STUDY, ["2.25.103"]).word == "move.unknown_destination"


def _archive(folder: Path, peer: Peer, shelf: Shelf | None) -> PeerArchive:
    config = site(folder, peer.port)
    return PeerArchive(
        config,
        "sends",
        reception=None if shelf is None else reception(shelf),
        given_up=lambda: False,
    )


@pytest.mark.parametrize("modalities", [[], ["CT"]])
def test_what_a_person_asks_for_is_not_limited_to_what_the_site_expects(
    tmp_path: Path, modalities: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def find(_peer: Any, **values: Any) -> list[Any]:
        asked.append(tuple(values["modalities"]))
        return []

    monkeypatch.setattr("appliance.services.archives.find_instances", find)
    config = site(tmp_path, modalities=modalities)
    there = PeerArchive(config, "sends", reception=None, given_up=lambda: False)
    there.archive.instances(STUDY)
    there.source.instances(STUDY)
    assert asked == [tuple(modalities), ()]
