"""What is done before a job asks for it: slices, a network's answers to some, analyses of silent series.

Shared by the lanes that work on jobs and by the one thread that works ahead of them.
It is memory only: a process that dies has lost time and nothing else.

Promises: an analysis is given only for the same images in the same order, with the same model and the same
wish for maps; a job that finds its own analysis under way waits for it, and any other job stops it.
Never: makes a job wait for work that it does not need.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from appliance.core.instance import Instance, Location
from appliance.worker.early import EarlyAnswers
from appliance.worker.engines import Serving
from appliance.worker.limits import AheadLimits
from appliance.worker.prepared import PreparedSlices
from appliance.worker.run import Analysis
from appliance.worker.space import VolumeSpace


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an analysis depends on: these bytes in this order, the model, and whether maps are made."""

    study_uid: str
    series_uid: str
    model_digest: str
    maps: bool
    images: tuple[tuple[str, Location, str], ...]

    @classmethod
    def of(cls, instances: Sequence[Instance], model_digest: str, *, maps: bool) -> Asked:
        """Name what is asked of some instances."""
        return cls(
            study_uid=instances[0].study_uid if instances else "",
            series_uid=instances[0].series_uid if instances else "",
            model_digest=model_digest,
            maps=maps,
            images=tuple((one.sop_instance_uid, one.location, one.digest) for one in instances),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Foreseen:
    """An analysis that was made ahead, and the engine that made it."""

    analysis: Analysis
    engine_text: str
    stepped_down: str | None

    def made_by(self, serving: Serving) -> bool:
        """Say whether the engine that serves now is the one that made it: its name goes into the result."""
        return (self.engine_text, self.stepped_down) == (serving.engine_text, serving.stepped_down)

    @property
    def bytes(self) -> int:
        """Return about how much memory it takes: the volume and the masks."""
        masks = sum(segment.mask.nbytes for segment in self.analysis.findings.segments)
        return self.analysis.volume.voxels.nbytes + masks


@dataclass(kw_only=True, eq=False)
class Run:
    """An analysis on its way; whoever makes it looks now and then whether it is still wanted."""

    asked: Asked
    cancelled: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    claimed: bool = False
    made: Foreseen | None = None


class Beforehand:
    """Slices and analyses that jobs may find ready; any thread may ask."""

    def __init__(self, limits: AheadLimits | None = None) -> None:
        self.limits = limits or AheadLimits()
        self.slices = PreparedSlices(self.limits.slices_bytes_max)
        self.answers = EarlyAnswers(self.limits.answers_bytes_max)
        self.space = VolumeSpace(
            bytes_max=self.limits.volume_bytes_max, kept_bytes_max=self.limits.volume_kept_bytes_max
        )
        self._lock = threading.Lock()
        self._jobs = 0
        self._run: Run | None = None
        self._made: dict[Asked, Foreseen] = {}

    @property
    def idle(self) -> bool:
        """Say whether no job is worked on, so that there is time for what is to come."""
        with self._lock:
            return self._jobs == 0

    @property
    def quiet(self) -> bool:
        """Say whether nothing is worked on at all, not even ahead."""
        with self._lock:
            return self._jobs == 0 and self._run is None

    @contextmanager
    def job(self) -> Iterator[None]:
        """Hold a job's place: nothing is begun ahead while any is worked on."""
        with self._lock:
            self._jobs += 1
        try:
            yield
        finally:
            with self._lock:
                self._jobs -= 1

    def take(self, asked: Asked) -> Foreseen | None:
        """Return what was made for a job, waiting for it where it is under way; stop whatever else is."""
        with self._lock:
            made, run = self._made.pop(asked, None), self._run
            if run is not None and run.asked == asked:
                run.claimed = True
            elif run is not None and made is None and not run.claimed:
                # The processor is this job's now; one that only has its result to write leaves it to others.
                run.cancelled.set()
        if made is not None or run is None or run.asked != asked:
            return made
        # Every step of an analysis has a deadline of its own, and its maker ends a run however it goes.
        run.finished.wait()
        return run.made

    def begin(self, asked: Asked) -> Run | None:
        """Begin an analysis ahead, unless a job is worked on or it was made already."""
        with self._lock:
            if self._jobs or self._run is not None or asked in self._made:
                return None
            self._run = Run(asked=asked)
            return self._run

    def end(self, run: Run, made: Foreseen | None) -> None:
        """End a run; what it made waits for its job, or goes to the one that waits for it."""
        with self._lock:
            self._run = None
            run.made = made
            if made is not None and not run.claimed:
                # Of the same images with one more or less only the newest can still be asked for.
                self._forget(lambda one: _same_series(one, run.asked))
                held = sum(one.bytes for one in self._made.values())
                if held + made.bytes <= self.limits.analysis_bytes_max:
                    self._made[run.asked] = made
        run.finished.set()

    def has(self, asked: Asked) -> bool:
        """Say whether an analysis is ready."""
        with self._lock:
            return asked in self._made

    def keep_only(self, study_uids: Collection[str]) -> None:
        """Let go of what was made for every other study."""
        self.slices.keep_only(study_uids)
        self.answers.keep_only(study_uids)
        with self._lock:
            self._forget(lambda one: one.study_uid not in study_uids)

    def stop(self) -> None:
        """Stop what is under way and nobody waits for: the service ends."""
        with self._lock:
            if self._run is not None and not self._run.claimed:
                self._run.cancelled.set()

    def _forget(self, which: Callable[[Asked], bool]) -> None:
        for asked in [one for one in self._made if which(one)]:
            del self._made[asked]


def _same_series(one: Asked, other: Asked) -> bool:
    return replace(one, images=()) == replace(other, images=())
