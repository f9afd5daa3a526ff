"""A floor only rises, is whole or stops everything, and counts for the keys that it was made under."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.disk.durable import write_file
from appliance.sync.floors import BUILT_AT, Floors, Refused, read_floors, write_floors
from appliance.sync.refusal import Refusal, Word

KEYS = ("k1", "k2", "k3")


def test_floors_come_back_as_they_were_kept(tmp_path: Path):
    path = tmp_path / "registry" / "floors.json"
    kept = (
        Floors()
        .at_least(BUILT_AT + 5)
        .held_good(7, KEYS)
        .served("a", "sha256:1", 3)
        .rejected("sha256:2", Refused(word="rejected", sentence="why", at=1.0))
    )
    write_floors(path, kept)
    assert read_floors(path, tmp_path / "none") == kept
    assert kept.forgiven() == Floors(
        clock_at=BUILT_AT + 5, targets_version=7, targets_keys=KEYS, counters={"a": 3}
    )


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("clock"), st.integers(0, 10**12)),
            st.tuples(st.just("list"), st.integers(0, 10**6)),
            st.tuples(st.just("served"), st.integers(0, 10**6)),
            st.just(("forgiven", 0)),
        )
    )
)
def test_whatever_happens_a_floor_only_rises(steps: list[tuple[str, int]]):
    floors = Floors(targets_keys=KEYS)
    for what, number in steps:
        before = floors
        if what == "clock":
            floors = floors.at_least(number)
        elif what == "list":
            floors = floors.held_good(number, KEYS)
        elif what == "served":
            floors = floors.served("a", "sha256:1", number)
        else:
            floors = floors.forgiven()
        assert floors.clock_at >= before.clock_at
        assert floors.targets_version >= before.targets_version
        assert floors.counters.get("a", 0) >= before.counters.get("a", 0)


def test_the_file_stays_small_whatever_is_rejected(tmp_path: Path):
    floors = Floors()
    for number in range(1_000):
        refused = Refused(word="rejected", sentence="x" * 50_000, at=float(number))
        floors = floors.rejected(f"sha256:{number:064x}", refused)
    floors = floors.rejected(f"sha256:{900:064x}", refused)
    write_floors(tmp_path / "floors.json", floors)
    back = read_floors(tmp_path / "floors.json", tmp_path / "none")
    assert len(back.refused) == 200
    assert list(back.refused)[-1] == f"sha256:{900:064x}"
    assert f"sha256:{999:064x}" in back.refused
    assert f"sha256:{0:064x}" not in back.refused


def test_other_keys_begin_to_count_anew():
    assert Floors().held_good(2**31, KEYS).held_good(3, ("k4",)).targets_version == 3


def test_the_floors_of_a_claim_count_where_the_device_has_none(tmp_path: Path):
    given, own = tmp_path / "given.json", tmp_path / "own.json"
    write_floors(given, Floors(counters={"a": 4}))
    assert read_floors(own, given).counters == {"a": 4}
    write_floors(own, Floors(counters={"a": 5}))
    assert read_floors(own, given).counters == {"a": 5}
    assert read_floors(tmp_path / "none", tmp_path / "neither") == Floors()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"clock_at": "x"}', '{"clock_at": 1, "counters": []}', "null"]
)
def test_a_file_that_is_none_stops_everything(tmp_path: Path, text: str):
    path = tmp_path / "floors.json"
    write_file(path, text.encode())
    with pytest.raises(Refusal) as refused:
        read_floors(path, tmp_path / "none")
    assert refused.value.word is Word.FLOORS_DAMAGED
