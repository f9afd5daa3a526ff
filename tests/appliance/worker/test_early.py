"""What is asked early is kept within a bound, and taken only for the very same slices and engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.core.instance import Instance
from appliance.worker.early import EarlyAnswers, Heard, Stack, Whom
from appliance.worker.idle import idle_share
from appliance.worker.limits import WorkerLimits
from appliance.worker.series import read_series
from appliance.worker.volume import origins_of
from tests.appliance.worker.given import content, ct, enhanced, ramp

WHOM = Whom(study_uid="1.2", model_digest="sha256:m", engine_text="CPU", stepped_down=None)
HEARD = Heard(answers={"y": np.zeros(100, np.uint8)}, seconds=0.5)


def stored(folder: Path, *, places: range = range(6), **changed: Any) -> tuple[Instance, ...]:
    return content(folder, *(ct(ramp(), z_mm=float(n), **changed) for n in places)).instances


def origins(folder: Path, **changed: Any) -> Any:
    folder.mkdir(exist_ok=True)
    found = content(folder, *(ct(ramp(), z_mm=float(n), **changed) for n in range(3)))
    return origins_of(read_series(found.instances, found.reader, WorkerLimits()))


def test_slices_settle_from_the_lowest_on_once_they_kept_their_places(tmp_path: Path):
    found = stored(tmp_path)
    first = Stack.of(found[:3], None)
    assert first.settled == 0
    assert Stack.of(found, first).settled == 3
    assert Stack.of(found, Stack.of(found, None)).settled == 6


def test_a_stack_that_grows_downwards_does_not_settle(tmp_path: Path):
    found = stored(tmp_path)
    assert Stack.of(found, Stack.of(found[3:], None)).settled == 0


def test_a_slice_between_others_unsettles_what_lies_above_it(tmp_path: Path):
    found = stored(tmp_path)
    assert Stack.of(found, Stack.of((*found[:2], *found[3:]), None)).settled == 2


def test_other_bytes_in_a_place_unsettle_it(tmp_path: Path):
    found = stored(tmp_path)
    changed = (*found[:4], replace(found[4], digest="sha256:0"), *found[5:])
    assert Stack.of(changed, Stack.of(found, None)).settled == 4


@pytest.mark.parametrize("what", ["doubled", "without a place", "multi-frame"])
def test_what_is_no_stack_of_single_slices_is_left(tmp_path: Path, what: str):
    if what == "multi-frame":
        cells = np.stack([ramp(start=n * 50) for n in range(3)])
        found = content(tmp_path, enhanced(cells, [0.0, 2.0, 4.0], [0, 0, 0])).instances
    else:
        found = stored(tmp_path)
        facts = dict(found[0].facts)
        facts["ImagePositionPatient"] = found[1].facts["ImagePositionPatient"]
        if what == "without a place":
            del facts["ImagePositionPatient"]
        found = (replace(found[0], facts=facts), *found[1:])
    assert Stack.of(found, Stack.of(found, None)).settled == 0


def test_each_whole_batch_is_given_once_to_each_model_until_it_is_left(tmp_path: Path):
    found = stored(tmp_path)
    stack = Stack.of(found[:5], Stack.of(found[:5], None))
    assert list(stack.batches("a", 2)) == [found[0:2], found[2:4]]
    grown = Stack.of(found, Stack.of(found, stack))
    assert list(grown.batches("a", 2)) == [found[4:6]]
    assert len(list(grown.batches("b", 2))) == 3
    other = Stack.of(found, Stack.of(found, None))
    batches = other.batches("a", 2)
    next(batches)
    other.left.add("a")
    assert list(batches) == []


def test_an_answer_is_given_for_the_same_slices_of_the_same_engine_alone(tmp_path: Path):
    answers, made = EarlyAnswers(1000), origins(tmp_path / "one")
    assert answers.put(WHOM, made, HEARD)
    assert answers.of(WHOM)(made) is HEARD
    for other in (
        replace(WHOM, engine_text="another"),
        replace(WHOM, stepped_down="why"),
        replace(WHOM, model_digest="sha256:n"),
        replace(WHOM, study_uid="1.3"),
    ):
        assert answers.of(other)(made) is None
    assert answers.of(WHOM)(made[:2]) is None
    assert answers.of(WHOM)(made[::-1]) is None


def test_the_same_pixels_with_another_meaning_are_other_slices(tmp_path: Path):
    plain = origins(tmp_path / "one")
    steeper = origins(tmp_path / "two", RescaleSlope=2)
    for one, other in zip(plain, steeper, strict=True):
        assert one[3] != other[3]


def test_no_more_is_held_than_the_bound_and_another_study_makes_room(tmp_path: Path):
    answers, made = EarlyAnswers(250), origins(tmp_path)
    assert answers.put(WHOM, made[:1], HEARD)
    assert answers.put(WHOM, made[1:2], HEARD)
    assert not answers.put(WHOM, made[2:3], HEARD)
    answers.keep_only({"another"})
    assert answers.of(WHOM)(made[:1]) is None
    assert all(answers.put(WHOM, made[n : n + 1], HEARD) for n in range(2))


def test_the_same_batch_twice_counts_once(tmp_path: Path):
    answers, made = EarlyAnswers(200), origins(tmp_path)
    assert answers.put(WHOM, made, HEARD)
    assert answers.put(WHOM, made, HEARD)
    assert answers.put(WHOM, made[:1], HEARD)


@pytest.mark.parametrize(
    ("wanting", "cores", "share"), [("1/80", 4, 1.0), ("3/80", 4, 0.5), ("9/80", 4, 0.0), ("x", 4, 0.0)]
)
def test_cores_that_nobody_wants_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanting: str, cores: int, share: float
):
    monkeypatch.setattr("appliance.worker.idle.os.cpu_count", lambda: cores)
    (tmp_path / "loadavg").write_text(f"0.20 0.18 0.12 {wanting} 11206\n", encoding="ascii")
    assert idle_share(tmp_path / "loadavg") == share


def test_where_the_system_does_not_tell_no_core_is_idle(tmp_path: Path):
    assert idle_share(tmp_path / "nowhere") == 0.0
