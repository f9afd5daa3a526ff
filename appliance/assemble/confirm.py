"""Ask the confirming peer how many instances a study has: a complete study need not wait for quiet."""

from __future__ import annotations

from collections.abc import Callable

from appliance.assemble.ready import ask_due
from appliance.core import log
from appliance.core.config import Assembly
from appliance.core.words import StudyState, short
from appliance.ledger import studies
from appliance.ledger.engine import Ledger

_log = log.get("assemble")
# Study Instance UID -> the peer's count, or nothing when it does not say.
Ask = Callable[[str], int | None]


class Confirmer:
    """Asks one peer about the gathering studies that are due; the answers are rows."""

    def __init__(self, ledger: Ledger, assembly: Assembly, ask: Ask) -> None:
        self._ledger, self._assembly, self._ask = ledger, assembly, ask

    def turn(self) -> int:
        """Ask about every study that is due; return how many answers were counts."""
        now = self._ledger.clock.now()
        with self._ledger.read() as tx:
            due = [s for s in studies.in_state(tx, StudyState.GATHERING) if ask_due(s, self._assembly, now)]
        return sum(self._confirm(study) for study in due)

    def _confirm(self, study: studies.Study) -> bool:
        with self._ledger.read() as tx:
            kept = studies.count_of(tx, study.study_uid)
        at = self._ledger.clock.now()
        count = self._ask(study.study_uid)
        with self._ledger.write() as tx:
            studies.asked(tx, study.study_uid, count=count, kept=kept, at=at)
        _log.info("assemble.asked", study=short(study.study_uid), kept=kept, count=count)
        return count is not None
