"""Rows of workitems, on both databases: wanted once, moved along the table, ended with what came of them."""

from __future__ import annotations

import pytest

from appliance.core.words import Outcome
from appliance.ledger import deliveries, events, fetches, results, workitems
from appliance.ledger.performed import Stage, Why, performed, performed_by
from appliance.ledger.states import WorkitemState
from appliance.ledger.workitems import Placed, Wanted
from tests.appliance.ledger import given

UID = "1.9.1"
STUDY = Wanted(study_uid=given.STUDY, series=[given.SERIES], peer="pacs")


def wanted(tx, uid: str = UID) -> workitems.Item:
    assert workitems.want(tx, uid, transaction_uid="2.25.7", route="bands", at=given.NOW)
    found = workitems.find(tx, uid)
    assert found is not None
    return found


def item(tx) -> workitems.Item:
    found = workitems.find(tx, UID)
    assert found is not None
    return found


def test_a_workitem_is_wanted_once_for_ever(ledger):
    with ledger.write() as tx:
        first = wanted(tx)
        assert not workitems.want(tx, UID, transaction_uid="2.25.8", route="", at=given.NOW)
        workitems.end(tx, first, WorkitemState.TAKEN, word="worklist.taken", at=given.NOW)
    with ledger.write() as tx:
        assert not workitems.want(tx, UID, transaction_uid="2.25.8", route="", at=given.NOW)
        assert (item(tx).transaction_uid, item(tx).state) == ("2.25.7", WorkitemState.TAKEN)
        assert workitems.unended(tx) == []
        assert workitems.known(tx, [UID, "1.9.2"]) == {UID}


def test_what_it_names_is_asked_for_or_joined(ledger):
    with ledger.write() as tx:
        fetches.ask(tx, given.STUDY, "pacs", by="ann", at=given.NOW)
        workitems.claimed(tx, wanted(tx), at=given.NOW)
        other = Wanted(study_uid="1.2.4", series=[], peer="pacs")
        workitems.working(tx, item(tx), [STUDY, other], at=given.NOW, due_at=given.NOW)
        # A second writer that read the row before is too late, and asks for nothing.
        workitems.working(tx, wanted_before(tx), [STUDY], at=given.NOW, due_at=given.NOW)
    with ledger.read() as tx:
        found = workitems.inputs_of(tx, item(tx))
        assert [(one.study_uid, list(one.series), one.fetch.asked_by) for one in found] == [
            (given.STUDY, [given.SERIES], "ann"),
            ("1.2.4", [], "the worklist"),
        ]
        assert [one.workitem_uid for one in workitems.of_study(tx, "1.2.4")] == [UID]
        assert workitems.counted(tx) == {"WORKING": 1}


def wanted_before(tx) -> workitems.Item:
    now = vars(item(tx))
    return workitems.Item(**now | {"state": WorkitemState.CLAIMED})


def test_how_it_ends_is_kept_and_told_in_the_timeline(ledger):
    placed = Placed(given.STUDY, "pacs", "2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.1.0")
    with ledger.write() as tx:
        workitems.claimed(tx, wanted(tx), at=given.NOW)
        workitems.working(tx, item(tx), [STUDY], at=given.NOW, due_at=given.NOW)
        workitems.put_off(tx, item(tx), due_at=given.NOW + 5, word="worklist.busy")
        assert (item(tx).failures, item(tx).word) == (1, "worklist.busy")
        workitems.settle(tx, item(tx), WorkitemState.CANCELING, reason="failed", came=[placed], at=given.NOW)
        assert (item(tx).came, item(tx).failures) == ([placed], 0)
        workitems.end(tx, item(tx), WorkitemState.CANCELED, word=None, at=given.NOW)
        assert [one.word for one in events.of_study(tx, given.STUDY)][-1] == "worklist.canceled"
        assert item(tx).ended_at == given.NOW


@pytest.mark.parametrize("target", ["COMPLETED", "CANCELED", "COMPLETING"])
def test_what_was_never_claimed_is_neither_done_nor_canceled(ledger, target):
    with ledger.write() as tx:
        wanted(tx)
        with pytest.raises(AssertionError, match="is not in the table"):
            workitems._move(tx, item(tx), WorkitemState(target))


class TestPerformed:
    def standing(self, ledger, *, route: str = "bands", series: tuple[str, ...] = ()):
        with ledger.read() as tx:
            return performed(tx, given.STUDY, route=route, series=series, limits=given.LIMITS)

    def test_it_goes_on_until_the_last_delivery_has_ended(self, ledger):
        assert self.standing(ledger).why is Why.NOTHING
        with ledger.write() as tx:
            given.kept(tx, 1, 2, 3)
        assert self.standing(ledger).stage is Stage.GATHERING
        with ledger.write() as tx:
            (job_id,) = given.decided(tx)
        assert self.standing(ledger).stage is Stage.ANALYSING
        with ledger.write() as tx:
            results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=given.NOW)
        assert self.standing(ledger).stage is Stage.DELIVERING
        for peer in ("pacs", "archive"):
            for parcel in given.parcels(ledger, peer):
                with ledger.write() as tx:
                    deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
        came = self.standing(ledger)
        assert (came.stage, came.why) == (Stage.ENDED, None)
        assert {(one.peer, one.sop_instance_uid) for one in came.delivered} == {
            ("pacs", "2.25.1.0"),
            ("pacs", "2.25.1.2"),
            ("archive", "2.25.1.0"),
        }
        with ledger.read() as tx:
            uids = [one.sop_instance_uid for one in came.delivered]
            assert performed_by(tx, uids) == [("ct-tissue-bands", "1.0.0")]
        assert self.standing(ledger, route="other").why is Why.NO_ROUTE
        assert self.standing(ledger, series=("1.2",)).why is Why.OTHER_SERIES

    def test_a_notice_that_arrived_is_no_answer(self, ledger):
        (job_id,) = given.a_job(ledger)
        with ledger.write() as tx:
            ending = given.ending(job_id, outcome=Outcome.NOT_ELIGIBLE, send_to={"pacs": ("sr",)})
            results.end(tx, given.leased(tx, job_id), ending, at=given.NOW)
        for parcel in given.parcels(ledger):
            with ledger.write() as tx:
                deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
        came = self.standing(ledger)
        assert (came.why, len(came.delivered)) == (Why.NOT_ELIGIBLE, 1)
