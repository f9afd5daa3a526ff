"""Rings: each slot once, every kind early, sites in turn; plans and gates that cannot be are refused."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.registry.faults import RegistryFault
from provisioning.registry.rollout.plan import Gates, Member, gates_of, rings_of
from provisioning.registry.rollout.state import PLAN
from tests.provisioning.registry.rollout.making import member, plan

MEMBERS = st.lists(
    st.builds(
        Member,
        name=st.text("abcdefgh", min_size=1, max_size=4),
        site=st.sampled_from("xyz"),
        gpu=st.sampled_from(["l4", "t4", "none"]),
        vendor=st.sampled_from(["ge", "siemens"]),
        ring=st.none() | st.integers(0, 2),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda one: one.name,
)


@given(members=MEMBERS)
def test_every_slot_stands_in_one_ring_and_no_ring_is_empty(members: list[Member]):
    rings = rings_of(members, (0.1, 0.5, 1.0))
    assert Counter(slot for ring in rings for slot in ring) == Counter(one.name for one in members)
    assert all(rings)
    assert rings == rings_of(reversed(members), (0.1, 0.5, 1.0))


def test_named_rings_come_first_and_in_their_order():
    members = [member("bench", ring=0), member("canary", ring=1), *(member(f"box-{n}") for n in range(20))]
    rings = rings_of(members)
    assert rings[:2] == (("bench",), ("canary",))
    assert [len(ring) for ring in rings[2:]] == [2, 18]


def test_an_early_ring_holds_every_kind_and_then_each_by_its_share():
    kinds = {"l4": 60, "t4": 30, "a2": 10}
    members = [member(f"{gpu}-{n}", gpu=gpu) for gpu, count in kinds.items() for n in range(count)]
    first, _ = rings_of(members, (0.1, 1.0))
    assert Counter(name.partition("-")[0] for name in first) == {"l4": 6, "t4": 3, "a2": 1}
    three, _ = rings_of(members, (0.03, 1.0))
    assert {name.partition("-")[0] for name in three} == set(kinds)


def test_slots_of_one_kind_come_from_different_sites_in_turn():
    members = [member(f"{site}{n}", site=site) for site in "abcd" for n in range(10)]
    first, _ = rings_of(members, (0.1, 1.0))
    assert {name[0] for name in first} == set("abcd")


@given(count=st.integers(1, 200), share=st.floats(0.01, 0.99))
def test_a_share_is_rounded_up(count: int, share: float):
    rings = rings_of([member(f"box-{n}") for n in range(count)], (share, 1.0))
    assert len(rings[0]) == math.ceil(share * count)


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.1, 1.0), (0.0, 1.0), (0.5, 0.5, 1.0), (1.0, 2.0)])
def test_shares_that_do_not_grow_to_all_are_refused(shares: tuple[float, ...]):
    with pytest.raises(RegistryFault, match="shares grow"):
        rings_of([member("a")], shares)


@pytest.mark.parametrize("rings", [[], [["a"], []], [["a"], ["a", "b"]]])
def test_a_plan_that_cannot_be_carried_out_is_refused(rings: list[list[str]]):
    with pytest.raises(RegistryFault):
        plan(rings)


def test_nothing_at_once_is_no_plan():
    with pytest.raises(RegistryFault, match="at least one"):
        plan([["a"]], at_once_max=0)
    with pytest.raises(RegistryFault, match="no slot"):
        rings_of([])


def test_gates_are_read_with_their_defaults_and_unknown_words_are_faults():
    assert gates_of({}) == Gates()
    assert gates_of({"studies_min": 10, "committed_share_min": 1}).studies_min == 10
    for said in ({"studies": 10}, {"studies_min": 1.5}, {"studies_min": "10"}, {"studies_min": True}):
        with pytest.raises(RegistryFault):
            gates_of(said)
    for said in ({"studies_min": -1}, {"committed_share_min": 2.0}, {"z": 0.0}, {"z": float("nan")}):
        with pytest.raises(RegistryFault):
            gates_of(said)


def test_a_plan_is_the_same_when_it_comes_back_from_its_row():
    made = plan([["a", "b"], ["c"]])
    assert PLAN.validate_python(PLAN.dump_python(made, mode="json")) == made
