"""Hand the trail to a repository, in order and from where it was left, whatever died in between.

Promises: nothing is skipped; what was sent twice after a crash carries the same time and text; a repository
that is away holds up nothing but its own queue.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from appliance.audit import syslog
from appliance.audit.limits import DEFAULT, Limits
from appliance.audit.syslog import Line, Repository
from appliance.core import log
from appliance.ledger import audit as rows
from appliance.ledger.engine import Ledger

_log = log.get("audit")


@dataclass
class Shipper:
    """Sends what a repository lacks."""

    ledger: Ledger
    repository: Repository
    host: str
    limits: Limits = DEFAULT

    def behind(self) -> int:
        """Return how many rows the repository lacks."""
        with self.ledger.read() as tx:
            head = rows.head(tx)
            return (head[0] if head else 0) - rows.shipped(tx, self.repository.name)

    def turn(self) -> int:
        """Send everything that waits, batch by batch, each recorded when it was handed over.

        Returns how many rows were sent.

        Raises:
            NotHandedOver: the repository is away or does not take it; what was recorded stays sent.
        """
        if not self.behind():
            return 0
        sent = 0
        with syslog.line_to(self.repository, self.limits) as line:
            while count := self._send_batch(line):
                sent += count
        return sent

    def _send_batch(self, line: Line) -> int:
        with self.ledger.read() as tx:
            after = rows.shipped(tx, self.repository.name)
            batch = rows.rows_after(tx, after, limit=self.limits.ship_rows_max)
        if not batch:
            return 0
        line.send([self._packet(row.seq, row.at, row.body, row.hash) for row in batch])
        with self.ledger.write() as tx:
            rows.note_shipped(tx, self.repository.name, batch[-1].seq, at=self.ledger.clock.now())
        _log.info("audit.shipped", rows=len(batch), last=batch[-1].seq)
        return len(batch)

    def _packet(self, seq: int, at: float, body: str, hash: str) -> bytes:
        made = syslog.packet(body, at=at, host=self.host, application="readside")
        if len(made) <= self.limits.message_bytes_max:
            return made
        # A study of hundreds of SOP classes does not exist; if one does, the repository gets the row's place.
        _log.error("audit.message_too_large", row=seq, bytes=len(made))
        short = json.dumps({"row": seq, "hash": hash, "fault": "the message is larger than may be sent"})
        return syslog.packet(short, at=at, host=self.host, application="readside")
