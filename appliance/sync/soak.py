"""Whether a release does among real studies what its golden cases promised; if not, the box goes back.

Promises: judged by this box's own rows alone; sent back at once, with its reason, and not tried again;
whoever is killed in the middle is finished by the next look.
Never: judges by few jobs, or by faults of the disk; asks a registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from appliance.core import log
from appliance.core.packages import open_installed
from appliance.core.words import JobState
from appliance.ledger import passages, performance, versions
from appliance.ledger.passages import Passage
from appliance.ledger.performance import Ended, Record
from appliance.ledger.versions import Arrival, Overtaken, Version
from appliance.sync.box import ModelBox
from appliance.sync.floors import FloorBook, Refused
from appliance.sync.limits import SOAK, SoakLimits
from appliance.sync.phase import Phase
from appliance.sync.refusal import RETURNED, Word
from models.package import PackageError

_log = log.get("registry")
# What a disk, an archive or the machine's memory did is nothing that another version would do better.
_NOT_THE_MODELS = ("disk.", "spool.", "worker.")
_PERCENTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What speaks against a release that serves."""

    word: Word
    sentence: str


def judge(now: Record, before: Record, *, limits: SoakLimits = SOAK) -> Finding | None:
    """Hold a release's jobs against bounds, and against those of the version before; pure."""
    if len(now.deaths) >= limits.deaths_max:
        return Finding(word=Word.WORKER_DEATHS, sentence=f"workers died {len(now.deaths)} times of its jobs")
    ran, ran_before = _ran(now), _ran(before)
    return _in_a_row(ran, limits) or _too_often(ran, ran_before, limits) or _too_slow(ran, ran_before, limits)


def is_over(passage: Passage, now: Record, *, at: float, limits: SoakLimits = SOAK) -> bool:
    """Say whether a release that nothing spoke against was watched for long enough."""
    watched = at - (passage.activated_at or passage.phase_at)
    enough = watched >= limits.seconds_min and len(_ran(now)) >= limits.jobs_min
    return enough or watched >= limits.seconds_max


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Looks after what serves because a registry assigned it, until it stays for good."""

    box: ModelBox
    floors: FloorBook
    limits: SoakLimits = SOAK

    def look(self) -> list[Passage]:
        """Look at every release that is watched; return those that were sent back.

        Raises:
            Refusal: the floors cannot be used: nothing is sent back that could not be remembered.
            NoSpace, DiskFault: the disk is full or failed.
        """
        with self.box.ledger.read() as tx:
            serving = [(row, passages.of_digest(tx, row.digest)) for row in versions.active(tx).values()]
        # One that a newer release is to replace is watched until it does: that may take weeks.
        found = [
            (passage, row)
            for row, passage in serving
            if passage is not None and passage.phase in (Phase.ACTIVATING, Phase.SOAK)
        ]
        return [passage for passage, row in found if self._one(passage, row)]

    def record(self, passage: Passage) -> Record:
        """Return how the jobs of a release ended since it serves."""
        at = self.box.now()
        since = passage.activated_at or passage.phase_at
        with self.box.ledger.read() as tx:
            return performance.of_model(
                tx, passage.digest, since=since, until=at, jobs_max=self.limits.jobs_looked_at_max
            )

    def _one(self, passage: Passage, row: Version) -> bool:
        """Judge one; whether it was sent back."""
        if passage.phase == Phase.ACTIVATING:
            # Whoever let it serve died, or is about to say so.
            passage = self._begun(passage, row)
        now = self.record(passage)
        finding = self._remembered(passage.digest) or judge(
            now, self._before(passage, row), limits=self.limits
        )
        if finding is not None:
            return self._send_back(passage, row, finding)
        if is_over(passage, now, at=self.box.now(), limits=self.limits):
            with self.box.ledger.write() as tx:
                passages.committed(tx, passage, Phase.COMMITTED, at=self.box.now(), jobs=len(_ran(now)))
            _log.info("registry.committed", model=passage.name, version=passage.version)
        elif passage.word:
            # It did badly with nothing to go back to, and does well again.
            with self.box.ledger.write() as tx:
                passages.enter(tx, passage.digest, Phase.SOAK, at=self.box.now())
        return False

    def _begun(self, passage: Passage, row: Version) -> Passage:
        with self.box.ledger.write() as tx:
            return passages.soaks(tx, passage, Phase.SOAK, at=row.activated_at or self.box.now())

    def _before(self, passage: Passage, row: Version) -> Record:
        if row.former_digest is None:
            return Record(ended=())
        until = passage.activated_at or passage.phase_at
        since = until - self.limits.former_seconds
        with self.box.ledger.read() as tx:
            return performance.of_model(
                tx, row.former_digest, since=since, until=until, jobs_max=self.limits.jobs_looked_at_max
            )

    def _remembered(self, digest: str) -> Finding | None:
        """Return why it is to go back, if a process that died had come so far."""
        kept = self.floors.read().refused.get(digest)
        if kept is None or kept.word not in RETURNED:
            return None
        return Finding(word=Word(kept.word), sentence=kept.sentence)

    def _send_back(self, passage: Passage, row: Version, finding: Finding) -> bool:
        """Let the version before serve again: first it is written that this one is not tried again."""
        at = self.box.now()
        said = {"model": passage.name, "version": passage.version, "word": finding.word.value}
        if (former := self._former(row)) is None:
            with self.box.ledger.write() as tx:
                sentence = f"{finding.sentence}; it serves on, for there is nothing usable to go back to"
                is_new = passages.enter(
                    tx, passage.digest, Phase.SOAK, at=at, word=finding.word, sentence=sentence
                )
            if is_new:
                _log.error("registry.no_way_back", **said, reason=finding.sentence)
            return False
        kept = Refused(word=finding.word, sentence=finding.sentence, at=at)
        self.floors.change(lambda floors: floors.rejected(passage.digest, kept))
        try:
            self._change(passage, row, former, finding, at)
        except Overtaken:
            # A person or another command was faster; the next look sees what serves then.
            return False
        _log.error("model.returned", **said, reason=finding.sentence, serves=former.version)
        return True

    def _change(
        self, passage: Passage, row: Version, former: Version | Arrival, finding: Finding, at: float
    ) -> None:
        sentence = f"{finding.sentence}; {former.version} serves again since then"
        with self.box.ledger.write() as tx:
            if isinstance(former, Version):
                versions.returned(tx, row, former, at=at, by=self.box.by, reason=finding.word)
            else:
                versions.gave_way(tx, row, former, at=at, by=self.box.by, reason=finding.word)
            passages.enter(tx, passage.digest, Phase.ROLLED_BACK, at=at, word=finding.word, sentence=sentence)

    def _former(self, row: Version) -> Version | Arrival | None:
        """Return what served before, if its files are as they were."""
        if row.former_digest is None:
            return None
        with self.box.ledger.read() as tx:
            former = versions.of_digest(tx, row.former_digest)
        if former is not None and former.here:
            try:
                open_installed(self.box.root, former.digest)
            except PackageError:
                return None
            return former
        standing = self.box.catalogue().serving_else().get(row.name)
        if standing is None or standing.package is None or standing.digest != row.former_digest:
            return None
        return Arrival(
            name=standing.name, version=standing.version, digest=standing.digest, source=standing.origin
        )


def _ran(record: Record) -> list[Ended]:
    """Return the jobs in which the model ran, or was tried and failed."""
    return [job for job in record.ended if _failed(job) or (job.state is JobState.DONE and job.seconds)]


def _failed(job: Ended) -> bool:
    return job.state is not JobState.DONE and not job.word.startswith(_NOT_THE_MODELS)


def _in_a_row(ran: Sequence[Ended], limits: SoakLimits) -> Finding | None:
    """Find studies at the end of the row whose jobs all failed; one study that is tried often counts once."""
    studies: set[str] = set()
    for job in reversed(ran):
        if not _failed(job):
            break
        studies.add(job.study_uid)
    if len(studies) < limits.failing_studies_max:
        return None
    word = next(job.word for job in reversed(ran))
    return Finding(
        word=Word.FAILING_JOBS,
        sentence=f"its jobs failed on {len(studies)} studies in a row, the last with {word}",
    )


def _too_often(ran: Sequence[Ended], before: Sequence[Ended], limits: SoakLimits) -> Finding | None:
    if len(ran) < limits.jobs_for_ratio_min:
        return None
    now, then = _ratio(ran), _ratio(before)
    if now <= then + limits.failure_ratio_slack:
        return None
    sentence = f"{now:.0%} of its {len(ran)} jobs failed; of the version before {then:.0%} did"
    return Finding(word=Word.FAILURE_RATIO, sentence=sentence)


def _too_slow(ran: Sequence[Ended], before: Sequence[Ended], limits: SoakLimits) -> Finding | None:
    times, times_before = _seconds(ran), _seconds(before)
    if min(len(times), len(times_before)) < limits.jobs_for_latency_min:
        return None
    now, then = _percentile(times), _percentile(times_before)
    if now <= then * limits.latency_factor_max + limits.latency_slack_seconds:
        return None
    return Finding(
        word=Word.SLOWER,
        sentence=f"95 of 100 of its jobs took up to {now:.1f} s; of the version before {then:.1f} s",
    )


def _ratio(ran: Sequence[Ended]) -> float:
    return sum(_failed(job) for job in ran) / len(ran) if ran else 0.0


def _seconds(ran: Sequence[Ended]) -> list[float]:
    return sorted(job.seconds for job in ran if job.seconds and not _failed(job))


def _percentile(ordered: Sequence[float]) -> float:
    """Return the smallest value that is not below the share of all (nearest rank)."""
    return ordered[ceil(_PERCENTILE * len(ordered)) - 1]
