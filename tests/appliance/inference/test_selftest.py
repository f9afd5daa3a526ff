"""Each engine ends as verified, not here or failed, with the reason and with what was measured."""

from __future__ import annotations

from appliance.inference.makers import MAKERS, Maker, Makers
from appliance.inference.selftest import State, trials
from tests.appliance.inference.fakes import made


def test_every_engine_ends_with_a_verdict(package, settings):
    limits = type(settings.limits)(selftest_seconds=0.0)
    makers: Makers = {
        "cpu": MAKERS["cpu"],  # the reference
        "built": made("Built"),
        "gone": Maker(reference="appliance.inference.not_there:Other", extra="other"),
        "crashing": made("CrashingAtLoad"),
    }
    told = {
        trial.engine: trial
        for trial in trials([package], [*makers][1:], type(settings)(limits=limits), makers=makers)
    }
    assert {name: trial.state for name, trial in told.items()} == {
        "built": State.VERIFIED,
        "gone": State.NOT_HERE,
        "crashing": State.FAILED,
    }
    assert told["built"].built["bytes"] > 0
    assert set(told["built"].seconds) == {"probe", "build", "load", "golden"}
    assert told["built"].call_seconds is not None
    assert told["built"].batch[1:2] == (1,)
    assert told["built"].memory_bytes > 0
    assert "readside[other]" in told["gone"].reason
    assert "SIGSEGV" in told["crashing"].reason


def test_an_engine_that_is_not_here_is_tried_once(package, settings):
    makers: Makers = {"gone": Maker(reference="appliance.inference.not_there:Other", extra="other")}
    assert len(list(trials([package, package], ["gone"], settings, makers=makers))) == 1
