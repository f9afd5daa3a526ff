"""Own results that come back, and late objects without images: nothing is judged anew, nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.words import StudyState
from appliance.ledger import arrivals, counts, custody, events, reading, results, returned, studies
from appliance.ledger.arrivals import Arrived
from tests.appliance.ledger import given

SR, KOS, SEG = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("88.34", "88.59", "66.4"))


def ended(ledger):
    """A study whose one job ended with objects for nobody; the objects."""
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        results.end(tx, given.leased(tx, job_id), given.ending(job_id, send_to={}), at=given.NOW)
        result = results.find_of_job(tx, job_id)
        assert result is not None
        return results.objects_of(tx, result.id)


def sent_back(item, **changes):
    """One of the box's own objects as a peer sends it."""
    base = given.instance(1, series=item.series_uid, file=f"in/{item.id}")
    values = {"sop_instance_uid": item.sop_instance_uid, "sop_class_uid": item.sop_class_uid}
    return replace(base, **{**values, "digest": item.digest, "facts": {"Modality": "SR"}, **changes})


def add(ledger, instance, *, at=given.NOW + 100):
    with ledger.write() as tx:
        return arrivals.add(tx, instance, calling_ae="PACS", at=at)


def words(ledger):
    with ledger.read() as tx:
        return [event.word for event in events.of_study(tx, given.STUDY)]


def test_own_results_that_come_back_are_kept_and_change_nothing_but_one_line(ledger):
    items = ended(ledger)
    with ledger.read() as tx:
        before, content, was = given.study(tx), studies.instances_of(tx, given.STUDY), counts.count(tx)
    said = len(words(ledger))
    assert [add(ledger, sent_back(item)) for item in items] == [Arrived.KEPT] * len(items)
    with ledger.read() as tx:
        assert given.study(tx) == before
        assert studies.instances_of(tx, given.STUDY) == content
        now = counts.count(tx)
        assert (now.balance, now.returned, now.kept) == (0, len(items), was.kept + len(items))
        assert (now.jobs, now.decisions, now.results) == (was.jobs, was.decisions, was.results)
        assert [series.series_uid for series in studies.series_of(tx, given.STUDY)] == [given.SERIES]
    assert words(ledger)[said:] == ["result.returned"]


def test_own_results_that_came_back_are_no_images_of_the_study_in_a_list(ledger):
    items = ended(ledger)
    with ledger.read() as tx:
        before = reading.line(tx, given.STUDY)
    for item in items:
        add(ledger, sent_back(item))
    with ledger.read() as tx:
        assert reading.line(tx, given.STUDY) == before


def test_an_own_result_that_comes_back_twice_is_counted_as_a_copy(ledger):
    item, *_ = ended(ledger)
    add(ledger, sent_back(item))
    assert add(ledger, sent_back(item, location=given.instance(file="in/b").location)) is Arrived.DUPLICATE
    assert words(ledger).count("result.returned") == 1


def test_an_own_result_that_was_changed_on_the_way_is_told_as_such_and_still_reopens_nothing(ledger):
    item, *_ = ended(ledger)
    with ledger.read() as tx:
        before = given.study(tx)
    add(ledger, sent_back(item, digest="sha256:other"))
    with ledger.read() as tx:
        assert given.study(tx) == before
        assert counts.count(tx).balance == 0
    assert words(ledger)[-1] == "result.returned_changed"


def test_own_results_under_a_study_that_the_box_does_not_know_open_that_study(ledger):
    item, *_ = ended(ledger)
    add(ledger, sent_back(item, study_uid="9.9.9"))
    with ledger.read() as tx:
        assert given.study(tx, "9.9.9").state is StudyState.GATHERING
        assert counts.count(tx).balance == 0


@pytest.mark.parametrize("sop_class_uid", [SR, KOS, SEG])
@pytest.mark.parametrize("closed", [False, True])
def test_a_late_object_without_images_leaves_a_decided_study_decided(ledger, sop_class_uid, closed):
    ended(ledger)
    if closed:
        with ledger.write() as tx:
            assert custody.close_finished(tx) == 1
    with ledger.read() as tx:
        before = given.study(tx)
    late = given.instance(1, series="1.2.3.9", facts={"Modality": "SR"})
    assert add(ledger, replace(late, sop_class_uid=sop_class_uid)) is Arrived.KEPT
    with ledger.read() as tx:
        assert given.study(tx) == before
        (mine,) = [s for s in studies.series_of(tx, given.STUDY) if s.series_uid == "1.2.3.9"]
        assert mine.complete_at is not None
        assert counts.count(tx).balance == 0
    assert words(ledger)[-1] == "assemble.beside"


def test_an_image_that_comes_late_still_reopens_the_study(ledger):
    ended(ledger)
    add(ledger, given.instance(9))
    with ledger.read() as tx:
        assert given.study(tx).state is StudyState.GATHERING


def test_an_object_without_images_belongs_to_a_study_that_still_gathers(ledger):
    add(ledger, given.instance())
    add(ledger, replace(given.instance(1, series="1.2.3.9"), sop_class_uid=SR))
    with ledger.read() as tx:
        assert len(studies.instances_of(tx, given.STUDY)) == 2
        assert given.study(tx).last_at == given.NOW + 100


IMAGES = ("2", "1.1", "7", "481.1", "128", "4.1")
DERIVED = ("30", "66", "66.7", "88.67", "104.1", "481.3", "11.1", "90.1", "9.1.1", "67")


@pytest.mark.parametrize("tail", IMAGES + DERIVED)
def test_images_are_told_from_what_is_said_of_them(tail):
    assert returned.is_derived(f"1.2.840.10008.5.1.4.1.1.{tail}") is (tail in DERIVED)
