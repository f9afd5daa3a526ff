"""Networks that work slice by slice are asked about the first slices of a stack while the rest arrives.

What is kept is the network's own answer to a batch, under what the batch is made of: the bytes of its slices
in their order, and how they become values. An analysis that comes to the very same batch takes the answer,
and asks about any other itself; so a wrong guess of order, spacing or number costs time and nothing else.

Promises: answers together hold no more bytes than the bound; one is taken only of the engine that serves.
Never: asks about a batch that may still change: its slices had the same places at two looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.core.geometry import measure, planes_of
from appliance.core.instance import Instance
from appliance.inference.engine import Tensors
from appliance.worker.engines import Serving
from appliance.worker.limits import WorkerLimits
from appliance.worker.prepared import Key, PreparedDecoder, PreparedReader
from appliance.worker.series import read_series
from appliance.worker.volume import Origin, build_volume, origins_of
from models.analysis import ask_ahead
from models.tensors import FloatArray

Origins = tuple[Origin, ...]


@dataclass(frozen=True, kw_only=True)
class Whom:
    """Who was asked on behalf of which study: a model on an engine, by the engine's name in a result."""

    study_uid: str
    model_digest: str
    engine_text: str
    stepped_down: str | None

    @classmethod
    def of(cls, study_uid: str, serving: Serving) -> Whom:
        """Name who serves now."""
        return cls(
            study_uid=study_uid,
            model_digest=serving.package.digest,
            engine_text=serving.engine_text,
            stepped_down=serving.stepped_down,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """The answers to one batch, not writeable, and the seconds inside the engine that they took."""

    answers: Tensors
    seconds: float

    @property
    def bytes(self) -> int:
        """Return how much memory they take."""
        return sum(one.nbytes for one in self.answers.values())


class EarlyAnswers:
    """Answers that analyses may find ready; one thread puts, any may take a look."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._held: dict[Whom, dict[Origins, Heard]] = {}
        self._bytes = 0

    def put(self, whom: Whom, origins: Origins, heard: Heard) -> bool:
        """Keep the answers to a batch; false, and nothing is kept, where there is no room for them."""
        with self._lock:
            if self._bytes + heard.bytes > self._bytes_max:
                return False
            held = self._held.setdefault(whom, {})
            former = held.get(origins)
            held[origins] = heard
            self._bytes += heard.bytes - (0 if former is None else former.bytes)
            return True

    def of(self, whom: Whom) -> Callable[[Origins], Heard | None]:
        """Return what gives the answers of one engine to a batch of these origins."""

        def heard(origins: Origins) -> Heard | None:
            with self._lock:
                return self._held.get(whom, {}).get(origins)

        return heard

    def keep_only(self, study_uids: Collection[str]) -> None:
        """Let go of every other study."""
        with self._lock:
            for whom in [one for one in self._held if one.study_uid not in study_uids]:
                self._bytes -= sum(one.bytes for one in self._held.pop(whom).values())


@dataclass(kw_only=True, eq=False)
class Stack:
    """One series that grows: its slices along the normal at this look, and how many have kept their places.

    A stack that grows upwards settles from its lowest slice on. One that grows downwards never does: which
    slices share a batch is known when its lowest one is here.
    """

    ordered: tuple[Instance, ...]
    settled: int
    # By the digest of the model; none of those that are left is asked about anything more.
    asked: dict[str, set[tuple[Key, ...]]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, instances: Sequence[Instance], former: Stack | None) -> Stack:
        """Order the slices that are here; none settle where no volume could be made of them."""
        planes = planes_of(instances)
        ordered: tuple[Instance, ...] = ()
        if planes and len(planes) == len(instances):
            geometry = measure(planes)
            if not geometry.obstacles:
                ordered = tuple(instances[index] for index in geometry.order)
        if former is None:
            return cls(ordered=ordered, settled=0)
        pairs = zip(ordered, former.ordered, strict=False)
        settled = next(
            (n for n, (one, other) in enumerate(pairs) if _key(one) != _key(other)),
            min(len(ordered), len(former.ordered)),
        )
        return cls(ordered=ordered, settled=settled, asked=former.asked, left=former.left)

    def batches(self, model_digest: str, size: int) -> Iterator[tuple[Instance, ...]]:
        """Give the whole batches that settled and were not asked about; each is given once."""
        asked = self.asked.setdefault(model_digest, set())
        for first in range(0, self.settled - size + 1, size):
            if model_digest in self.left:
                return
            batch = self.ordered[first : first + size]
            known_by = tuple(map(_key, batch))
            if known_by not in asked:
                asked.add(known_by)
                yield batch


class EarlyAsker:
    """Asks about one batch at a time, in memory that stays for the next."""

    def __init__(self, answers: EarlyAnswers, limits: WorkerLimits | None = None) -> None:
        self._answers, self._limits = answers, limits or WorkerLimits()
        self._scratch = np.empty(0, np.float32)

    def ask(
        self,
        batch: Sequence[Instance],
        serving: Serving,
        reader: PreparedReader,
        decoder: PreparedDecoder,
    ) -> bool:
        """Ask about a batch and keep the answers; say whether there was room for them.

        Raises:
            NotEligible, DecodeError, InferenceError, AnswerError: no answer; the analysis finds out why.
        """
        series = read_series(batch, reader, self._limits)
        volume = build_volume(series, reader, decoder, limits=self._limits, empty=self._empty)
        seconds = 0.0

        def infer(fed: Tensors) -> Tensors:
            nonlocal seconds
            began = time.perf_counter()
            answers = serving.engine.infer(fed, deadline_seconds=self._limits.inference_seconds_max)
            seconds += time.perf_counter() - began
            return answers

        answers = ask_ahead(serving.package.manifest, volume, infer)
        whom = Whom.of(batch[0].study_uid, serving)
        return self._answers.put(whom, origins_of(series), Heard(answers=answers, seconds=seconds))

    def _empty(self, shape: tuple[int, int, int]) -> FloatArray:
        count = shape[0] * shape[1] * shape[2]
        if self._scratch.size < count:
            self._scratch = np.empty(count, np.float32)
        return self._scratch[:count].reshape(shape)


def _key(instance: Instance) -> Key:
    return instance.location, instance.digest
