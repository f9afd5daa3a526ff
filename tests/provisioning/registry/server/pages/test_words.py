"""Whatever a device, a gate or an alarm can say has words."""

from __future__ import annotations

from appliance.core.alarming import AlarmKind
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from provisioning.registry.database.words import Alarm, DeviceState
from provisioning.registry.rollout.facts import Stand
from provisioning.registry.rollout.gate import Verdict, judge
from provisioning.registry.rollout.plan import Gates
from provisioning.registry.rollout.state import Stage
from provisioning.registry.server.alarms import BOX
from provisioning.registry.server.pages import words
from tests.provisioning.registry.rollout.making import DAY, MONDAY, fact


def test_nothing_fixed_is_without_words():
    assert set(words.PHASES) == set(Phase)
    assert set(words.REASONS) == set(Word)
    assert set(words.STAGES) == set(Stage)
    assert set(words.STANDS) == set(Stand)
    assert set(words.VERDICTS) == set(Verdict)
    assert set(words.STATES) == set(DeviceState)
    assert set(words.ALERTS) == {*Alarm, *(f"{BOX}{kind.name.lower()}" for kind in AlarmKind)}


def test_what_a_newer_device_says_is_not_hidden():
    assert words.phase({"phase": 11, "serving": False}) == ("served before", "plain")
    assert words.phase({"phase": 63}) == ("unknown to this version", "warn")
    assert words.reason(998) == "reason 998, which this version does not know"
    assert words.reason(code_of(Word.CURRENT)) == ""
    assert words.reason(None) == ""
    assert words.alert("box.quite_new") == "something that this version has no words for"


def test_a_check_that_passed_does_not_say_what_is_wrong():
    gates = Gates(soak_seconds_min=0, working_seconds_min=0)
    said = judge(gates, [fact("a"), fact("b"), fact("c")], soaking_since=MONDAY, now=MONDAY + DAY)
    told = {check.name: words.check(check) for check in said.checks}
    assert told["drift"] == "no device's own test says that input or output moved"
    assert told["every_gpu"] == "no kind of GPU has only failures"
    assert told["studies"] == "300 studies, 200 are needed"
    assert all(told.values())
