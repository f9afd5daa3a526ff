"""The steps of an assigned release on this box, as rows: assigned, fetched, built, waiting, serving, watched.

Promises: each step is written before the next begins, and done again when whoever took it died; a release is
proved on this device before it waits for anything; what it goes back to is the last version that stayed.
Never: lets a release serve; `appliance.sync.turn` does.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from appliance.core.clock import as_text
from appliance.inference.engine import BuildProgress
from appliance.ledger import events, passages, versions
from appliance.ledger.engine import Tx
from appliance.ledger.passages import Passage
from appliance.sync.activate import prepare
from appliance.sync.box import ModelBox
from appliance.sync.gates import Gates, Wait
from appliance.sync.phase import Phase, phase_of
from appliance.sync.refusal import PASSING, WELL, Word
from appliance.sync.release import Release
from appliance.sync.standing import Outcome

# From here on its engine stood the golden cases on this device.
_BUILT = frozenset(
    {Phase.BUILT, Phase.SHADOW, Phase.WAITING_WINDOW, Phase.WAITING_CONSENT, Phase.DRAINING, Phase.ACTIVATING}
)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The passages of one box."""

    box: ModelBox
    gates: Gates

    def withdrawn(self, assigned: Set[tuple[str, str]]) -> None:
        """End what is on its way and not assigned any more; `assigned` are names with their versions."""
        with self.box.ledger.write() as tx:
            passages.withdrawn(tx, but=assigned, at=self.box.now())

    def held(self, release: Release) -> Outcome | None:
        """Note that a release is assigned; say whether a person holds it."""
        at = self.box.now()
        with self.box.ledger.write() as tx:
            self._assigned(release, tx)
            wait = self.gates.held(tx, release.name, release.version, at=at)
        return None if wait is None else _outcome(wait)

    def enter(self, release: Release, phase: Phase) -> None:
        """Say which step begins."""
        with self.box.ledger.write() as tx:
            passages.enter(tx, release.digest, phase, at=self.box.now())

    def shut(self, release: Release, progress: BuildProgress | None) -> Outcome | None:
        """Say what an installed release waits for; its engine is built and proved before it waits.

        Raises:
            Rejected: it does not pass on this device.
            Refused: the box is why.
            Busy: another command works on this box's models.
        """
        at = self.box.now()
        with self.box.ledger.write() as tx:
            passage = self._assigned(release, tx)
            if self.gates.shut(tx, passage, at=at) is None:
                return None
            if passage.drain_at is not None:
                passages.stop_draining(tx, passage)
        if passage.phase not in _BUILT:
            prepare(self.box, release.name, release.version, progress=progress)
            self.enter(release, Phase.BUILT)
        # Building may have taken an hour: what it waits for now is another thing, or nothing.
        with self.box.ledger.read() as tx:
            wait = self.gates.shut(tx, passage, at=self.box.now())
        return None if wait is None else _outcome(wait)

    def draining(self, release: Release) -> Outcome | None:
        """Say whether studies are being finished before a release may serve."""
        with self.box.ledger.write() as tx:
            wait = self.gates.draining(tx, self._assigned(release, tx), at=self.box.now())
        return None if wait is None else _outcome(wait)

    def former(self, release: Release) -> str | None:
        """Return the digest that a return goes to: not what is itself only being watched, or withdrawn."""
        with self.box.ledger.read() as tx:
            active = versions.active(tx).get(release.name)
            passage = None if active is None else passages.of_digest(tx, active.digest)
            before = versions.of_digest(tx, release.digest)
        if active is None:
            return None
        if before is not None and before.former_digest is not None:
            # It served here before: going back from it leads where it led then.
            return before.former_digest
        watched = passage is not None and passage.phase == Phase.SOAK
        stays = active.former_digest if watched else active.digest
        return stays if stays not in (None, release.digest) else active.digest

    def serving(self, release: Release) -> Outcome:
        """Say how far a release is that serves: watched because this registry let it, or there for good."""
        with self.box.ledger.write() as tx:
            at, passage = self.box.now(), self._assigned(release, tx)
            if passage.phase == Phase.ACTIVATING:
                active = versions.active(tx)[release.name]
                passage = passages.soaks(tx, passage, Phase.SOAK, at=active.activated_at or at)
            elif passage.phase not in (Phase.SOAK, Phase.COMMITTED):
                passages.enter(tx, release.digest, Phase.COMMITTED, at=at)
                passage = replace(passage, phase=Phase.COMMITTED, word="", sentence="")
        if passage.word:
            return Outcome(word=Word(passage.word), sentence=passage.sentence, phase=Phase(passage.phase))
        if passage.phase == Phase.COMMITTED:
            return Outcome(word=Word.CURRENT, phase=Phase.COMMITTED)
        since = as_text(passage.activated_at or passage.phase_at)
        return Outcome(word=Word.CURRENT, sentence=f"it is watched since {since}", phase=Phase.SOAK)

    def told(self, outcome: Outcome) -> Outcome:
        """Keep what became of a release, and return it with how far it came."""
        if not outcome.digest or outcome.phase in (Phase.SOAK, Phase.COMMITTED):
            return outcome
        named = {"name": outcome.model, "version": outcome.version, "digest": outcome.digest}
        with self.box.ledger.write() as tx:
            # What is refused at first sight has a row too: the registry is told of it.
            before = passages.assigned(tx, **named, phase=Phase.ASSIGNED, at=self.box.now())
            phase = outcome.phase or phase_of(outcome.word)
            if outcome.word in PASSING:
                # A link or another command was in the way; the release is where it was.
                phase = Phase(before.phase)
            outcome = replace(outcome, phase=phase)
            said = {"word": outcome.word.value, "sentence": outcome.sentence}
            is_new = passages.enter(tx, outcome.digest, phase, at=self.box.now(), **said)
            if is_new and outcome.word in WELL:
                detail = {"model": outcome.model, "version": outcome.version, "reason": outcome.word.value}
                events.add(tx, "registry.waits", at=self.box.now(), **detail)
        return outcome

    def _assigned(self, release: Release, tx: Tx) -> Passage:
        named = {"name": release.name, "version": release.version, "digest": release.digest}
        return passages.assigned(tx, **named, phase=Phase.ASSIGNED, at=self.box.now())


def _outcome(wait: Wait) -> Outcome:
    return Outcome(word=wait.word, sentence=wait.sentence, phase=phase_of(wait.word))
