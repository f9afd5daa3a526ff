"""Who gets what: what a peer refuses is replaced, what it never spoke of has a reserve, nothing is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from appliance.core.config import Peer
from appliance.core.outputs import INSTEAD, OUTPUTS, SOP_CLASSES
from appliance.core.words import Outcome
from appliance.ledger.acceptances import Answer
from appliance.ledger.results import StandIn
from appliance.results.context import EncodedObject, Notice, Reference
from appliance.results.encode import encode, encode_notice
from appliance.worker.addressing import OF_FINDINGS, Addressing, address, nothing_to_show
from models.findings import Findings
from models.findings import Outcome as Found
from models.tensors import Volume
from tests.appliance.results import given

EVERYTHING = frozenset(SOP_CLASSES.values())


def peer(*outputs: str, name: str = "pacs") -> Peer:
    return Peer(name=name, ae_title=name.upper(), host="127.0.0.1", port=104, outputs=outputs)  # type: ignore[arg-type]


def refusing(*outputs: str) -> Answer:
    """A peer that answered, and takes everything else."""
    refused = {SOP_CLASSES[output] for output in outputs}  # type: ignore[index]
    return Answer(takes={sop_class: sop_class not in refused for sop_class in EVERYTHING}, asked_at=1.0)


def addressed(
    *peers: Peer, outcome: Outcome = Outcome.FINDING, absent: frozenset[str] = frozenset(), **answers: Answer
) -> Addressing:
    return address(peers, answers, outcome=outcome, absent=absent)


def test_a_peer_that_takes_all_gets_what_it_asked_for_and_nothing_is_kept_in_reserve() -> None:
    found = addressed(peer("sr", "seg", "sc"), pacs=refusing())
    assert found.send_to == {"pacs": ["sr", "seg", "sc"]}
    assert found.outputs == {"sr", "seg", "sc"}
    assert (found.stand_ins, found.untaken, found.stands_in) == ([], {}, {})


@pytest.mark.parametrize(
    ("refused", "goes"),
    [(("seg",), "gsps"), (("seg", "gsps"), "sc"), (("seg-labelmap",), "gsps"), (("gsps",), "seg")],
)
def test_what_a_peer_refuses_is_replaced_along_the_chain(refused: tuple[str, ...], goes: str) -> None:
    want = "seg-labelmap" if "seg-labelmap" in refused else "seg"
    refused = (*refused, "seg") if want == "seg-labelmap" else refused
    found = addressed(peer(want), pacs=refusing(*refused))
    assert found.send_to == {"pacs": [goes]}
    assert found.stand_ins == ([] if goes == want else [StandIn(peer="pacs", output=goes, wanted=want)])
    assert found.stands_in == ({} if goes == want else {goes: want})
    assert found.outputs == {"sr", goes}, "a segmentation that goes nowhere is not made"


def test_a_stand_in_that_goes_anyway_goes_once_and_says_so() -> None:
    found = addressed(peer("seg", "gsps", "sc"), pacs=refusing("seg", "gsps"))
    assert found.send_to == {"pacs": ["sc"]}
    assert [each.wanted for each in found.stand_ins] == ["seg", "gsps"]
    assert found.stands_in == {"sc": "seg"}


@pytest.mark.parametrize("output", OUTPUTS)
def test_where_the_whole_chain_is_refused_a_person_must_look(output: str) -> None:
    found = addressed(peer(output), pacs=refusing(*OUTPUTS))
    assert found.send_to == {"pacs": []}
    assert found.untaken == {"pacs": [output]}
    assert output in found.outputs, "it is made, so that a person can send it once the peer takes it"


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.FINDING, Outcome.MEASURED)])
def test_what_must_be_read_falls_back_too(outcome: Outcome) -> None:
    absent = OF_FINDINGS
    assert addressed(peer("seg"), outcome=outcome, absent=absent, pacs=refusing()).send_to == {
        "pacs": ["seg", "text-sr"]
    }
    for refused, goes in ((("text-sr",), "pdf"), (("text-sr", "pdf"), "sc")):
        found = addressed(peer("seg"), outcome=outcome, absent=absent, pacs=refusing("seg", *refused))
        assert found.send_to == {"pacs": [goes]}
        assert found.stand_ins == [StandIn(peer="pacs", output=goes, wanted="text-sr")]
    silent = addressed(peer("sr"), outcome=outcome, absent=absent, pacs=refusing("text-sr", "pdf", "sc"))
    assert silent.untaken == {"pacs": ["text-sr"]}


def test_nothing_stands_in_for_what_there_is_nothing_of() -> None:
    found = addressed(peer("seg", "sr"), absent=frozenset({"seg"}), pacs=refusing("seg"))
    assert (found.send_to, found.stand_ins, found.untaken) == ({"pacs": ["sr"]}, [], {})


def test_a_peer_that_never_answered_gets_what_it_asked_for_and_the_rest_is_kept_in_reserve() -> None:
    found = addressed(peer("sr", "seg"))
    assert found.send_to == {"pacs": ["sr", "seg"]}
    assert found.outputs == {"sr", "seg", "gsps", "sc", "text-sr", "pdf"}
    assert found.stand_ins == []
    assert found.stands_in == {"gsps": "seg", "text-sr": "sr", "pdf": "sr"}, "sc could be there for both"


def test_a_reserve_ends_where_something_goes_anyway_or_is_taken_for_sure() -> None:
    assert addressed(peer("seg", "gsps", "sc")).outputs == {"sr", "seg", "gsps", "sc"}
    only_gsps = Answer(takes={SOP_CLASSES["gsps"]: True}, asked_at=1.0)
    assert addressed(peer("seg"), pacs=only_gsps).outputs == {"sr", "seg", "gsps"}


def test_a_reserve_does_not_claim_to_stand_in_where_another_peer_asked_for_it() -> None:
    found = addressed(peer("seg"), peer("gsps", "sc", name="other"), other=refusing())
    assert "gsps" not in found.stands_in
    assert found.send_to == {"pacs": ["seg"], "other": ["gsps", "sc"]}


def test_a_stand_in_for_one_peer_leaves_the_other_as_it_was() -> None:
    both = (peer("sr", "seg"), peer("sr", "seg", name="other"))
    found = addressed(*both, pacs=refusing("seg"), other=refusing())
    assert found.send_to == {"pacs": ["sr", "gsps"], "other": ["sr", "seg"]}
    assert found.outputs == {"sr", "seg", "gsps"}


def test_every_chain_ends() -> None:
    for output in OUTPUTS:
        seen = [output]
        while seen[-1] in INSTEAD:
            seen.append(INSTEAD[seen[-1]])
            assert len(seen) <= len(OUTPUTS)


def test_what_findings_have_nothing_for() -> None:
    placed, flat = given.series(), given.radiograph()
    segmentations = {"seg", "seg-fractional", "seg-labelmap"}
    some = given.bands(placed.volume)
    emptied = tuple(replace(each, mask=np.zeros_like(each.mask)) for each in some.segments)
    assert absent_of(replace(some, segments=emptied), placed) == segmentations | {"gsps", "kos", "pmap"}
    assert absent_of(some, placed) == {"pmap"}
    assert absent_of(given.mapped(some), placed) == set()
    assert absent_of(given.boxes(), flat) == segmentations | {"pmap"}
    assert absent_of(given.answers(), flat) == segmentations | {"pmap", "gsps", "kos"}


def absent_of(findings: Findings, made: given.Series) -> frozenset[str]:
    return nothing_to_show(findings, volume=made.volume, source=made.sources[0])


def unmeasured(volume: Volume) -> Findings:
    """Everything was withheld: there is no number and no place that a report could hold."""
    return Findings(outcome=Found.MEASURED, statement="Nothing could be measured.")


ANSWERS: dict[str, tuple[Callable[[], given.Series], Callable[[Volume], Findings]]] = {
    "lesions": (given.series, given.lesions),
    "bands with maps": (given.series, lambda volume: given.mapped(given.bands(volume))),
    "boxes": (given.radiograph, lambda _: given.boxes()),
    "yes or no": (given.radiograph, lambda _: given.answers()),
    "nothing measured": (given.series, unmeasured),
    "no finding": (given.series, lambda _: given.nothing()),
    "abstained": (given.series, lambda volume: replace(given.bands(volume), outcome=Found.ABSTAINED)),
}
# What tells a reader something: all but what hides a former result.
TELLING = frozenset(OUTPUTS) - {"iocm"}
FORMER = Reference(
    sop_class_uid=SOP_CLASSES["sr"], sop_instance_uid="2.25.1", series_uid="2.25.2",
    study_uid=given.context().study_uid, output="sr",
)  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_the_one_output_of_a_peer_is_it_gets_something_of_each_answer(answer: str) -> None:
    make_series, make_findings = ANSWERS[answer]
    made = make_series()
    findings = make_findings(made.volume)
    absent = absent_of(findings, made)
    outcome = Outcome(findings.outcome.value)
    found = {
        output: addressed(peer(output), outcome=outcome, absent=absent, pacs=refusing()) for output in OUTPUTS
    }
    objects = encode(
        replace(given.context(), supersedes=(FORMER,)),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset().union(*(each.outputs for each in found.values())),
    )
    silent = [output for output, each in found.items() if not got(objects, each) & TELLING]
    assert silent == []
    # What is taken by nobody else is asked for alone, and encoding it alone gives no other objects.
    assert {item.output for item in objects} == set(OUTPUTS) - absent


@pytest.mark.parametrize("outcome", [Outcome.NOT_ELIGIBLE, Outcome.FAILED, Outcome.NOT_RUN])
@pytest.mark.parametrize("output", OUTPUTS)
def test_whatever_the_one_output_of_a_peer_is_it_reads_why_there_is_no_answer(
    outcome: Outcome, output: str
) -> None:
    found = addressed(peer(output), outcome=outcome, absent=OF_FINDINGS, pacs=refusing())
    notice = Notice(kind=outcome.value, reason="A reason.", what_to_do="Read it.")  # type: ignore[arg-type]
    objects = encode_notice(
        given.context(), sources=given.series().sources, notice=notice, outputs=found.outputs
    )
    assert "text-sr" in got(objects, found)


def got(objects: list[EncodedObject], found: Addressing) -> set[str]:
    """What of a result a peer gets, as freezing addresses it."""
    return {item.output for item in objects if item.output in found.send_to["pacs"]}


@pytest.mark.parametrize("output", ["kos", "seg", "gsps", "iocm"])
def test_where_the_page_is_refused_too_a_person_must_look(output: str) -> None:
    refused = tuple(each for each in OUTPUTS if each != "iocm")
    found = addressed(peer(output), absent=OF_FINDINGS - {"sr"}, pacs=refusing(*refused))
    assert found.untaken["pacs"], "never in silence"


def test_every_peer_gets_the_segmentation_that_its_report_refers_to() -> None:
    both = (
        peer("sr", "seg-fractional"),
        peer("sr", "seg", name="other"),
        peer("seg-fractional", name="third"),
    )
    found = addressed(*both, pacs=refusing(), other=refusing(), third=refusing())
    assert found.refers_to == "seg"
    assert found.send_to == {
        "pacs": ["sr", "seg-fractional", "seg"],
        "other": ["sr", "seg"],
        "third": ["seg-fractional"],
    }


def test_a_peer_gets_no_segmentation_beyond_its_choice_that_it_may_not_take() -> None:
    peers = (peer("sr", "seg-labelmap"), peer("sr", "seg", name="other"))
    refused = addressed(*peers, pacs=refusing("seg"), other=refusing())
    unknown = addressed(*peers, other=refusing())
    assert refused.send_to["pacs"] == unknown.send_to["pacs"] == ["sr", "seg-labelmap"]
    assert addressed(*peers, pacs=refusing(), other=refusing()).send_to["pacs"][-1] == "seg"


def test_the_report_does_not_refer_to_what_is_only_kept_in_reserve() -> None:
    found = addressed(peer("sr", "seg-labelmap"))
    assert "seg" in found.outputs
    assert found.refers_to == "seg-labelmap"
    made = given.series()
    objects = encode(
        replace(given.context(), refers_to=found.refers_to),
        sources=made.sources,
        volume=made.volume,
        findings=given.bands(made.volume),
        outputs=found.outputs,
    )
    uids = {item.output: item.sop_instance_uid for item in objects}
    (report,) = given.only(objects, "sr")
    assert uids["seg-labelmap"].encode() in report.data
    assert uids["seg"].encode() not in report.data
