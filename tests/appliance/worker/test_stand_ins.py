"""What is made and frozen for a peer that does not take what it should get."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.core.words import DeliveryState, Outcome
from appliance.ledger import acceptances, events
from appliance.ledger.engine import Ledger
from tests.appliance.worker.test_attempt import Bench, site

EXPLICIT = "1.2.840.10008.1.2.1"


def bench_for(ledger: Ledger, root: Path, outputs: tuple[str, ...], *, refused: tuple[str, ...]) -> Bench:
    """A box whose PACS said that it takes everything but some outputs."""
    pairs = {(SOP_CLASSES[output], EXPLICIT) for output in OUTPUTS}
    without = {(SOP_CLASSES[output], EXPLICIT) for output in OUTPUTS if output in refused}
    with ledger.write() as tx:
        acceptances.record(tx, "pacs", pairs, accepted=pairs - without, at=0.0)
    return Bench(ledger, root, site(root, outputs=outputs))


def object_of(bench: Bench, objects, output: str) -> Dataset:
    (item,) = [item for item in objects if item.output == output]
    dataset: Dataset = dcmread(BytesIO(bench.kept.read(item.location)), force=True)
    return dataset


def test_a_refused_segmentation_is_not_made_and_the_marks_in_its_place_say_so(
    ledger: Ledger, tmp_path: Path
) -> None:
    bench = bench_for(ledger, tmp_path / "root", ("sr", "seg"), refused=("seg",))
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    _, _, objects, sent = bench.seen(job_id)
    assert {item.output for item in objects} == {"sr", "gsps"}
    assert {d.output: (d.state, d.instead_of) for d in sent} == {
        "sr": (DeliveryState.PENDING, None),
        "gsps": (DeliveryState.PENDING, "seg"),
    }
    assert "stands in for" in str(object_of(bench, objects, "gsps")).lower()
    assert SOP_CLASSES["seg"] not in str(object_of(bench, objects, "sr")), "no reference to what nobody gets"


@pytest.mark.parametrize(("refused", "goes"), [(("text-sr",), "pdf"), (("text-sr", "pdf"), "sc")])
def test_a_notice_reaches_a_peer_that_takes_no_text(
    ledger: Ledger, tmp_path: Path, refused: tuple[str, ...], goes: str
) -> None:
    bench = bench_for(ledger, tmp_path / "root", ("sr", "seg"), refused=refused)
    job_id = bench.job(refusal="The slices are not evenly spaced.")
    assert bench.attempter.attempt(job_id)
    _, result, _, sent = bench.seen(job_id)
    assert result.outcome is Outcome.NOT_ELIGIBLE
    assert [(d.output, d.instead_of) for d in sent] == [(goes, "text-sr")]


def test_where_nothing_is_taken_a_person_must_look(ledger: Ledger, tmp_path: Path) -> None:
    bench = bench_for(ledger, tmp_path / "root", ("seg",), refused=OUTPUTS)
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    _, _, _, sent = bench.seen(job_id)
    assert [(d.output, d.state, d.word) for d in sent] == [("seg", DeliveryState.DEAD, "courier.no_stand_in")]
    with ledger.read() as tx:
        words = [event.word for event in events.of_study(tx, bench.study.study_uid)]
    assert words.count("courier.no_stand_in") == 1


def test_for_a_peer_that_never_answered_a_reserve_is_frozen_without_a_delivery(
    ledger: Ledger, tmp_path: Path
) -> None:
    bench = Bench(ledger, tmp_path / "root", site(tmp_path / "root", outputs=("sr", "seg", "sc", "text-sr")))
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    _, _, objects, sent = bench.seen(job_id)
    assert {item.output for item in objects} == {"sr", "seg", "sc", "text-sr", "gsps", "pdf"}
    assert {d.output for d in sent} == {"sr", "seg", "sc", "text-sr"}
    assert all(d.instead_of is None for d in sent)
