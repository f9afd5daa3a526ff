"""Read what people said of the box's results, from the documents that workstations store back (IHE AIRA).

Promises: a bounded step each turn; a document that is read again, after a kill say, gives the same rows;
what cannot be read or told is one line of the study's timeline.
Never: runs a model, reopens a study, or keeps who judged.
"""

from __future__ import annotations

import secrets

from appliance.assemble.document import Document, Unreadable, read_document
from appliance.assemble.limits import DEFAULT, ReadingLimits
from appliance.assemble.verdict import Own, Said, Unclear, judge
from appliance.core import log
from appliance.core.instance import Location
from appliance.core.words import short
from appliance.ledger import assessments
from appliance.ledger.assessments import Assessment, Paper
from appliance.ledger.engine import Ledger
from appliance.ledger.reading import LedgerFault
from appliance.ledger.results import ResultObject
from appliance.spool.store import Spool

_log = log.get("assemble")
_REPORTS = "1.2.840.10008.5.1.4.1.1.88."


class Assessor:
    """Looks at the documents that came since it last looked.

    How far it looked is only remembered, not kept: a new process looks at everything whose bytes are here.
    """

    def __init__(self, ledger: Ledger, kept: Spool, *, limits: ReadingLimits = DEFAULT) -> None:
        self._ledger, self._kept, self._limits = ledger, kept, limits
        self._after: int | None = None
        # Documents near the newest one that were read already and made no row.
        self._known: set[int] = set()

    def turn(self) -> int:
        """Read some documents; return how many rows were made."""
        papers, after = self._look()
        made = sum(self._read(paper) for paper in papers)
        self._after = after
        self._known = {each for each in self._known | {p.id for p in papers} if each > after}
        return made

    def _look(self) -> tuple[list[Paper], int]:
        """Return the next documents, and after which id the next look begins."""
        limits = self._limits
        with self._ledger.read() as tx:
            after = assessments.oldest_readable(tx) if self._after is None else self._after
            last = assessments.newest(tx)
            until = min(last, after + limits.rows_per_turn_max)
            # Those that are known may fill a batch: it holds as many more.
            found = assessments.unread(
                tx, after=after, until=until, limit=limits.documents_per_turn_max + len(self._known)
            )
        fresh = [paper for paper in found if paper.id not in self._known][: limits.documents_per_turn_max]
        if len(fresh) == limits.documents_per_turn_max:
            until = fresh[-1].id
        return fresh, max(after, min(until, last - limits.rows_again))

    def _read(self, paper: Paper) -> int:
        try:
            return self._record(paper, self._said(paper))
        except Unclear as unclear:
            self._set_aside(paper, assessments.UNCLEAR, str(unclear))
        except Unreadable as unreadable:
            self._set_aside(paper, assessments.UNREADABLE, str(unreadable))
        except OSError:
            self._set_aside(paper, assessments.UNREADABLE, "its bytes cannot be read from the disk")
        except LedgerFault:
            raise
        except Exception as error:  # noqa: BLE001 - the conductor's main loop: one document must not end it
            incident, kind = secrets.token_hex(4), type(error).__name__
            _log.error("assessment.fault", incident=incident, error=kind, where=log.where(error))
            reason = f"an unforeseen {kind}, incident {incident}; report it"
            self._set_aside(paper, assessments.UNREADABLE, reason)
        return 0

    def _said(self, paper: Paper) -> list[Said]:
        document = self._document(paper.instance.location, paper.instance.transfer_syntax_uid)
        with self._ledger.read() as tx:
            mine = assessments.objects_of_study(
                tx, paper.instance.study_uid, limit=self._limits.own_objects_max
            )
        # Only what is compared with the box's reports needs them read.
        compared = bool(document.groups or document.predecessors)
        return judge(document, [self._own(item, compared=compared) for item in mine])

    def _own(self, item: ResultObject, *, compared: bool) -> Own:
        document = None
        if compared and item.sop_class_uid.startswith(_REPORTS):
            try:
                document = self._document(item.location, item.transfer_syntax_uid)
            except (Unreadable, OSError) as error:
                _log.warning("assessment.own_unreadable", object=item.id, error=type(error).__name__)
        return Own(result_id=item.result_id, sop_instance_uid=item.sop_instance_uid, document=document)

    def _document(self, location: Location, transfer_syntax_uid: str) -> Document:
        if location.length > self._limits.document_bytes_max:
            raise Unreadable(f"it is larger than {self._limits.document_bytes_max} bytes")
        return read_document(self._kept.read(location), transfer_syntax_uid, self._limits)

    def _record(self, paper: Paper, said: list[Said]) -> int:
        rows = [
            Assessment(
                result_id=entry.result_id,
                study_uid=paper.instance.study_uid,
                sop_instance_uid=paper.instance.sop_instance_uid,
                judgement=entry.judgement,
                tracking_uid=entry.tracking_uid,
                calling_ae=paper.calling_ae,
                assessed_at=paper.received_at,
            )
            for entry in said
        ]
        if not rows:
            return 0
        with self._ledger.write() as tx:
            made = assessments.record(tx, rows, at=self._ledger.clock.now())
        _log.info("assessment.read", study=short(paper.instance.study_uid), rows=made)
        return made

    def _set_aside(self, paper: Paper, word: str, reason: str) -> None:
        with self._ledger.write() as tx:
            new = assessments.set_aside(tx, word, paper, reason=reason, at=self._ledger.clock.now())
        if new:
            _log.warning(word, study=short(paper.instance.study_uid), reason=reason)
