"""The timeline: in order, by study or for the whole box."""

from __future__ import annotations

from appliance.ledger import events
from appliance.ledger.events import Event


def test_a_study_s_events_are_oldest_first_and_the_box_s_newest_first(ledger):
    with ledger.write() as tx:
        events.add(tx, "assemble.ready", at=2.0, study_uid="1.2", reason="quiet")
        events.add(tx, "assemble.opened", at=1.0, study_uid="1.2")
        events.add(tx, "disk.floor", at=3.0)
        events.add(tx, "assemble.opened", at=4.0, study_uid="1.9")
        assert [e.word for e in events.of_study(tx, "1.2")] == ["assemble.opened", "assemble.ready"]
        assert [e.at for e in events.latest(tx, 2)] == [4.0, 3.0]
        assert [e.study_uid for e in events.latest(tx, 9, word="assemble.opened")] == ["1.9", "1.2"]
        assert events.latest(tx, 1, word="disk.floor") == [
            Event(at=3.0, word="disk.floor", study_uid=None, detail={})
        ]
        assert events.of_study(tx, "1.2")[1].detail == {"reason": "quiet"}
