"""Asking archives what they have: those that answer in full, in part, wrongly and without end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRootFind,
)

from dicom_node.find import FoundInstance, FoundStudy, find_instances, find_studies
from dicom_node.limits import Limits
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, IMPLICIT, LIMITS, serving

STUDY = "1.2.3"
FIRST, LAST = date(2026, 2, 27), date(2026, 3, 1)
Answers = Callable[[Any], Iterator[tuple[int, Dataset | None]]]
# Study -> series -> modality and instances.
SHELVES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "1.2.3": {"1.2.3.1": ("CT", ["1.2.3.1.1", "1.2.3.1.2"]), "1.2.3.2": ("SR", ["1.2.3.2.1"])},
    "1.2.4": {"1.2.4.1": ("MR", ["1.2.4.1.1"])},
}


@contextmanager
def archive(answers: Answers) -> Iterator[Peer]:
    entity = AE("PACS")
    entity.supported_contexts = [build_context(StudyRootFind, [IMPLICIT])]
    with serving(entity, (evt.EVT_C_FIND, answers)) as peer:
        yield peer


def row(level: str, **values: Any) -> tuple[int, Dataset]:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return 0xFF00, dataset


def shelves(event: Any) -> Iterator[tuple[int, Dataset]]:
    """An archive that answers at each level and does not match by modality."""
    wanted = event.identifier
    if wanted.QueryRetrieveLevel == "STUDY":
        assert wanted.StudyDate == "20260227-20260301"
        for uid, series in SHELVES.items():
            kinds = [modality for modality, _ in series.values()]
            yield row("STUDY", StudyInstanceUID=uid, ModalitiesInStudy=kinds, NumberOfStudyRelatedInstances=3)
    elif wanted.QueryRetrieveLevel == "SERIES":
        for uid, (modality, _) in SHELVES.get(wanted.StudyInstanceUID, {}).items():
            yield row(
                "SERIES", StudyInstanceUID=wanted.StudyInstanceUID, SeriesInstanceUID=uid, Modality=modality
            )
    else:
        _, instances = SHELVES[wanted.StudyInstanceUID][wanted.SeriesInstanceUID]
        for uid in instances:
            yield row("IMAGE", SeriesInstanceUID=wanted.SeriesInstanceUID, SOPInstanceUID=uid, SOPClassUID=CT)


def studies(peer: Peer, *modalities: str, limits: Limits = LIMITS) -> list[FoundStudy] | None:
    return find_studies(peer, calling_ae="BOX", first=FIRST, last=LAST, modalities=modalities, limits=limits)


def instances(
    peer: Peer, study: str = STUDY, modalities: Collection[str] = (), limits: Limits = LIMITS
) -> list[FoundInstance] | None:
    return find_instances(peer, calling_ae="BOX", study_uid=study, modalities=modalities, limits=limits)


def test_studies_of_some_days_come_with_their_modalities_and_counts() -> None:
    with archive(shelves) as peer:
        found = studies(peer)
    assert found == [
        FoundStudy(study_uid="1.2.3", modalities=frozenset({"CT", "SR"}), instances=3),
        FoundStudy(study_uid="1.2.4", modalities=frozenset({"MR"}), instances=3),
    ]


def test_an_archive_that_ignores_the_modality_is_read_for_it() -> None:
    asked = []

    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        asked.append(event.identifier.ModalitiesInStudy)
        return shelves(event)

    with archive(answers) as peer:
        found = studies(peer, "CT", "PT")
    assert found is not None
    assert [study.study_uid for study in found] == ["1.2.3"], "once, though two questions name it"
    assert asked == ["CT", "PT"]


def test_a_study_without_a_sound_uid_is_left_out_and_one_without_numbers_is_not() -> None:
    with archive(
        lambda _: iter([row("STUDY", StudyInstanceUID=""), row("STUDY", StudyInstanceUID="1.9")])
    ) as peer:
        assert studies(peer, "CT") == [FoundStudy(study_uid="1.9", modalities=frozenset(), instances=None)]


def test_instances_of_a_study_come_series_by_series() -> None:
    with archive(shelves) as peer:
        found = instances(peer)
        only_ct = instances(peer, modalities=("CT",))
    assert found is not None
    assert only_ct is not None
    assert [(one.series_uid, one.modality, one.sop_instance_uid) for one in found] == [
        ("1.2.3.1", "CT", "1.2.3.1.1"),
        ("1.2.3.1", "CT", "1.2.3.1.2"),
        ("1.2.3.2", "SR", "1.2.3.2.1"),
    ]
    assert {one.sop_class_uid for one in found} == {CT}
    assert only_ct == found[:2]


def test_a_study_that_the_archive_does_not_have_has_no_instance() -> None:
    with archive(shelves) as peer:
        assert instances(peer, "1.2.99") == []


@pytest.mark.parametrize("status", [0xA700, 0xC001])
def test_a_refusal_is_no_answer_rather_than_an_empty_one(status: int) -> None:
    with archive(lambda _: iter([(status, None)])) as peer:
        assert studies(peer) is None
        assert instances(peer) is None


def test_more_instances_than_the_bound_are_no_answer() -> None:
    limits = Limits(find_instances_max=2, acse_seconds_max=3.0, abort_seconds_max=1.0)
    with archive(shelves) as peer:
        assert instances(peer, limits=limits) is None
        assert instances(peer, modalities=("CT",), limits=limits) is not None


def test_a_dead_archive_gives_no_answer() -> None:
    nobody = Peer(name="p", ae_title="P", host="127.0.0.1", port=0)
    assert studies(nobody) is None
    assert instances(nobody) is None
