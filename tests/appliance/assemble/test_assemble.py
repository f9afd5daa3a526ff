"""Gathering, completeness and decisions, with the clock held still."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from appliance.assemble import decide as decide_module
from appliance.assemble import gather as gather_module
from appliance.assemble.attributes import read_attributes
from appliance.assemble.confirm import Confirmer
from appliance.assemble.decide import Decider
from appliance.assemble.gather import Gatherer, digest_of
from appliance.assemble.ready import Gathering, judge
from appliance.core.clock import HeldClock
from appliance.core.config import Assembly, Route
from appliance.core.instance import Location
from appliance.core.packages import Origin
from appliance.core.words import StudyState, Verdict
from appliance.ledger import arrivals, counts, custody, decisions, events, jobs, studies
from appliance.ledger.catalogue import Served
from appliance.ledger.engine import Ledger
from appliance.routes.expression import compile_condition
from appliance.routes.table import ActiveRoute, RouteTable
from appliance.spool.keeper import Row, instance_of, write_rows
from appliance.spool.record import Record, encode
from appliance.spool.store import Spool
from models.package import Package
from tests.appliance import making

STUDY = "1.2.3.0.1"
ASSEMBLY = Assembly(quiet_seconds=60, series_quiet_seconds=30, deadline_seconds=600, confirm_settle_seconds=5)
CONFIRMED = ASSEMBLY.model_copy(update={"confirm_with": "pacs"})


class Bench:
    """A spool, a ledger and what moves studies along."""

    def __init__(self, ledger: Ledger, root: Path, clock: HeldClock, assembly: Assembly = ASSEMBLY) -> None:
        self.ledger, self.clock, self.assembly = ledger, clock, assembly
        self.spool = Spool(root)
        self.listening_since = -math.inf
        self.gatherer = Gatherer(ledger, self.spool, assembly, listening_since=lambda: self.listening_since)

    def arrive(self, **changes) -> None:
        """Keep one slice now."""
        arrival = making.arrival(**changes)
        with self.spool.begin() as writing:
            writing.write(arrival.data)
            location = writing.commit(
                Record(
                    sop_class_uid=arrival.header.sop_class_uid,
                    sop_instance_uid=arrival.header.sop_instance_uid,
                    transfer_syntax_uid=arrival.header.transfer_syntax_uid,
                    calling_ae="PACS",
                    received_at=self.clock.now(),
                    length=writing.length,
                    digest=writing.digest,
                )
            )
            digest = writing.digest
        row = Row(
            instance=instance_of(arrival.header, location, digest),
            calling_ae="PACS",
            received_at=self.clock.now(),
        )
        write_rows(self.ledger, self.spool, [row])

    def study(self) -> studies.Study:
        with self.ledger.read() as tx:
            found = studies.find(tx, STUDY)
        assert found is not None
        return found

    def words(self) -> list[str]:
        with self.ledger.read() as tx:
            return [event.word for event in events.of_study(tx, STUDY)]


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Bench:
    return Bench(ledger, tmp_path / "root", clock)


def route(name: str, when: str, digest: str = "sha256:m1") -> ActiveRoute:
    manifest = SimpleNamespace(name="model", version="1.0.0")
    return ActiveRoute(
        route=Route(name=name, when=when, model="model"),
        when=compile_condition(when),
        accepts=None,
        model=Served(
            name="model",
            version="1.0.0",
            digest=digest,
            origin=Origin.SHIPPED,
            package=cast(Package, SimpleNamespace(manifest=manifest, digest=digest)),
        ),
    )


def table(routes: Sequence[ActiveRoute], *, fresh: bool = True) -> RouteTable:
    """Routes that do not follow anything."""
    stands = SimpleNamespace(routes=routes, refresh=lambda: None, is_fresh=lambda _tx: fresh)
    return cast(RouteTable, stands)


@pytest.fixture
def any_geometry(monkeypatch):
    monkeypatch.setattr(decide_module, "check_geometry", lambda _manifest, _facts: [])


def test_a_study_is_complete_when_it_is_quiet_and_not_before(bench: Bench):
    bench.arrive()
    bench.clock.advance(50)
    bench.arrive()
    bench.clock.advance(59)
    assert bench.gatherer.turn() == 0
    bench.clock.advance(1)
    assert bench.gatherer.turn() == 1
    study = bench.study()
    assert (study.state, study.reason) == (StudyState.READY, "nothing arrived for 60 s")


def test_quiet_time_outlives_a_restart(bench: Bench, tmp_path: Path):
    bench.arrive()
    bench.clock.advance(60)
    reborn = Bench(bench.ledger, tmp_path / "root", bench.clock)
    assert reborn.gatherer.turn() == 1


def test_silence_counts_only_while_somebody_listens(bench: Bench):
    bench.arrive()
    bench.listening_since = math.inf
    bench.clock.advance(300)
    assert bench.gatherer.turn() == 0
    bench.listening_since = bench.clock.now()
    bench.clock.advance(59)
    assert bench.gatherer.turn() == 0
    assert bench.gatherer.next_due_at == bench.listening_since + 60
    bench.clock.advance(1)
    assert bench.gatherer.turn() == 1


def test_a_box_that_cannot_listen_still_meets_the_deadline(bench: Bench):
    bench.arrive()
    bench.listening_since = math.inf
    bench.clock.advance(600)
    assert bench.gatherer.turn() == 1


def test_a_study_that_never_falls_quiet_meets_its_deadline(bench: Bench):
    for _ in range(11):
        bench.arrive()
        bench.clock.advance(55)
        bench.gatherer.turn()
    assert bench.study().state is StudyState.READY
    assert "deadline of 600 s" in (bench.study().reason or "")


def test_a_quiet_series_is_measured_while_another_still_arrives(bench: Bench):
    bench.arrive(SeriesInstanceUID="1.2.3.0.1.1", SeriesDescription="SCOUT")
    bench.clock.advance(31)
    bench.arrive(SeriesInstanceUID="1.2.3.0.1.2")
    bench.gatherer.turn()
    with bench.ledger.read() as tx:
        scout, other = studies.series_of(tx, STUDY)
    assert scout.facts is not None
    assert scout.facts["SeriesDescription"] == "SCOUT"
    assert scout.facts["slices"] == 1
    assert other.facts is None
    assert bench.study().state is StudyState.GATHERING


def test_another_image_of_a_measured_series_makes_it_unmeasured_again(bench: Bench):
    bench.arrive()
    bench.clock.advance(31)
    bench.gatherer.turn()
    bench.arrive()
    with bench.ledger.read() as tx:
        (series,) = studies.series_of(tx, STUDY)
    assert series.facts is None


def test_two_patients_in_one_study_hold_it(bench: Bench):
    bench.arrive(PatientID="P1")
    bench.arrive(PatientID="P2")
    bench.clock.advance(60)
    assert bench.gatherer.turn() == 0
    assert bench.study().state is StudyState.HELD
    assert "more than one patient" in (bench.study().reason or "")
    assert "assemble.held" in bench.words()
    bench.clock.advance(10_000)
    assert bench.gatherer.turn() == 0


def test_a_released_study_is_judged_anew(bench: Bench):
    bench.arrive(PatientID="P1", SOPInstanceUID="1.2.8")
    bench.arrive(PatientID="P2", SOPInstanceUID="1.2.9")
    bench.clock.advance(60)
    bench.gatherer.turn()
    bench.arrive(PatientID="P1", SOPInstanceUID="1.2.9")  # corrected in the PACS and sent again
    bench.clock.advance(60)
    assert bench.gatherer.turn() == 1


def test_padding_around_a_patient_id_is_no_other_patient(bench: Bench):
    bench.arrive(PatientID="P1")
    bench.arrive(PatientID="P1 ")
    bench.clock.advance(60)
    assert bench.gatherer.turn() == 1


class TestCount:
    """What the confirming peer says."""

    @pytest.fixture
    def bench(self, ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Bench:
        return Bench(ledger, tmp_path / "root", clock, CONFIRMED)

    def confirm(self, bench: Bench, count: int | None) -> int:
        return Confirmer(bench.ledger, CONFIRMED, lambda _uid: count).turn()

    def test_a_study_complete_by_count_does_not_wait_for_quiet(self, bench: Bench):
        bench.arrive()
        bench.arrive()
        bench.clock.advance(5)
        assert self.confirm(bench, 2) == 1
        assert bench.gatherer.turn() == 1
        assert "complete by count: pacs has 2" in (bench.study().reason or "")

    def test_a_count_is_not_asked_while_images_arrive(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(4)
        assert self.confirm(bench, 1) == 0

    def test_an_equal_count_is_void_once_more_arrives(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(5)
        self.confirm(bench, 1)
        bench.arrive()
        assert bench.gatherer.turn() == 0

    def test_a_peer_with_more_images_outweighs_quiet_but_not_the_deadline(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(61)
        self.confirm(bench, 3)
        assert bench.gatherer.turn() == 0
        bench.clock.advance(600)
        assert bench.gatherer.turn() == 1
        assert "1 of 3 instances are here" in (bench.study().reason or "")

    def test_a_study_that_waits_for_more_than_quiet_keeps_nobody_awake(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(61)
        self.confirm(bench, 3)
        assert bench.gatherer.turn() == 0
        assert bench.gatherer.next_due_at == bench.study().gathering_since + 600

    @pytest.mark.parametrize("answer", [None, 0])
    def test_a_peer_that_does_not_say_leaves_the_quiet_time(self, bench: Bench, answer):
        bench.arrive()
        bench.clock.advance(61)
        self.confirm(bench, answer)
        assert bench.gatherer.turn() == 1
        assert bench.study().reason == "nothing arrived for 60 s"

    def test_it_is_asked_again_only_after_a_while(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(6)
        assert self.confirm(bench, 3) == 1
        bench.clock.advance(9)
        assert self.confirm(bench, 3) == 0
        bench.clock.advance(1)
        assert self.confirm(bench, 3) == 1

    def test_the_next_question_is_due_when_a_pause_ends_or_the_last_one_is_old(self, bench: Bench):
        confirmer = Confirmer(bench.ledger, CONFIRMED, lambda _uid: 3)
        assert confirmer.turn() == 0
        assert confirmer.next_due_at == math.inf
        bench.arrive()
        settled = bench.study().last_at + CONFIRMED.confirm_settle_seconds
        assert confirmer.turn() == 0
        assert confirmer.next_due_at == settled
        bench.clock.advance(settled - bench.clock.now())
        assert confirmer.turn() == 1
        assert confirmer.next_due_at == settled + CONFIRMED.confirm_every_seconds
        assert confirmer.turn() == 0
        assert confirmer.next_due_at == settled + CONFIRMED.confirm_every_seconds


def test_the_digest_does_not_depend_on_order_and_does_on_content():
    found = [making.instance(n) for n in range(5)]
    shuffled = random.Random(1).sample(found, 5)
    assert digest_of(found) == digest_of(shuffled)
    assert digest_of(found) != digest_of(found[:4])
    assert digest_of(found) != digest_of([*found[:4], making.instance(4, digest="b")])


def fails_for(study_uid: str, real):
    def call(*arguments, **options):
        if any(getattr(one, "study_uid", None) == study_uid for one in arguments[0]):
            raise ZeroDivisionError("patient P1")
        return real(*arguments, **options)

    return call


def test_one_odd_study_is_held_and_the_others_go_on(bench: Bench, monkeypatch):
    bench.arrive(StudyInstanceUID="1.2.3.0.66")
    bench.arrive()
    bench.clock.advance(60)
    real = gather_module.series_facts
    monkeypatch.setattr(gather_module, "series_facts", fails_for("1.2.3.0.66", real))
    assert bench.gatherer.turn() == 1
    assert bench.study().state is StudyState.READY
    with bench.ledger.read() as tx:
        odd = studies.find(tx, "1.2.3.0.66")
    assert odd is not None
    assert odd.state is StudyState.HELD
    assert "unforeseen ZeroDivisionError" in (odd.reason or "")
    assert "P1" not in (odd.reason or "")


@pytest.mark.usefixtures("any_geometry")
class TestDecide:
    """Every route decides every content once."""

    def decided(self, bench: Bench, *routes: ActiveRoute) -> list[decisions.Decision]:
        bench.clock.advance(60)
        bench.gatherer.turn()
        Decider(bench.ledger, table(routes)).turn()
        with bench.ledger.read() as tx:
            assert counts.count(tx).balance == 0
            return decisions.of_study(tx, STUDY)

    def test_each_route_gives_a_row_with_its_reason(self, bench: Bench):
        bench.arrive()
        made = self.decided(bench, route("ct", 'Modality == "CT"'), route("mr", 'Modality == "MR"'))
        assert [(d.route, d.verdict) for d in made] == [("ct", Verdict.RUN), ("mr", Verdict.NO_MATCH)]
        assert all(d.reason and len(d.series) == 1 for d in made)
        assert bench.study().state is StudyState.DECIDED

    def test_a_study_that_cannot_be_decided_is_held(self, bench: Bench, monkeypatch):
        monkeypatch.setattr(decide_module, "check_geometry", lambda *_: 1 / 0)
        bench.arrive()
        assert self.decided(bench, route("ct", 'Modality == "CT"')) == []
        assert bench.study().state is StudyState.HELD

    def test_nothing_is_decided_on_a_model_that_was_replaced_since_the_look(self, bench: Bench):
        bench.arrive()
        bench.clock.advance(60)
        bench.gatherer.turn()
        one = route("ct", 'Modality == "CT"')
        Decider(bench.ledger, table([one], fresh=False)).turn()
        assert bench.study().state is StudyState.READY
        (made,) = self.decided(bench, route("ct", 'Modality == "CT"', "sha256:m2"))
        with bench.ledger.read() as tx:
            job = jobs.find(tx, made.job_id or 0)
        assert job is not None
        assert job.model_digest == "sha256:m2"

    def test_a_model_whose_files_are_damaged_is_asked_for_so_that_its_job_says_so(self, bench, monkeypatch):
        monkeypatch.setattr(decide_module, "check_geometry", lambda *_: 1 / 0)
        one = route("ct", 'Modality == "CT"')
        damaged = replace(one, model=replace(one.model, package=None, fault="its files were changed"))
        bench.arrive()
        (made,) = self.decided(bench, damaged)
        assert made.verdict is Verdict.RUN
        assert made.job_id is not None

    def test_a_site_without_routes_decides_too(self, bench: Bench):
        bench.arrive()
        assert self.decided(bench) == []
        assert bench.study().state is StudyState.DECIDED

    def test_a_match_is_a_job_on_exactly_the_series_images(self, bench: Bench):
        bench.arrive(SeriesInstanceUID="1.2.3.0.1.1")
        bench.arrive(SeriesInstanceUID="1.2.3.0.1.2")
        bench.arrive(SeriesInstanceUID="1.2.3.0.1.2")
        (made,) = self.decided(bench, route("ct", 'Modality == "CT"'))
        with bench.ledger.read() as tx:
            assert made.job_id is not None
            assert {i.series_uid for i in jobs.inputs_of(tx, made.job_id)} == {"1.2.3.0.1.2"}
            assert len(jobs.inputs_of(tx, made.job_id)) == 2

    def test_a_late_image_reopens_the_study_and_makes_new_work(self, bench: Bench):
        bench.arrive()
        first = self.decided(bench, route("ct", 'Modality == "CT"'))
        bench.arrive()
        assert bench.study().state is StudyState.GATHERING
        assert "assemble.reopened" in bench.words()
        both = self.decided(bench, route("ct", 'Modality == "CT"'))
        assert len(both) == 2
        assert both[1].job_id != first[0].job_id

    def test_a_late_dose_report_does_not_repeat_the_work(self, bench: Bench):
        bench.arrive()
        (first,) = self.decided(bench, route("ct", 'Modality == "CT"'))
        bench.arrive(Modality="SR", SeriesInstanceUID="1.2.3.0.1.99")
        _, second = self.decided(bench, route("ct", 'Modality == "CT"'))
        assert second.job_id == first.job_id

    def purge(self, bench: Bench) -> None:
        with bench.ledger.write() as tx:
            custody.purge(tx, studies.instances_of(tx, STUDY), at=bench.clock.now())

    def test_a_late_dose_report_of_a_purged_study_does_not_repeat_the_work(self, bench: Bench):
        bench.arrive()
        (first,) = self.decided(bench, route("ct", 'Modality == "CT"'))
        self.purge(bench)
        bench.arrive(Modality="SR", SeriesInstanceUID="1.2.3.0.1.99")
        _, second = self.decided(bench, route("ct", 'Modality == "CT"'))
        assert second.job_id == first.job_id

    def test_a_late_image_of_a_purged_series_is_not_analysed_as_if_it_were_all(self, bench: Bench):
        bench.arrive()
        self.decided(bench, route("ct", 'Modality == "CT"'))
        self.purge(bench)
        bench.arrive()
        late = self.decided(bench, route("ct", 'Modality == "CT"'))[-1]
        assert late.verdict is Verdict.NOT_ELIGIBLE
        assert late.reason.startswith("1 of the series' 2 images are no longer on the box")
        with bench.ledger.read() as tx:
            job = jobs.find(tx, late.job_id or 0)
        assert job is not None
        assert job.refusal == late.reason

    def test_a_duplicate_changes_nothing(self, bench: Bench):
        bench.arrive(SOPInstanceUID="1.2.7")
        self.decided(bench, route("ct", 'Modality == "CT"'))
        instance = making.arrival(SOPInstanceUID="1.2.7")
        with bench.ledger.write() as tx:
            kept = studies.instances_of(tx, STUDY)[0]
            arrivals.add(tx, kept, calling_ae="PACS", at=bench.clock.now())
        assert instance.header.sop_instance_uid == kept.sop_instance_uid
        assert bench.study().state is StudyState.DECIDED

    def test_another_model_version_is_other_work(self, bench: Bench):
        bench.arrive()
        (old,) = self.decided(bench, route("ct", 'Modality == "CT"', digest="sha256:m1"))
        bench.arrive(Modality="SR", SeriesInstanceUID="1.2.3.0.1.99")
        _, new = self.decided(bench, route("ct", 'Modality == "CT"', digest="sha256:m2"))
        assert new.job_id != old.job_id

    def test_a_model_that_cannot_take_the_series_still_makes_a_job_that_says_so(
        self, bench: Bench, monkeypatch
    ):
        monkeypatch.setattr(decide_module, "check_geometry", lambda *_: ["the slices are not evenly spaced"])
        bench.arrive()
        (made,) = self.decided(bench, route("ct", 'Modality == "CT"'))
        assert made.verdict is Verdict.NOT_ELIGIBLE
        with bench.ledger.read() as tx:
            (job,) = jobs.of_study(tx, STUDY)
        assert job.refusal == "the slices are not evenly spaced"


def test_attributes_have_dicoms_own_types(bench: Bench):
    bench.arrive(
        ImageType=["ORIGINAL", "PRIMARY"], KVP="120", SeriesNumber=7, PatientName="A^B", BodyPartExamined=""
    )
    with bench.ledger.read() as tx:
        (kept,) = studies.instances_of(tx, STUDY)
    found = read_attributes(kept, bench.spool)
    assert found["ImageType"] == ["ORIGINAL", "PRIMARY"]
    assert found["KVP"] == 120.0
    assert found["SeriesNumber"] == 7
    assert found["PixelSpacing"] == [1.0, 1.0]
    assert found["PatientName"] == "A^B"
    assert found["Rows"] == 2
    assert "BodyPartExamined" not in found
    assert "PixelData" not in found


def lying_in(file: str, length: int):
    return replace(
        making.instance(1), location=Location(file=file, offset=1024, length=length), pixel_offset=None
    )


def test_a_file_that_is_no_dicom_has_no_attributes(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"nothing")
    assert read_attributes(lying_in("x", 7), Spool(tmp_path)) == {}
    assert read_attributes(lying_in("absent", 7), Spool(tmp_path)) == {}


def test_judge_never_reads_a_clock(bench: Bench):
    bench.arrive()
    with bench.ledger.read() as tx:
        gathering = Gathering(study=bench.study(), series=studies.series_of(tx, STUDY), kept=1)
    now = bench.clock.now()
    assert judge(gathering, ASSEMBLY, now) is None
    assert judge(gathering, ASSEMBLY, now + 60) is not None


@pytest.mark.parametrize(
    ("odd", "rows"),
    [
        (b"\x08\0\x05\0CS\6\0ab\0cd ", None),
        (b"\x08\0\x18\0UI\x02\x001\0\x28\0\x02\0US\3\0\1\2\3", 2),
    ],
    ids=["a NUL in the character set", "half a number"],
)
def test_an_odd_header_that_was_kept_stops_nobody(bench: Bench, odd: bytes, rows):
    path = bench.spool.root / "odd.dcm"
    record = Record(
        sop_class_uid=making.CT, sop_instance_uid="1.2", transfer_syntax_uid=making.EXPLICIT_LE,
        calling_ae="PACS", received_at=1.0, length=1, digest="sha256:0",
    )  # fmt: skip
    data = odd + b"\x28\0\x10\0US\2\0\2\0"
    path.write_bytes(encode(record) + data)
    assert read_attributes(lying_in("odd.dcm", len(data)), bench.spool).get("Rows") == rows
