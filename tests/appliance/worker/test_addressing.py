"""Who gets what: what a peer refuses is replaced, what it never spoke of has a reserve, nothing is silent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.core.config import Peer
from appliance.core.outputs import INSTEAD, OUTPUTS, SOP_CLASSES
from appliance.core.words import Outcome
from appliance.ledger.acceptances import Answer
from appliance.ledger.results import StandIn
from appliance.worker.addressing import OF_FINDINGS, Addressing, address, nothing_to_show
from models.findings import Code, Findings, Segment
from models.findings import Outcome as Found

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
    code = Code(value="1", scheme="99X", meaning="x")
    empty = Segment(
        label="a",
        number=1,
        category=code,
        type=code,
        colour_rgb=(1, 2, 3),
        mask=np.zeros((2, 3, 3), dtype=np.bool_),
    )
    full = replace(empty, mask=np.ones((2, 3, 3), dtype=np.bool_))
    none = Findings(outcome=Found.MEASURED, statement="", segments=(empty,))
    assert nothing_to_show(none, placed=True) >= {"seg", "seg-fractional", "seg-labelmap", "gsps", "pmap"}
    some = Findings(outcome=Found.MEASURED, statement="", segments=(full,))
    assert nothing_to_show(some, placed=True) == {"pmap"}
    assert nothing_to_show(some, placed=False) == {"seg", "seg-fractional", "seg-labelmap", "pmap"}
