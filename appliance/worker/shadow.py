"""The worker's shadow: a new version of a model on the images that the old one answered for, beside all else.

One thread, beside the lanes. It begins something only while the box has no work of its own, and gives way at
its next step when some comes.

Promises: whatever goes wrong here is counted under a word and changes nothing of a study; what was begun and
cut off begins again later, or is counted.
Never: makes a result, an object or a delivery; puts another model away; reads what was removed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core import log
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.core.instance import Instance
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import Outcome
from appliance.inference.engine import InferenceError
from appliance.ledger import comparisons, jobs, results, shadows, studies, versions
from appliance.ledger.comparisons import ANSWERS, Comparison, Standing, Unopened, Word
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.jobs import Job
from appliance.ledger.reading import LedgerFault
from appliance.ledger.shadows import Shadow
from appliance.routes.expression import ExpressionError, compile_condition
from appliance.spool.store import Spool
from appliance.spool.verify import damaged
from appliance.worker.beforehand import Beforehand
from appliance.worker.decode import Decoder
from appliance.worker.engines import EngineShelf, ModelGone
from appliance.worker.limits import ShadowLimits, WorkerLimits
from appliance.worker.prepared import bytes_of
from appliance.worker.run import AnalysisFailed, NotEligible, analyse_series
from appliance.worker.shadow_desk import Answer, ShadowDesk
from appliance.worker.shadow_folder import ShadowFolder
from models.agreement import Reading, reading_of
from models.analysis import check_geometry
from models.beside import Pair, pair_of
from models.package import Package

_log = log.get("shadow")
_BOX = "box"
# Behind the calls of every route.
_PRIORITY = -1
# Read and held against their digests between two looks at whether the box has work.
_IMAGES_AT_ONCE = 16
# Another try may find room, or a worker that is not being stopped.
_NO_ROOM = frozenset({"inference.memory", "inference.busy", "inference.closed"})


class _GivesWay(Exception):
    """The box has work of its own, or the service ends."""


class _Passed(Exception):
    """There is nothing to compare."""

    def __init__(self, word: Word) -> None:
        super().__init__(word)
        self.word = word


class ShadowThread(threading.Thread):
    """Puts answers away, and compares them while the box is idle."""

    def __init__(
        self, ledger: Ledger, config: Config, *, engines: EngineShelf, beforehand: Beforehand,
        desk: ShadowDesk, owner: str, limits: Limits = DEFAULT, bounds: ShadowLimits | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name="shadow", daemon=True)
        self._ledger, self._engines, self._beforehand = ledger, engines, beforehand
        self._desk, self._owner, self._limits = desk, owner, limits
        self._bounds = bounds or ShadowLimits()
        self._kept, self._folder = Spool(config.storage.root), ShadowFolder(config, self._bounds)
        self._decoder = Decoder(WorkerLimits().decode)
        self._stopping = threading.Event()
        self._swept_at: float | None = None

    def stop(self) -> None:
        """End, in the middle of a comparison if need be."""
        self._stopping.set()
        self._desk.bell.set()

    def run(self) -> None:
        """Take turns until told to stop."""
        while not self._stopping.is_set():
            self._desk.bell.wait(self._turn_or_pass())
            self._desk.bell.clear()
        self._decoder.close()

    def _turn_or_pass(self) -> float:
        try:
            return self.turn()
        except LedgerFault as error:
            _log.warning("ledger.fault", error=type(error).__name__)
        # A comparison is never worth a worker: it stays leased, and is taken back with the others.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            _log.error("shadow.fault", error=type(error).__name__, where=log.where(error))
            self._stopping.wait(self._limits.lease_seconds)
        return self._limits.poll_seconds

    def turn(self) -> float:
        """Do what can be done now; return in how many seconds there may be more, if no bell rings."""
        running = self._follow()
        while (answer := self._desk.take()) is not None:
            self._put_away(answer, running.get(answer.job.model_name))
        if not running:
            return self._limits.poll_seconds
        self._sweep(running)
        return 0.0 if self._compare_next() else self._limits.poll_seconds

    def take_back(self, owner_name: str) -> None:
        """Take back what a former process of this worker held: it is dead, or we would not be here."""
        self._released(owner_name)
        with self._ledger.read() as tx:
            needed = comparisons.open_jobs(tx)
        if left := self._folder.sweep(needed):
            _log.info("shadow.swept", answers=left)

    def _follow(self) -> Mapping[str, Shadow]:
        """Return what runs, after what must end has ended."""
        now = self._ledger.clock.now()
        with self._ledger.read() as tx:
            running = shadows.running(tx)
            over = {one.name: word for one in running.values() if (word := self._over(tx, one)) is not None}
        for name, word in over.items():
            with self._ledger.write() as tx:
                comparisons.stop(tx, running[name], reason=word, by=_BOX, at=now)
            _log.warning("model.shadow_ended", model=name, version=running[name].version, reason=word)
        left = {name: one for name, one in running.items() if name not in over}
        self._desk.expect({name: one.digest for name, one in left.items()})
        return left

    def _over(self, tx: Tx, shadow: Shadow) -> str | None:
        """Say why a shadow must end by itself, if it must."""
        active = versions.active(tx).get(shadow.name)
        if active is not None and active.digest == shadow.digest:
            return "shadow.activated"
        return "shadow.deaths" if shadow.deaths >= self._limits.shadow_deaths_max else None

    def _put_away(self, answer: Answer, shadow: Shadow | None) -> None:
        job = answer.job
        if shadow is None or job.id <= shadow.after_job:
            return
        kept = self._folder.put(job.id, reading_of(answer.findings))
        crash_here("shadow-kept")
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            if not kept:
                comparisons.pass_over(tx, shadow, job.id, Word.NOT_KEPT, at=now)
                return
            state = comparisons.open_one(
                tx, shadow, job.id, at=now, waiting_max=self._limits.shadow_answers_waiting_max
            )
        # Too many wait, or it was counted as not kept meanwhile.
        if state is not Standing.WAITING:
            self._folder.remove(job.id)

    def _sweep(self, running: Mapping[str, Shadow]) -> None:
        """Give every job that ended its row, and take back what others left."""
        elapsed, limits = self._ledger.clock.elapsed(), self._limits
        if self._swept_at is not None and elapsed - self._swept_at < limits.shadow_sweep_seconds:
            return
        self._swept_at = elapsed
        self._released(None)
        now = self._ledger.clock.now()
        for shadow in running.values():
            with self._ledger.read() as tx:
                left = comparisons.unopened(
                    tx,
                    shadow,
                    ended_before=now - limits.shadow_settle_seconds,
                    limit=limits.shadow_jobs_per_sweep_max,
                )
            words = [(one.job_id, self._word_of(one, shadow)) for one in left]
            with self._ledger.write() as tx:
                for job_id, word in words:
                    comparisons.pass_over(tx, shadow, job_id, word, at=now)
                seen = sum(comparisons.count_of(tx, shadow.id).values())
                if seen >= limits.shadow_comparisons_max:
                    comparisons.stop(tx, shadow, reason="shadow.enough", by=_BOX, at=now)

    def _released(self, owner_name: str | None) -> None:
        """Take back what dead workers held; those of other workers only once their leases ran out."""
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            taken = comparisons.release_dead(tx, at=now, limits=self._limits, owner_name=owner_name)
            for one in taken:
                shadows.died(tx, shadows.find(tx, one.shadow_id))
        for one in taken:
            _log.warning("shadow.worker_died", job=one.job_id, kills=one.kills + 1)

    def _word_of(self, one: Unopened, shadow: Shadow) -> Word:
        """Say what became of a job whose answer never came to the desk."""
        if one.outcome in ANSWERS:
            return Word.NOT_KEPT
        package = self._engines.package(shadow.digest)
        if one.outcome is not Outcome.NOT_ELIGIBLE or package is None:
            return Word.NO_ANSWER
        with self._ledger.read() as tx:
            job = jobs.find(tx, one.job_id)
            facts = {} if job is None else _facts_of(tx, job)
        return Word.NEITHER if _refuses(package, facts) else Word.ONLY_NEW

    def _compare_next(self) -> bool:
        """Work on one comparison, if the box is idle and one waits; say whether one was begun."""
        if not self._beforehand.quiet or self._stopping.is_set():
            return False
        ledger, now = self._ledger, self._ledger.clock.now()
        with ledger.read() as tx:
            due = comparisons.next_due(tx, at=now)
        if due is None:
            return False
        with ledger.write() as tx:
            seconds = self._bounds.lease_seconds
            one = comparisons.lease(tx, due, owner=self._owner, at=now, seconds=seconds)
        if one is None:
            return False
        crash_here("shadow-leased")
        self._work(one)
        return True

    def _work(self, one: Comparison) -> None:
        """Compare, and turn every way it can go wrong into a count or another try."""
        try:
            pair = self._compared(one)
        except _GivesWay:
            self._again(one, Word.NO_TIME, after_seconds=0.0)
        except _Passed as passed:
            self._end(one, passed.word)
        except NotEligible:
            self._end(one, Word.ONLY_OLD)
        except ModelGone:
            self._end(one, Word.GONE)
        except MemoryError:
            self._again(one, Word.NO_ROOM, after_seconds=self._bounds.room_again_seconds)
        except (AnalysisFailed, InferenceError) as failure:
            if failure.word in _NO_ROOM:
                self._again(one, Word.NO_ROOM, after_seconds=self._bounds.room_again_seconds)
            else:
                _log.warning("shadow.failed", job=one.job_id, reason=failure.word)
                self._end(one, Word.FAILED)
        except LedgerFault:
            # Nothing can be written now; it is taken back like what a dead worker held.
            raise
        # Whatever a model or an odd image brings about ends here, and is counted.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            incident = secrets.token_hex(4)
            kind, places = type(error).__name__, log.where(error)
            _log.error("shadow.unforeseen", job=one.job_id, incident=incident, error=kind, where=places)
            self._end(one, Word.FAILED)
        else:
            self._done(one, pair)

    def _compared(self, one: Comparison) -> Pair:
        with self._ledger.read() as tx:
            shadow, job = shadows.find(tx, one.shadow_id), jobs.find(tx, one.job_id)
            assert job is not None, "a comparison refers to its job"
            here, instances = comparisons.images_here(tx, job.id), jobs.inputs_of(tx, job.id)
            result, facts = results.find_of_job(tx, job.id), _facts_of(tx, job)
        old, package = self._folder.read(job.id), self._engines.package(shadow.digest)
        if package is None:
            raise _Passed(Word.GONE)
        if old is None or result is None:
            raise _Passed(Word.NOT_KEPT)
        if not here:
            raise _Passed(Word.NO_IMAGES)
        if _refuses(package, facts):
            raise _Passed(Word.ONLY_OLD)
        if 2 * sum(bytes_of(instance) or 0 for instance in instances) > self._bounds.volume_bytes_max:
            raise _Passed(Word.TOO_LARGE)
        self._look_at_bytes(instances)
        new, seconds = self._answered(shadow, instances)
        return pair_of(old, new, seconds=(_own_seconds(result.seconds), seconds))

    def _look_at_bytes(self, instances: Sequence[Instance]) -> None:
        """Hold the images against their digests; who serves sets damaged ones aside."""
        for start in range(0, len(instances), _IMAGES_AT_ONCE):
            self._may_go_on()
            if damaged(self._kept, instances[start : start + _IMAGES_AT_ONCE]):
                raise _Passed(Word.NO_IMAGES)

    def _answered(self, shadow: Shadow, instances: Sequence[Instance]) -> tuple[Reading, float]:
        """Give the new version's answer, and the seconds of its own work."""
        looked_at = 0.0

        def give_way(_stage: str, _done: int, _total: int) -> None:
            nonlocal looked_at
            self._may_go_on()
            if time.monotonic() - looked_at >= self._bounds.busy_look_seconds:
                looked_at = time.monotonic()
                with self._ledger.read() as tx:
                    if comparisons.busy(tx, at=self._ledger.clock.now()):
                        raise _GivesWay

        serve = self._engines.serve(shadow.name, shadow.digest, priority=_PRIORITY, guest=True)
        with serve as serving:
            self._may_go_on()
            analysis = analyse_series(
                serving.package,
                serving.engine,
                instances,
                self._kept,
                decoder=self._decoder,
                progress=give_way,
            )
        return reading_of(analysis.findings), _own_seconds(analysis.seconds)

    def _may_go_on(self) -> None:
        if self._stopping.is_set() or not self._beforehand.quiet:
            raise _GivesWay

    def _done(self, one: Comparison, pair: Pair) -> None:
        crash_here("shadow-unrecorded")
        with self._ledger.write() as tx:
            recorded = comparisons.done(tx, one, pair, at=self._ledger.clock.now())
        crash_here("shadow-recorded")
        if recorded:
            _log.info("shadow.compared", job=one.job_id, agrees=pair.agrees)
        self._folder.remove(one.job_id)

    def _end(self, one: Comparison, word: Word) -> None:
        with self._ledger.write() as tx:
            comparisons.failed(tx, one, word, at=self._ledger.clock.now())
        self._folder.remove(one.job_id)

    def _again(self, one: Comparison, word: Word, *, after_seconds: float) -> None:
        """Let it wait for another try, or end it with a word where it had enough of them."""
        stopping = self._stopping.is_set()
        if one.starts >= self._limits.shadow_starts_max and not stopping:
            self._end(one, word)
            return
        not_before = self._ledger.clock.now() + after_seconds
        with self._ledger.write() as tx:
            comparisons.give_back(tx, one, not_before=not_before, counts=not stopping)


def _facts_of(tx: Tx, job: Job) -> Mapping[str, Any]:
    """Return the variables of a job's series, as its route had them."""
    found = {one.series_uid: one.facts for one in studies.series_of(tx, job.study_uid)}
    return found.get(job.series_uid) or {}


def _refuses(package: Package, facts: Mapping[str, Any]) -> bool:
    """Say whether a package does not read a series, by its own condition or by the geometry."""
    text = package.manifest.accepts.when
    try:
        accepts = compile_condition(text) if text else None
    except ExpressionError:
        return True
    if accepts is not None and not accepts.ask(facts).holds:
        return True
    return bool(check_geometry(package.manifest, facts))


def _own_seconds(seconds: Mapping[str, float]) -> float:
    """Return what the model's own work took, without reading and decoding, which both versions need."""
    return seconds.get("inference", 0.0) + seconds.get("interpret", 0.0)
