"""Compare what a PACS has with what arrived, and fetch what never did.

Promises: what is on its way is left alone for a time of grace; one study is fetched at a time; after a fetch
that did not bring everything the next waits longer and longer. Results of this box, and objects that are no
images, are not missed. Nothing is concluded from silence.
Never: talks to the network itself, or decides what a study is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from appliance.assemble import given_up
from appliance.assemble.named import note_what_never_came
from appliance.assemble.turns import one_by_one
from appliance.core import log
from appliance.core.clock import as_datetime
from appliance.core.config import Reconcile
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import StudyState, short
from appliance.ledger import missing, studies
from appliance.ledger.engine import Ledger
from appliance.ledger.missing import Missed, MissedState
from appliance.ledger.returned import is_derived
from dicom_node.find import FoundInstance, FoundStudy
from dicom_node.move import Moved

_log = log.get("assemble")
# PS3.3 C.7.3.1.1.1, for a PACS that does not name the SOP class of an instance.
_WITHOUT_IMAGES = frozenset(
    ("AU", "DOC", "ECG", "HD", "KO", "PLAN", "PR", "REG", "RTDOSE", "RTPLAN", "RTSTRUCT", "RWV", "SEG", "SR")
)
# A study's date is in the PACS's own time, which may be half a day from ours either way.
_ELSEWHERE = timedelta(hours=14)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What may be asked of one PACS; None where it did not answer.

    Attributes:
        studies: first day and last day -> the studies of these days.
        instances: Study Instance UID -> its instances, of the modalities that are asked for.
        everything: Study Instance UID -> all its instances, results among them.
        fetch: Study and Series Instance UIDs -> what became of having them sent here.
    """

    studies: Callable[[date, date], Sequence[FoundStudy] | None]
    instances: Callable[[str], Sequence[FoundInstance] | None]
    everything: Callable[[str], Sequence[FoundInstance] | None]
    fetch: Callable[[str, Sequence[str]], Moved]


class Reconciler:
    """Looks at one PACS, and looks after what it has and the box has not."""

    def __init__(
        self, ledger: Ledger, section: Reconcile, peer: str, archive: Archive, limits: Limits = DEFAULT
    ) -> None:
        self._ledger, self._section, self._peer, self._archive = ledger, section, peer, archive
        self._limits = limits
        # Study -> the count with which nothing of it was absent: it is not asked for instances again.
        self._fine: dict[str, int | None] = {}

    def look(self, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Ask what the PACS has of the last days and note what is absent here; say whether it answered.

        And ask whether it has what it is said not to have taken.
        """
        now = as_datetime(self._ledger.clock.now())
        first = now - timedelta(hours=self._section.hours_back) - _ELSEWHERE
        found = self._archive.studies(first.date(), (now + _ELSEWHERE).date())
        if found is None:
            return False
        was, self._fine = self._fine, {}
        for study in found:
            if stopping():
                return False
            if study.instances is not None and was.get(study.study_uid) == study.instances:
                self._fine[study.study_uid] = study.instances
            else:
                self._compare(study)
        with self._ledger.write() as tx:
            missing.looked(tx, self._peer, studies=len(found), at=self._ledger.clock.now())
        _log.info("reconcile.looked", peer=self._peer, studies=len(found))
        given_up.look(
            self._ledger,
            self._peer,
            self._archive.everything,
            hours_back=self._section.hours_back,
            limits=self._limits,
            stopping=stopping,
        )
        return True

    def _compare(self, study: FoundStudy) -> None:
        """Note a study of which something is absent; one with fewer images there than here is fine."""
        with self._ledger.read() as tx:
            had = missing.images_had(tx, study.study_uid)
        if study.instances is None or had < study.instances:
            there = self._archive.instances(study.study_uid)
            if there is None:
                return
            if lacking := self._lacking(there):
                self._note(study.study_uid, len(lacking))
                return
        self._fine[study.study_uid] = study.instances

    def _note(self, study_uid: str, absent: int) -> None:
        now = self._ledger.clock.now()
        due_at = now + self._section.grace_minutes * 60
        with self._ledger.write() as tx:
            missing.note(tx, self._peer, study_uid, absent=absent, at=now, due_at=due_at)
        _log.info("reconcile.absent", peer=self._peer, study=short(study_uid), absent=absent)

    def turn(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Look after what is due, one study after the other; return how many were fetched.

        What the PACS itself announced and never came is due too.
        """
        note_what_never_came(self._ledger, self._peer, grace_seconds=self._section.grace_minutes * 60)
        with self._ledger.read() as tx:
            due = missing.due(tx, self._peer, at=self._ledger.clock.now())
        return one_by_one(due, self._look_after, stopping)

    def _look_after(self, row: Missed) -> bool:
        """Ask once more what is there, and fetch what is still absent; say whether something was fetched."""
        there = self._archive.instances(row.study_uid)
        if there is None:
            self._put_off(row, self._ledger.clock.now() + self._limits.reconcile_backoff_seconds)
            return False
        lacking = self._lacking(there)
        if not lacking:
            self._end(row, gone=not there)
            return False
        wait_until = self._not_before(row)
        if wait_until > self._ledger.clock.now():
            self._put_off(row, wait_until)
            return False
        self._fetch(row, lacking)
        return True

    def _not_before(self, row: Missed) -> float:
        """Return when the study may be fetched: after its back-off, and not while it still arrives."""
        if row.tried_at is not None:
            return row.tried_at + self._backoff_seconds(row.tries)
        with self._ledger.read() as tx:
            study = studies.find(tx, row.study_uid)
        if study is None or study.state is not StudyState.GATHERING:
            return 0.0
        return study.last_at + self._section.grace_minutes * 60

    def _fetch(self, row: Missed, lacking: Sequence[FoundInstance]) -> None:
        """Have the series sent that something is absent of; whether it came is seen at the next turn."""
        with self._ledger.write() as tx:
            missing.is_missed(tx, row, absent=len(lacking), at=self._ledger.clock.now())
        _log.warning("reconcile.missed", peer=self._peer, study=short(row.study_uid), absent=len(lacking))
        moved = self._archive.fetch(row.study_uid, sorted({one.series_uid for one in lacking}))
        now = self._ledger.clock.now()
        check_at = now + self._limits.reconcile_check_seconds
        with self._ledger.write() as tx:
            missing.tried(tx, row, word=moved.word, failed=moved.failed, at=now, due_at=check_at)

    def _end(self, row: Missed, *, gone: bool) -> None:
        fetched = MissedState.FETCHED if row.tries else MissedState.ARRIVED
        state = MissedState.GONE if gone else fetched
        with self._ledger.write() as tx:
            missing.end(tx, row, state, at=self._ledger.clock.now())
        _log.info(f"reconcile.{state.lower()}", peer=self._peer, study=short(row.study_uid), tries=row.tries)

    def _put_off(self, row: Missed, due_at: float) -> None:
        with self._ledger.write() as tx:
            missing.put_off(tx, row, due_at=due_at)

    def _lacking(self, there: Sequence[FoundInstance]) -> list[FoundInstance]:
        """Return the images among the instances that were never kept here."""
        images = [one for one in there if not _is_without_image(one)]
        with self._ledger.read() as tx:
            absent = missing.absent(tx, [one.sop_instance_uid for one in images])
        return [one for one in images if one.sop_instance_uid in absent]

    def _backoff_seconds(self, tries: int) -> float:
        limits = self._limits
        grown = limits.reconcile_backoff_seconds * 2.0 ** min(tries - 1, 16)
        return float(min(grown, limits.reconcile_backoff_seconds_max))


def _is_without_image(one: FoundInstance) -> bool:
    return is_derived(one.sop_class_uid) if one.sop_class_uid else one.modality in _WITHOUT_IMAGES
