"""What is not finite is refused, what differs is measured, and a verdict can be read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.parity import _Watched, judge, verdict_of
from appliance.inference.reference import Reference, digest_of
from models.package import Package


def answering(*values: float):
    return lambda _batch: {"output": np.array(values, np.float32)}


@pytest.mark.parametrize(
    ("candidate", "reference", "says"),
    [
        ((1.0, np.nan), None, "NaN"),
        ((1.0, np.nan), (1.0, np.nan), "NaN"),
        ((1.0, np.inf), None, "infinity"),
        ((1.0, np.inf), (1.0, 2.0), "infinity"),
        ((1.0, -np.inf), (np.inf, 2.0), "infinity"),
    ],
)
def test_what_is_not_finite_is_refused(candidate, reference, says):
    watched = _Watched(answering(*candidate), None if reference is None else answering(*reference))
    with pytest.raises(InferenceError, match=says) as caught:
        watched({})
    assert caught.value.word == "inference.parity"


def test_infinity_where_the_reference_has_it_is_an_answer():
    watched = _Watched(answering(-np.inf, 2.0), answering(-np.inf, 1.0))
    assert watched({})["output"][1] == 2.0
    assert watched.tensors == {"output: largest difference": 1.0, "output: largest difference by range": 1.0}


def test_the_largest_difference_counts():
    batches = iter([(0.0, 4.0), (0.5, 4.0), (0.25, 4.0)])
    watched = _Watched(lambda _: answering(*next(batches))({}), answering(0.0, 4.0))
    for _ in range(3):
        watched({})
    assert watched.tensors == {
        "output: largest difference": 0.5,
        "output: largest difference by range": 0.125,
    }


def test_a_verdict_can_be_written_and_read_back(package):
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(package))

    def infer(batch: Mapping[str, Any]) -> dict[str, Any]:
        return engine.infer(batch, deadline_seconds=30)

    verdict = judge(package, infer, infer, reference_text="itself")
    assert verdict.ok
    assert verdict_of(json.loads(json.dumps(verdict.as_json()))) == verdict
    assert verdict.asked.endswith("against itself")
    engine.unload()


class Asked:
    """The processor's engine, which counts, and may answer a little wrong."""

    def __init__(self, package: Package, *, wrong: bool = False) -> None:
        self.engine, self.wrong, self.calls = OnnxRuntimeCpu(), wrong, 0
        self.engine.load(self.engine.plan(package))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        self.calls += 1
        labels = self.engine.infer(batch, deadline_seconds=30)["labels"].copy()
        if self.wrong:
            labels.reshape(-1)[::40] = 0
        return {"labels": labels}


def test_an_engine_must_agree_with_the_record_and_with_the_processor(package):
    right, wrong = Asked(package), Asked(package, wrong=True)
    agreed = judge(package, right, right)
    assert agreed.ok
    assert all(case.measures["dice_min"] == 1.0 for case in agreed.cases)
    for candidate, reference, says in ((right, wrong, "compared with the processor: "), (wrong, right, "")):
        verdict = judge(package, candidate, reference, reference_text="the other")
        assert not verdict.ok
        assert all(case.measures["dice_min"] < 0.999 for case in verdict.cases)
        assert all(one.startswith(says) for case in verdict.cases for one in case.differences)
        assert verdict.tensors["labels: largest difference"] > 0


@pytest.mark.parametrize(("room_bytes", "times"), [(2**28, 1), (0, 2)])
def test_no_case_is_asked_twice_where_answers_fit_into_memory(package, room_bytes, times):
    candidate, reference = Asked(package), Asked(package)
    judge(package, candidate, None, memory_bytes_max=room_bytes)
    once = candidate.calls
    judge(package, candidate, reference, memory_bytes_max=room_bytes)
    assert candidate.calls == once + times * once


def test_a_batch_is_named_by_all_that_is_in_it():
    image = np.arange(6, dtype=np.float32)
    others: list[dict[str, Any]] = [
        {"image": image.reshape(2, 3)},
        {"image": image.reshape(3, 2)},
        {"image": image.astype(np.float64)},
        {"picture": image},
        {"image": image + 1},
        {"image": image[:0]},
    ]
    assert len({digest_of(batch) for batch in [{"image": image}, *others]}) == 7
    assert digest_of({"image": image[::-1][::-1]}) == digest_of({"image": image})


def test_answers_of_the_reference_are_kept_only_up_to_a_bound(package, tmp_path):
    batch = {package.manifest.input.tensor: np.zeros((1, 1, 64, 64), np.float32)}
    for bound, kept in ((100, 0), (10_000_000, 1)):
        reference = Reference(
            package,
            OnnxRuntimeCpu,
            limits=InferenceLimits(reference_bytes_max=bound),
            folder=tmp_path,
            secret=b"secret",
        )
        reference.infer(batch, deadline_seconds=30)
        reference.close()
        assert len(list(tmp_path.iterdir())) == kept
