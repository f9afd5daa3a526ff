"""Work ahead of the jobs: decode slices while their study arrives, analyse a series once it fell silent.

A network that works slice by slice is asked about the first while the rest arrives, where cores are idle.
One thread, beside the lanes; it looks at the ledger when images came, in order of arrival.
A box with nothing else to do is through with a study by the time that it counts as complete.

Promises: no job waits for it, but the one whose own analysis is under way; a wrong guess costs only time.
Never: loads a model, writes a row, or takes more memory than `AheadLimits` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.core import log
from appliance.core.config import Config, ConfigError
from appliance.core.instance import Instance
from appliance.core.limits import DEFAULT, Limits
from appliance.core.niceness import giving_way
from appliance.core.words import short
from appliance.inference.engine import InferenceError
from appliance.ledger import foresight, studies
from appliance.ledger.engine import Ledger
from appliance.ledger.reading import LedgerFault
from appliance.routes.match import Candidate
from appliance.routes.table import ActiveRoute
from appliance.spool.store import Spool
from appliance.worker.addressing import maps_wanted
from appliance.worker.beforehand import Asked, Beforehand, Foreseen, Run
from appliance.worker.decode import Decoder
from appliance.worker.early import EarlyAsker, Stack, Whom
from appliance.worker.engines import EngineShelf, ModelGone
from appliance.worker.idle import idle_share
from appliance.worker.interest import Interest
from appliance.worker.limits import WorkerLimits
from appliance.worker.prepared import PreparedDecoder, PreparedReader, bytes_of, prepare, rest_of
from appliance.worker.run import AnalysisFailed, NotEligible, analyse_series
from models.analysis import AnswerError, goes_ahead
from models.package import Package

_log = log.get("worker")
_REST_SHARE = 4.0
# The instances of a series -> the variables that a route may ask for.
FactsOf = Callable[[Sequence[Instance]], Mapping[str, Any]]


class _Cancelled(Exception):
    """A job needs the processor, or the service ends."""


@dataclass(kw_only=True, eq=False)
class _Seen:
    """A gathering series as of the last look at it; `at` on the clock that never jumps."""

    row: studies.Series
    at: float
    instances: Sequence[Instance]
    facts: Mapping[str, Any]
    stack: Stack | None = None
    # By the digest of the model.
    starts: dict[str, int] = field(default_factory=dict)
    # Those that could not be prepared: the job finds out why.
    passed_over: set[tuple[str, str]] = field(default_factory=set)


class ReadAhead(threading.Thread):
    """Prepares what gathers while no job is worked on."""

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        beforehand: Beforehand,
        engines: EngineShelf,
        facts_of: FactsOf,
        *,
        limits: Limits = DEFAULT,
    ) -> None:
        super().__init__(name="read-ahead", daemon=True)
        self._ledger, self._config, self._limits = ledger, config, limits
        self._beforehand, self._engines, self._facts_of = beforehand, engines, facts_of
        self._kept = Spool(config.storage.root)
        self._decoder = Decoder(WorkerLimits().decode)
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._interest: Interest | None = None
        self._bell, self._stopping = threading.Event(), threading.Event()
        self._early = EarlyAsker(beforehand.answers)
        self._look_took_seconds = self._asked_seconds = 0.0
        # As the bell, for an analysis under way.
        self._came = threading.Event()

    def wake(self) -> None:
        """Say that images came."""
        self._came.set()
        self._bell.set()

    def stop(self) -> None:
        """End, in the middle of an analysis if need be."""
        self._stopping.set()
        self._bell.set()
        self._beforehand.stop()

    def run(self) -> None:
        """Take turns until told to stop."""
        try:
            self._interest = Interest(self._ledger, self._config)
        except (ConfigError, LedgerFault) as error:
            # The conductor says what is wrong with the routes; the worker works without this thread.
            _log.warning("readahead.off", error=type(error).__name__)
            return
        while not self._stopping.is_set():
            if self._bell.wait(self._turn_or_pass()):
                self._bell.clear()
                # Rows come every few moments while images arrive; each look takes some of them together.
                self._stopping.wait(max(self._pause_seconds - self._asked_seconds, 0.0))
        self._decoder.close()

    def _turn_or_pass(self) -> float:
        try:
            return self.turn()
        except LedgerFault as error:
            _log.warning("ledger.fault", error=type(error).__name__)
        # What goes wrong here goes wrong in the job too, which says so in its result.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            _log.error("readahead.fault", error=type(error).__name__, where=log.where(error))
            # It may be there at the next turn too: the log need not fill with it.
            self._stopping.wait(self._limits.lease_seconds)
        return self._limits.poll_seconds

    def turn(self) -> float:
        """Do what can be done now; return in how many seconds there may be more, if no bell rings."""
        poll, self._asked_seconds = self._limits.poll_seconds, 0.0
        if not self._look():
            return poll
        # Receiving comes first; an analysis does not give way, for a job may come to wait for it.
        with giving_way():
            prepared = self._prepare_all()
        # While that was done more may have come: what is analysed is what the ledger has now.
        again = self._pause_seconds if prepared else min(self._foresee(), poll)
        due = self._ledger.clock.elapsed() + again
        with giving_way():
            self._ask_early(until=due)
            self._touch(until=due)
        return max(due - self._ledger.clock.elapsed(), 0.0)

    def _prepare_all(self) -> int:
        """Prepare what is wanted as long as no job comes; return how many instances were new."""
        prepared = 0
        for seen in self._wanted():
            for instance in seen.instances:
                if not self._may_go_on:
                    return prepared
                prepared += self._prepare(seen, instance)
        return prepared

    def _touch(self, *, until: float) -> None:
        """Take the memory of volumes, as long as nothing else is to be done."""

        def nothing_else() -> bool:
            return self._may_go_on and not self._bell.is_set() and self._ledger.clock.elapsed() <= until

        for seen in self._wanted():
            self._beforehand.space.touch(_volume_bytes(seen), go_on=nothing_else)

    @property
    def _pause_seconds(self) -> float:
        """Return how long to wait before the next look; what takes longer to read is read less often."""
        return max(self._beforehand.limits.look_seconds, _REST_SHARE * self._look_took_seconds)

    @property
    def _may_go_on(self) -> bool:
        return self._beforehand.idle and not self._stopping.is_set()

    def _look(self) -> bool:
        """Read what gathers and let go of what nobody will ask for; say whether there is something to do."""
        # Of the processor: how long a look had to wait for it says nothing about what the next one takes.
        began = time.thread_time()
        with self._ledger.read() as tx:
            rows, expected = foresight.gathering(tx), foresight.expected(tx)
        self._beforehand.keep_only(expected)
        former, self._seen = self._seen, {}
        if not rows or not self._may_go_on:
            self._seen = former if rows else {}
            return False
        assert self._interest is not None, "the routes were compiled when the thread began"
        self._interest.refresh()
        for row in rows:
            key = (row.study_uid, row.series_uid)
            known = former.get(key)
            current = known is not None and known.row.last_at == row.last_at and self._is_whole(known)
            self._seen[key] = known if known is not None and current else self._read(row, known)
        self._look_took_seconds = time.thread_time() - began
        return True

    def _is_whole(self, known: _Seen) -> bool:
        """Say whether a series has its instances, or needs none under the routes of now."""
        assert self._interest is not None, "the routes were compiled when the thread began"
        return bool(known.instances) or not self._interest.could_take(known.facts)

    def _read(self, row: studies.Series, known: _Seen | None) -> _Seen:
        with self._ledger.read() as tx:
            found = studies.instances_of(tx, row.study_uid, row.series_uid)
        at = self._ledger.clock.elapsed()
        assert self._interest is not None, "the routes were compiled when the thread began"
        facts = self._facts_of(found)
        # What no route may want is only known by its facts: a department's day of it is a gigabyte.
        wanted = self._interest.could_take(facts)
        seen = _Seen(row=row, at=at, instances=found if wanted else (), facts=facts)
        if known is not None:
            seen.starts, seen.passed_over = known.starts, known.passed_over
        if wanted and self._interest.goes_ahead:
            seen.stack = Stack.of(found, None if known is None else known.stack)
        return seen

    def _wanted(self) -> Iterator[_Seen]:
        assert self._interest is not None, "the routes were compiled when the thread began"
        return (seen for seen in self._seen.values() if self._interest.could_take(seen.facts))

    def _prepare(self, seen: _Seen, instance: Instance) -> bool:
        """Prepare one instance; say whether that is new."""
        slices, known_by = self._beforehand.slices, (instance.sop_instance_uid, instance.digest)
        if known_by in seen.passed_over or slices.has(instance) or not slices.has_room(instance):
            return False
        prepared = prepare(instance, self._kept, self._decoder)
        if prepared is None:
            seen.passed_over.add(known_by)
            return False
        return slices.put(instance, prepared)

    def _foresee(self) -> float:
        """Analyse series that fell silent; return in how many seconds the next one will have."""
        due_in = [self._limits.poll_seconds]
        for active, package, seen in self._chosen():
            maps = maps_wanted(self._config, active.route.name)
            due_in.append(self._foresee_one(seen, package, maps=maps))
        return min(due_in)

    def _chosen(self) -> Iterator[tuple[ActiveRoute, Package, _Seen]]:
        """Give what each route would run now of each study, with its model and the series."""
        assert self._interest is not None, "the routes were compiled when the thread began"
        by_study: dict[str, list[_Seen]] = {}
        for seen in self._seen.values():
            by_study.setdefault(seen.row.study_uid, []).append(seen)
        for of_study in by_study.values():
            candidates = [Candidate(series_uid=one.row.series_uid, facts=one.facts) for one in of_study]
            for active, package, chosen in self._interest.would_take(candidates):
                (seen,) = (one for one in of_study if one.row.series_uid == chosen.series_uid)
                yield active, package, seen

    def _ask_early(self, *, until: float) -> None:
        """Ask networks about slices that settled, where cores have nothing to do, until the next look."""
        began = self._ledger.clock.elapsed()
        until = min(until, began + self._pause_seconds)
        try:
            for _, package, seen in self._chosen():
                # Another model of the box may not have to make room for a guess.
                if seen.stack is None or not self._engines.is_loaded(package.digest):
                    continue
                if goes_ahead(package.manifest):
                    self._ask_about(seen, seen.stack, package, until=until)
        finally:
            self._asked_seconds = self._ledger.clock.elapsed() - began

    def _ask_about(self, seen: _Seen, stack: Stack, package: Package, *, until: float) -> None:
        batches = stack.batches(package.digest, package.manifest.input.batch)
        prepared = self._beforehand.slices.of(stack.ordered)
        reader = PreparedReader.of(prepared, self._kept)
        decoder = PreparedDecoder(prepared=prepared, decoder=self._decoder)
        try:
            with self._engines.serve(package.manifest.name, package.digest, priority=0) as serving:
                while self._may_ask(until) and (batch := next(batches, None)) is not None:
                    whole = not rest_of(batch, prepared)
                    if whole and not self._early.ask(batch, serving, reader, decoder):
                        stack.left.add(package.digest)
        except (
            NotEligible,
            AnalysisFailed,
            AnswerError,
            InferenceError,
            ModelGone,
            OSError,
            MemoryError,
        ) as error:
            # The analysis meets it again, and its result says it.
            stack.left.add(package.digest)
            _log.info("readahead.left", study=short(seen.row.study_uid), error=type(error).__name__)

    def _may_ask(self, until: float) -> bool:
        in_time = self._may_go_on and self._ledger.clock.elapsed() <= until
        return in_time and idle_share() >= self._beforehand.limits.idle_share_min

    def _foresee_one(self, seen: _Seen, package: Package, *, maps: bool) -> float:
        """Analyse one series with one model, if it is time; return in how many seconds it will be."""
        limits, never = self._beforehand.limits, self._limits.poll_seconds
        asked, starts = (
            Asked.of(seen.instances, package.digest, maps=maps),
            seen.starts.get(package.digest, 0),
        )
        if starts >= limits.starts_max or self._beforehand.has(asked) or not self._fits(seen):
            return never
        # Since its newest row was seen: rows follow their images by moments, on a busy box by longer ones.
        silent = self._ledger.clock.elapsed() - seen.at
        wanted = limits.silent_seconds * 2.0**starts
        if silent < wanted:
            return wanted - silent
        # Another model of the box may not have to make room for a guess.
        run = self._beforehand.begin(asked) if self._engines.is_loaded(package.digest) else None
        if run is not None:
            again = self._analyse(run, seen, package)
            seen.starts[package.digest] = starts + 1 if again else limits.starts_max
        return never

    def _fits(self, seen: _Seen) -> bool:
        """Say whether every instance is prepared, and the volume of them all finds room."""
        # A mask of one byte for each voxel of four.
        if 5 * _volume_bytes(seen) // 4 > self._beforehand.limits.analysis_bytes_max:
            return False
        return not rest_of(seen.instances, self._beforehand.slices.of(seen.instances))

    def _analyse(self, run: Run, seen: _Seen, package: Package) -> bool:
        """Make a run's analysis; say whether another try, with more images, could do better."""
        made = None
        try:
            made = self._foreseen(run, seen, package)
            _log.info("readahead.analysed", study=short(run.asked.study_uid), model=package.manifest.name)
        except _Cancelled:
            _log.info("readahead.stopped", study=short(run.asked.study_uid), model=package.manifest.name)
        except (NotEligible, AnalysisFailed, InferenceError, ModelGone, OSError, MemoryError) as error:
            # The job meets it again, and its result says it.
            _log.info("readahead.left", study=short(run.asked.study_uid), error=type(error).__name__)
            return False
        finally:
            self._beforehand.end(run, made)
        return True

    def _foreseen(self, run: Run, seen: _Seen, package: Package) -> Foreseen:
        prepared = self._beforehand.slices.of(seen.instances)

        def wanted_still(_stage: str, _done: int, _total: int) -> None:
            if run.cancelled.is_set() or (not run.claimed and self._grew(seen)):
                raise _Cancelled

        with self._engines.serve(package.manifest.name, package.digest, priority=0) as serving:
            analysis = analyse_series(
                serving.package,
                serving.engine,
                seen.instances,
                PreparedReader.of(prepared, self._kept),
                decoder=PreparedDecoder(prepared=prepared, decoder=self._decoder),
                progress=wanted_still,
                maps=run.asked.maps,
                empty=self._beforehand.space.empty,
                heard=self._beforehand.answers.of(Whom.of(seen.row.study_uid, serving)),
            )
            return Foreseen(
                analysis=analysis, engine_text=serving.engine_text, stepped_down=serving.stepped_down
            )

    def _grew(self, seen: _Seen) -> bool:
        """Say whether more came for a series since it was read; looked up only after a bell."""
        if not self._came.is_set():
            return False
        self._came.clear()
        with self._ledger.read() as tx:
            rows = foresight.gathering(tx)
        key = (seen.row.study_uid, seen.row.series_uid)
        last_at = {(row.study_uid, row.series_uid): row.last_at for row in rows}.get(key)
        # A study that gathers no more is complete, and its job is on its way.
        return last_at is not None and last_at != seen.row.last_at


def _volume_bytes(seen: _Seen) -> int:
    """Return how much memory the volume of a series takes, as far as it is here: float32 of 16 bits."""
    return 2 * sum(bytes_of(one) or 0 for one in seen.instances)
