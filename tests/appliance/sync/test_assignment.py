"""What forbids a release on a device: recalled, older than what served, rejected before, unfit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.config import Config, parse
from appliance.sync.assignment import permit, unfit
from appliance.sync.floors import Floors, Refused
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import Needs, Release, Target, model_path
from appliance.sync.trust import Listing

NAME = "lesions"


def release(counter: int, *, recalled: bool = False, needs: Needs | None = None) -> Release:
    return Release(
        name=NAME,
        version=f"1.{counter}.0",
        digest=f"sha256:{counter:064x}",
        counter=counter,
        published_at=0.0,
        needs=needs or Needs(),
        recalled="wrong" if recalled else "",
    )


def listing(*found: Release) -> Listing:
    targets = {}
    for one in found:
        path = model_path(one.name, one.version)
        targets[path] = Target(path=path, length=1, sha256="a" * 64, custom=one.as_custom())
    return Listing(version=1, keys=(), stamped_at=0.0, targets=targets)


@pytest.fixture(scope="module")
def config() -> Config:
    return parse({"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}})


def allowed(counter: int, recalled: set[int], floor: int, config: Config) -> bool:
    """Say whether release `counter` of five may follow release `floor`."""
    found = [release(number, recalled=number in recalled) for number in range(1, 6)]
    try:
        permit(found[counter - 1], listing(*found), Floors(counters={NAME: floor}), config)
    except Refusal:
        return False
    return True


@given(counter=st.integers(1, 5), recalled=st.sets(st.integers(1, 5)), floor=st.integers(0, 6))
def test_only_recalls_of_all_that_came_after_open_the_way_back(counter: int, recalled: set[int], floor: int):
    config = parse({"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}})
    after = set(range(counter + 1, floor + 1))
    right = counter not in recalled and (counter >= floor or (after <= recalled and floor <= 5))
    assert allowed(counter, recalled, floor, config) is right


def test_a_floor_whose_release_is_not_listed_any_more_shuts_the_way_back(config: Config):
    with pytest.raises(Refusal) as refused:
        permit(release(1), listing(release(1)), Floors(counters={NAME: 2}), config)
    assert refused.value.word is Word.ROLLBACK


def test_what_was_rejected_is_not_tried_again(config: Config):
    one = release(3)
    floors = Floors(refused={one.digest: Refused(word="rejected", sentence="Dice 0.1", at=0.0)})
    with pytest.raises(Refusal, match=r"does not try again: Dice 0\.1") as refused:
        permit(one, listing(one), floors, config)
    assert refused.value.word is Word.REJECTED


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (Needs(package_format=2), ["its package is of format 2; this box knows 1"]),
        (Needs(engines=("cuda", "tensorrt")), ["it needs one of the engines cuda, tensorrt"]),
        (Needs(engines=("cuda", "cpu")), []),
        (Needs(readside="0.0.1"), []),
    ],
)
def test_what_a_device_lacks_is_said(config: Config, needs: Needs, says: list[str]):
    assert unfit(release(1, needs=needs), config) == says
