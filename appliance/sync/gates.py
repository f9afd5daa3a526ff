"""What an installed release still waits for: the hospital's hold, its consent, its window, running studies.

Promises: every wait has its word and a sentence with who, why and until when; a hold ends at its time, and
draining at its deadline; asking changes nothing but the mark of what is drained.
Never: asks anybody outside of this box.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.core.config import Config
from appliance.core.windows import is_open, local_text, opens_at
from appliance.ledger import controls, passages, versions
from appliance.ledger.controls import Kind
from appliance.ledger.engine import Tx
from appliance.ledger.passages import Passage
from appliance.sync.limits import STEPS, StepLimits
from appliance.sync.phase import Phase
from appliance.sync.refusal import Word

_WAITING = frozenset({Phase.HELD, Phase.WAITING_CONSENT, Phase.WAITING_WINDOW, Phase.DRAINING})


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Why a release does not serve yet."""

    word: Word
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The waits of one box; with `any_time` a person at it said that windows do not matter now."""

    config: Config
    limits: StepLimits = STEPS
    any_time: bool = False

    def held(self, tx: Tx, name: str, version: str, *, at: float) -> Wait | None:
        """Say whether a person holds the model, or keeps it at another version."""
        control = controls.against(tx, name, version, at=at)
        if control is None:
            return None
        until = local_text(control.until_at, self.config.site.zone)
        kept = "held" if control.kind is Kind.HOLD else f"kept at {control.version}"
        return Wait(
            word=Word.ON_HOLD, sentence=f"{kept} until {until} by {control.placed_by}: {control.reason}"
        )

    def shut(self, tx: Tx, passage: Passage, *, at: float) -> Wait | None:
        """Say what keeps a release that could serve from doing so: hold, consent, window, in this order."""
        return (
            self.held(tx, passage.name, passage.version, at=at)
            or self._unasked(tx, passage)
            or self._early(at)
        )

    def draining(self, tx: Tx, passage: Passage, *, at: float) -> Wait | None:
        """Say whether studies that were decided before are being finished; the first asking sets the mark."""
        if passage.drain_at is None:
            passage = passages.drain(tx, passage, at=at)
        return self._undrained(tx, passage, at)

    def lifted(self, tx: Tx, *, at: float) -> frozenset[tuple[str, int]]:
        """Return the releases, each with its phase, that waited and need not wait for that any more."""
        return frozenset(
            (passage.digest, passage.phase)
            for passage in passages.under_way(tx)
            if self._goes_on(tx, passage, at)
        )

    def _goes_on(self, tx: Tx, passage: Passage, at: float) -> bool:
        if passage.phase not in _WAITING or passage.word == Word.HELD:
            return False
        if (wait := self.shut(tx, passage, at=at)) is not None:
            # From one wait to the next one: the status is to say which.
            return wait.word != passage.word
        return passage.drain_at is None or self._undrained(tx, passage, at) is None

    def _unasked(self, tx: Tx, passage: Passage) -> Wait | None:
        if not self.config.registry.consent or controls.consent_to(tx, passage.digest) is not None:
            return None
        row = versions.of_digest(tx, passage.digest)
        if row is not None and row.activated_at is not None:
            # It served here before: the way back is not to wait for a person.
            return None
        command = f"`readside registry consent {passage.name} {passage.version}`"
        return Wait(
            word=Word.WAITING_CONSENT,
            sentence=f"it passed here and waits until somebody at this site agrees: {command}",
        )

    def _early(self, at: float) -> Wait | None:
        opening, zone = self.config.registry.opening, self.config.site.zone
        if self.any_time or is_open(opening, zone, at):
            return None
        opens = opens_at(opening, zone, at)
        when = "no window opens in the next two weeks" if opens is None else local_text(opens, zone)
        return Wait(word=Word.WAITING_WINDOW, sentence=f"it passed here and waits for its window: {when}")

    def _undrained(self, tx: Tx, passage: Passage, at: float) -> Wait | None:
        left = passages.undrained(tx, passage)
        since = at if passage.drain_at is None else passage.drain_at
        # A clock that was set back must not make it wait for ever.
        if not left or not since <= at < since + self.limits.drain_seconds_max:
            return None
        until = local_text(since + self.limits.drain_seconds_max, self.config.site.zone)
        jobs = "1 job" if left == 1 else f"{left} jobs"
        return Wait(
            word=Word.DRAINING,
            sentence=f"{jobs} of the version before are finished first, until {until} at most",
        )
