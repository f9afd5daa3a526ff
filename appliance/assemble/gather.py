"""Move studies along: measure quiet series, find complete studies, hold those of a doubtful patient."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from appliance.assemble.attributes import read_attributes, read_header
from appliance.assemble.ready import Gathering, judge, next_due, quiet_series
from appliance.assemble.said import Said
from appliance.assemble.spare import spared
from appliance.core import log
from appliance.core.config import Assembly
from appliance.core.crash import crash_here
from appliance.core.geometry import facts_for_routes
from appliance.core.instance import Instance
from appliance.core.words import StudyState, short
from appliance.ledger import studies
from appliance.ledger.engine import Ledger, Tx
from appliance.spool.store import Spool

_log = log.get("assemble")
TWO_PATIENTS = (
    "its instances name more than one patient; settle this in the PACS, send it again, then `readside retry`"
)
WRONG_ENTRY = (
    "the modality says that the wrong worklist entry was selected, so its images may be of another patient;"
    " settle this in the PACS, then `readside retry`"
)


def digest_of(found: Sequence[Instance]) -> str:
    """Return the digest of a set of instances: which UIDs, and which bytes under each."""
    lines = sorted(f"{i.series_uid} {i.sop_instance_uid} {i.digest}" for i in found)
    return f"sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


class Gatherer:
    """Looks at every gathering study once a turn."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        assembly: Assembly,
        *,
        listening_since: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        self._ledger, self._spool, self._assembly = ledger, spool, assembly
        self._listening_since = listening_since
        self._said = Said()
        # When the next turn may find something to do, as of the last one; arrivals only ever put it off.
        self.next_due_at = -math.inf

    def turn(self) -> int:
        """Take every gathering study as far as it goes now; return how many became ready."""
        # Asked before the rows are read: a listener that dies in between has let nothing through unseen.
        listening_since = self._listening_since()
        now = self._ledger.clock.now()
        with self._ledger.read() as tx:
            gathering = [
                self._stand(tx, study, listening_since, now)
                for study in studies.in_state(tx, StudyState.GATHERING)
            ]
        self._said.keep_only([one.study.study_uid for one in gathering])
        became_ready = sum(self._spared(one, now) for one in gathering)
        self.next_due_at = min((next_due(one, self._assembly, now) for one in gathering), default=math.inf)
        return became_ready

    def _stand(self, tx: Tx, study: studies.Study, listening_since: float, now: float) -> Gathering:
        kept = studies.count_of(tx, study.study_uid)
        is_late = now >= study.gathering_since + self._assembly.deadline_seconds
        return Gathering(
            study=study,
            series=studies.series_of(tx, study.study_uid),
            kept=kept,
            listening_since=listening_since,
            # Whatever is missing then is told as it is.
            announced=self._said.about(tx, study.study_uid, kept=kept, at=now, anew=is_late),
        )

    def _spared(self, gathering: Gathering, now: float) -> bool:
        return spared(self._ledger, gathering.study, lambda: self._look_at(gathering, now), otherwise=False)

    def _look_at(self, gathering: Gathering, now: float) -> bool:
        for series in quiet_series(gathering, self._assembly, now):
            self._measure(series, now)
        reason = judge(gathering, self._assembly, now)
        return reason is not None and self._make_ready(gathering, reason, now)

    def _measure(self, series: studies.Series, now: float) -> None:
        """Measure a series and write its facts, unless something arrived for it meanwhile."""
        with self._ledger.read() as tx:
            found = studies.instances_of(tx, series.study_uid, series.series_uid)
        facts = series_facts(found, self._spool)
        with self._ledger.write() as tx:
            studies.complete_series(tx, series, facts=facts, at=now)

    def _make_ready(self, gathering: Gathering, reason: str, now: float) -> bool:
        study = gathering.study
        with self._ledger.read() as tx:
            unmeasured = [s for s in studies.series_of(tx, study.study_uid) if s.facts is None]
        for series in unmeasured:
            self._measure(series, now)
        with self._ledger.write() as tx:
            found = studies.instances_of(tx, study.study_uid)
            doubt = _doubt(gathering, found)
            if doubt is not None:
                word, held_for = doubt
                done = studies.hold(tx, study, reason=held_for, at=now)
            else:
                word = "assemble.ready"
                done = studies.ready(
                    tx,
                    study,
                    content_digest=digest_of(found),
                    instance_count=len(found),
                    reason=reason,
                    at=now,
                )
        crash_here("study-ready")
        if done:
            _log.info(word, study=short(study.study_uid), instances=len(found))
        return done and word == "assemble.ready"


def _doubt(gathering: Gathering, found: Sequence[Instance]) -> tuple[str, str] | None:
    """Return the log word and the reason why nobody knows whose study this is, if so."""
    if len(studies.distinct_identities(found)) > 1:
        return "assemble.identity_conflict", TWO_PATIENTS
    return ("assemble.wrong_entry", WRONG_ENTRY) if gathering.announced.wrong_entry else None


def series_facts(found: Sequence[Instance], spool: Spool) -> dict[str, Any]:
    """Return a series' variables for a route: one header's attributes and what was measured over all.

    Where the header can no longer be read, what was read of it on arrival stands in:
    a route must not pass a series over because its bytes are gone.
    """
    if not found:
        return {}
    example = found[len(found) // 2]
    measured = facts_for_routes(found, header_of=lambda instance: read_header(instance, spool))
    return {**example.facts, **read_attributes(example, spool), **measured}
