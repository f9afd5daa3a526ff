"""The page and the answer about models: which versions are here, which serves, what they passed, why not."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.console import agreement
from appliance.console.wording import Tone, tell
from appliance.core.config import Config
from appliance.ledger import controls, inventory, passages, reading
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from appliance.ledger.events import Event
from appliance.ledger.inventory import Line
from appliance.ledger.passages import Passage

_EVENTS_LOOKED_AT = 2_000
_HISTORY_MAX = 30
_USED_MAX = 200
_TOLD_HERE = ("model.", "registry.")


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """One release on its way; `asks`: a person at the site has yet to agree to it."""

    passage: Passage
    consent: controls.Consent | None
    asks: bool


@dataclass(frozen=True, kw_only=True)
class Card:
    """One package with what it was last used for, and every reason against it."""

    line: Line
    used: reading.ModelUse | None
    reasons: Sequence[str]

    @property
    def passed(self) -> Mapping[str, Any]:
        """Return what it was last checked with: engine, stepped_down; empty if it never passed."""
        evidence = {} if self.line.row is None else self.line.row.evidence
        proof = evidence.get("activation") or evidence.get("install") or {}
        return proof if isinstance(proof, dict) and proof.get("engine") else {}

    def as_dict(self) -> dict[str, Any]:
        """Return the card as JSON values."""
        used = {} if self.used is None else vars(self.used)
        engine = {name: used.get(name) for name in ("engine", "stepped_down", "jobs", "last_at")}
        return {**self.line.as_dict(), "reasons": list(self.reasons), "newest_inference": engine}


class Models:
    """The packages of this box. They are opened when somebody first asks, for most visitors never do."""

    def __init__(self, ledger: Ledger, config: Config) -> None:
        self._ledger, self._config = ledger, config
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None

    def cards(self) -> tuple[list[Card], list[str]]:
        """Return every package, and a sentence for each of the site's folders that cannot be used."""
        with self._lock:
            if self._catalogue is None:
                self._catalogue = Catalogue(self._ledger, self._config)
            lines = inventory.lines(self._ledger, self._catalogue)
        with self._ledger.read() as tx:
            used = {use.digest: use for use in reading.models_used(tx, limit=_USED_MAX)}
        cards = [
            Card(line=line, used=used.get(line.digest), reasons=inventory.faults_of(line)) for line in lines
        ]
        return cards, self._catalogue.faults

    def releases(self) -> list[Assigned]:
        """Return the releases that a registry assigned and that are not simply there, with who is asked."""
        asks = self._config.registry.consent
        with self._ledger.read() as tx:
            return [
                Assigned(
                    passage=passage,
                    consent=(given := controls.consent_to(tx, passage.digest)),
                    asks=asks and given is None and passage.activated_at is None,
                )
                for passage in passages.under_way(tx)
                if passage.sentence
            ]

    def holds(self, *, at: float) -> list[controls.Control]:
        """Return what people at the site hold or keep at a version now."""
        with self._ledger.read() as tx:
            return controls.everything(tx, at=at)

    def beside(self) -> agreement.Report:
        """Return what runs and ran beside other versions, and how far each two agree."""
        with self._ledger.read() as tx:
            return agreement.report(tx)

    def history(self) -> list[tuple[Event, str, Tone]]:
        """Return what happened to versions, newest first, each with its sentence."""
        with self._ledger.read() as tx:
            happened = reading.recent_events(tx, _EVENTS_LOOKED_AT, without=("console.viewed",))
        told = [event for event in happened if event.word.startswith(_TOLD_HERE)][:_HISTORY_MAX]
        return [(event, *tell(event)) for event in told]
