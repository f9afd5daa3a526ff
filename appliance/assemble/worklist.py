"""Perform the workitems of a worklist: want, claim, have fetched, follow, end (PS3.4 CC, IHE AIW-I).

Promises: what is wanted is a row before it is claimed, and how it ends is one before the origin server hears
of it, so that a kill at any instant loses nothing and does nothing twice. Every workitem that was claimed is
completed, or canceled with its reason; what somebody else claimed is left to them.
Never: decides what a study is for, or lets anything of a workitem but UIDs into the ledger or the log.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from appliance.assemble.assigned import Places, own_station, route_of, searches
from appliance.assemble.discontinued import REASONS
from appliance.assemble.turns import one_by_one
from appliance.core import log
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import short
from appliance.ledger import jobs, workitems
from appliance.ledger.engine import Ledger
from appliance.ledger.fetches import FetchState
from appliance.ledger.performed import Performed, Stage, Why, performed, performed_by
from appliance.ledger.states import WorkitemState
from appliance.ledger.workitems import Item, Placed
from dicom_node.dicomweb import workitem as wire
from dicom_node.dicomweb.ups import Said, Told, UpsClient
from dicom_node.dicomweb.workitem import Code, StepState, Workitem

_log = log.get("assemble")
_FETCHING = "fetching"
# What the origin server is told: how far it is in percent, and in words.
_TOLD = {
    _FETCHING: (0, "The input is being retrieved."),
    Stage.GATHERING: (20, "The input is being gathered."),
    Stage.HELD: (20, "The study is held: a person has to look at it."),
    Stage.ANALYSING: (40, "The input is being analysed."),
    Stage.DELIVERING: (80, "The results are being sent."),
}
_ENDED = {StepState.COMPLETED: WorkitemState.COMPLETED, StepState.CANCELED: WorkitemState.CANCELED}
_NAME = Code(value="111001", scheme="DCM", meaning="Algorithm Name")
_VERSION = Code(value="111003", scheme="DCM", meaning="Algorithm Version")


class Performer:
    """Looks after one worklist; belongs to one thread."""

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        origin: UpsClient,
        limits: Limits = DEFAULT,
        *,
        also: Callable[[str, str], bool] = lambda study_uid, route: False,
    ) -> None:
        """Take the worklist's client, and who has a route judge a study that was decided without it."""
        self._ledger, self._section, self._origin, self._limits = ledger, config.worklist, origin, limits
        self._places, self._also = Places(config.peers), also
        self._station = own_station(config.worklist, config.dicom.ae_title)

    def look(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Ask what is scheduled, unless enough is under way, and write down what is wanted; say if so."""
        if self._room() <= 0:
            return True
        word = None
        for station, code in searches(self._section):
            word = word or self._search(station, code, stopping)
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            workitems.looked(tx, self._section.url or "", word=word, at=now)
        if word is not None:
            _log.warning("worklist.no_answer", reason=word)
        return word is None

    def _search(self, station: str, code: str, stopping: Callable[[], bool]) -> str | None:
        """Search page by page while there is room; return why there was no answer."""
        offset = 0
        while (room := self._room()) > 0 and not stopping():
            found = self._origin.search(station=station, code=code, offset=offset)
            if found.word is not None:
                return found.word
            self._want(found.workitems, room)
            offset += len(found.workitems)
            if not found.more or offset >= self._limits.worklist_workitems_max:
                break
        return None

    def _room(self) -> int:
        with self._ledger.read() as tx:
            return self._section.at_once - len(workitems.unended(tx))

    def _want(self, found: Sequence[Workitem], room: int) -> None:
        """Write down what is the box's and new, each with the Transaction UID that it is claimed with."""
        with self._ledger.read() as tx:
            known = workitems.known(tx, [one.uid for one in found])
        for one in found:
            route = route_of(self._section, one)
            if route is None or one.uid in known or not _is_scheduled(one):
                continue
            if room == 0:
                return
            transaction_uid = f"2.25.{uuid.uuid4().int}"
            with self._ledger.write() as tx:
                at = self._ledger.clock.now()
                room -= workitems.want(tx, one.uid, transaction_uid=transaction_uid, route=route, at=at)
            _log.info("worklist.wanted", workitem=short(one.uid), route=route)
            crash_here("worklist-wanted")

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Look after every workitem that has not ended; return for how many something was done."""
        with self._ledger.read() as tx:
            unended = workitems.unended(tx)
        return one_by_one(unended, self._look_after, stopping)

    def _look_after(self, item: Item) -> bool:
        working = item.state is WorkitemState.WORKING
        stage, came = self._standing(item) if working else ("", [])
        if working and self._has_ended(item, stage, came):
            return True
        if item.due_at > self._ledger.clock.now():
            return working and self._tell(item, stage)
        if item.state is WorkitemState.WANTED:
            return self._claim(item)
        there = self._there(item)
        if there is None:
            return False
        if item.state is WorkitemState.CLAIMED:
            return self._take_up(item, there)
        return self._follow(item, there, stage) if working else self._finish(item, there)

    # Claiming.

    def _claim(self, item: Item) -> bool:
        """Claim it; a refusal may be the answer to a claim of ours whose answer was lost."""
        told = self._origin.change(item.workitem_uid, StepState.IN_PROGRESS, item.transaction_uid)
        if told.said is Said.DONE:
            return self._is_ours(item)
        if told.said in (Said.ABSENT, Said.UNKNOWN):
            return self._absent_or_again(item, told)
        there = self._origin.retrieve(item.workitem_uid)
        if there.workitem is None:
            return self._absent_or_again(item, there)
        if there.workitem.state is StepState.SCHEDULED:
            # Nobody has it, and it was refused: the request itself is not to the server's liking.
            return self._again(item, told.word)
        if there.workitem.state is not StepState.IN_PROGRESS:
            return self._end(item, WorkitemState.TAKEN, "worklist.taken")
        # Only who holds its Transaction UID may change it (PS3.4 CC.2.6.3).
        proof = self._update(item, _progress(item, _FETCHING))
        if proof.said is Said.DONE:
            return self._is_ours(item)
        if proof.said is Said.UNKNOWN:
            return self._again(item, proof.word)
        return self._end(item, WorkitemState.TAKEN, "worklist.taken")

    def _is_ours(self, item: Item) -> bool:
        crash_here("worklist-claimed")
        with self._ledger.write() as tx:
            workitems.claimed(tx, item, at=self._ledger.clock.now())
        _log.info("worklist.claimed", workitem=short(item.workitem_uid), route=item.route)
        return True

    def _take_up(self, item: Item, there: Workitem) -> bool:
        """Have fetched what a workitem names, which is known only now that it is ours."""
        wanted = self._places.wanted(there)
        if isinstance(wanted, Why):
            return self._settle(item, wanted)
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            workitems.working(tx, item, wanted, at=now, due_at=now + self._section.poll_seconds)
        _log.info("worklist.asked_for", workitem=short(item.workitem_uid), studies=len(wanted))
        crash_here("worklist-asked-for")
        return True

    # Following.

    def _has_ended(self, item: Item, stage: str, came: Sequence[Performed]) -> bool:
        """Settle how it ends once all that it names has ended here; say whether that was so."""
        if withheld := [job_id for one in came for job_id in one.withheld]:
            return self._send_it(withheld)
        if stage is not Stage.ENDED:
            return False
        answered = any(one.why is None for one in came)
        if not answered and self._is_judged_now(item, came):
            return True
        placed = [each for one in came for each in one.delivered]
        return self._settle(item, None if answered else _worst(came), placed)

    def _is_judged_now(self, item: Item, came: Sequence[Performed]) -> bool:
        """Have the route judge what was decided without it, before that is the end of it."""
        if not item.route or not any(one.unjudged for one in came):
            return False
        with self._ledger.read() as tx:
            named = [one.study_uid for one in workitems.inputs_of(tx, item)]
        left = [study_uid for study_uid, one in zip(named, came, strict=True) if one.unjudged]
        return sum(self._also(study_uid, item.route) for study_uid in left) > 0

    def _send_it(self, job_ids: Sequence[int]) -> bool:
        """Have done for its own sake what was done only for another study to be compared with."""
        with self._ledger.write() as tx:
            for job in filter(None, (jobs.find(tx, job_id) for job_id in job_ids)):
                jobs.again(tx, job, at=self._ledger.clock.now())
        return True

    def _standing(self, item: Item) -> tuple[str, list[Performed]]:
        """Return how far it is: as far as the study that is furthest behind."""
        with self._ledger.read() as tx:
            inputs = workitems.inputs_of(tx, item)
            if lacking := next((one for one in inputs if one.fetch.state is FetchState.FAILED), None):
                gone = lacking.fetch.word == "fetch.not_there"
                why = Why.NOT_THERE if gone else Why.INCOMPLETE
                return Stage.ENDED, [Performed(stage=Stage.ENDED, why=why)]
            if any(one.fetch.state is FetchState.ASKED for one in inputs):
                return _FETCHING, []
            came = [
                performed(tx, one.study_uid, route=item.route, series=one.series, limits=self._limits)
                for one in inputs
            ]
        order = list(Stage)
        return min((one.stage for one in came), key=order.index), came

    def _follow(self, item: Item, there: Workitem, stage: str) -> bool:
        """See whether somebody wants it no more, and tell how far it is."""
        if there.cancel_asked:
            return self._settle(item, Why.ASKED)
        if not self._tell(item, stage):
            self._put_off(item, self._section.poll_seconds)
        return True

    def _tell(self, item: Item, stage: str) -> bool:
        """Tell the origin server how far it is, once a stage; say whether there was anything to tell."""
        if stage == item.told or stage not in _TOLD or item.failures:
            return False
        told = self._update(item, _progress(item, stage))
        if told.said is Said.DONE:
            with self._ledger.write() as tx:
                due_at = self._ledger.clock.now() + self._section.poll_seconds
                workitems.told(tx, item, stage, due_at=due_at)
        elif told.not_ours:
            self._end(item, WorkitemState.TAKEN, "worklist.not_ours")
        else:
            self._again(item, told.word)
        return True

    def _there(self, item: Item) -> Workitem | None:
        """Return the workitem as the origin server has it, as long as it is in progress there."""
        told = self._origin.retrieve(item.workitem_uid)
        if told.workitem is None:
            self._absent_or_again(item, told)
            return None
        state = told.workitem.state
        if state in _ENDED:
            self._end(item, _ENDED[state], None if _as_meant(item, state) else "worklist.ended_there")
            return None
        if state is StepState.SCHEDULED:
            # The origin server forgot our claim, after a backup was put back, say.
            back = self._origin.change(item.workitem_uid, StepState.IN_PROGRESS, item.transaction_uid)
            self._again(item, back.word if back.said is not Said.DONE else "worklist.claimed_again")
            return None
        return told.workitem

    # Ending.

    def _settle(self, item: Item, why: Why | None, came: Sequence[Placed] = ()) -> bool:
        """Write down how it is to end: with an answer, or with why there is none."""
        state = WorkitemState.COMPLETING if why is None else WorkitemState.CANCELING
        with self._ledger.write() as tx:
            workitems.settle(tx, item, state, reason=why, came=came, at=self._ledger.clock.now())
        _log.info("worklist.settled", workitem=short(item.workitem_uid), state=state.value, reason=why)
        crash_here("worklist-settled")
        return True

    def _finish(self, item: Item, there: Workitem) -> bool:
        """Give the origin server what came of it, then the final state (PS3.4 CC.2.5.1.1)."""
        completes = item.state is WorkitemState.COMPLETING
        told = self._update(item, self._last_word(item, there))
        if told.said is Said.DONE:
            crash_here("worklist-updated")
            state = StepState.COMPLETED if completes else StepState.CANCELED
            told = self._origin.change(item.workitem_uid, state, item.transaction_uid)
            if told.said is Said.DONE:
                crash_here("worklist-ended")
                return self._end(item, _ENDED[state], None)
        if told.not_ours:
            return self._end(item, WorkitemState.TAKEN, "worklist.not_ours")
        return self._absent_or_again(item, told)

    def _last_word(self, item: Item, there: Workitem) -> bytes:
        """Return the update before the final state."""
        done = wire.Performed(
            station=self._station,
            workitem_code=next(iter(there.codes), None),
            started=_dt(item.claimed_at or item.wanted_at),
            ended=_dt(self._ledger.clock.now()),
            parameters=self._parameters(item),
            outputs=self._places.outputs(item.came),
        )
        if item.reason is None:
            return wire.completed(item.transaction_uid, done)
        code, text = REASONS[Why(item.reason)]
        return wire.discontinued(item.transaction_uid, done, why=code, text=text)

    def _parameters(self, item: Item) -> list[tuple[Code, str]]:
        """Return the models whose results are given, by name and version."""
        with self._ledger.read() as tx:
            models = performed_by(tx, [one.sop_instance_uid for one in item.came])
        return [pair for name, version in models for pair in ((_NAME, name), (_VERSION, version))]

    def _end(self, item: Item, state: WorkitemState, word: str | None) -> bool:
        with self._ledger.write() as tx:
            workitems.end(tx, item, state, word=word, at=self._ledger.clock.now())
        say = _log.warning if word else _log.info
        say(f"worklist.{state.lower()}", workitem=short(item.workitem_uid), reason=word or item.reason)
        return True

    def _update(self, item: Item, payload: bytes) -> Told:
        return self._origin.update(item.workitem_uid, item.transaction_uid, payload)

    def _absent_or_again(self, item: Item, told: Told) -> bool:
        """Let go of a workitem that is gone; where nothing at all is found, the address is wrong."""
        if told.said is not Said.ABSENT:
            return self._again(item, told.word)
        station, code = searches(self._section)[0]
        if told.word == "worklist.not_found" and self._origin.search(station=station, code=code).word:
            return self._again(item, told.word)
        return self._end(item, WorkitemState.GONE, told.word)

    def _again(self, item: Item, word: str) -> bool:
        """Try again, a little later each time and for ever: what was claimed is not forgotten."""
        limits = self._limits
        grown = limits.worklist_backoff_seconds * 2.0 ** min(item.failures, 16)
        self._put_off(item, min(grown, limits.worklist_backoff_seconds_max), word)
        _log.warning("worklist.later", workitem=short(item.workitem_uid), state=item.state.value, reason=word)
        return False

    def _put_off(self, item: Item, seconds: float, word: str | None = None) -> None:
        with self._ledger.write() as tx:
            workitems.put_off(tx, item, due_at=self._ledger.clock.now() + seconds, word=word)


def _is_scheduled(one: Workitem) -> bool:
    return one.ready and one.state in (None, StepState.SCHEDULED)


def _as_meant(item: Item, state: StepState) -> bool:
    """Say whether a workitem ended there as it is settled here."""
    meant = {WorkitemState.COMPLETING: StepState.COMPLETED, WorkitemState.CANCELING: StepState.CANCELED}
    return meant.get(item.state) is state


def _worst(came: Sequence[Performed]) -> Why:
    """Return the reason that says most, of several studies of which none gave an answer."""
    order = list(Why)
    return max((one.why for one in came if one.why is not None), key=order.index)


def _progress(item: Item, stage: str) -> bytes:
    percent, text = _TOLD[stage]
    return wire.progress(item.transaction_uid, percent=percent, text=text)


def _dt(seconds: float) -> str:
    """Write a time as a DT with its offset (PS3.5 6.2)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S+0000")
