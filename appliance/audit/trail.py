"""Write the trail: new rows of the timeline become messages in the chain, and the chain gets checkpoints.

Promises: each row of the timeline that is told is told once, in one transaction with its place in the chain;
a turn that is never taken again loses nothing; a checkpoint in the ledger is also a file beside it.
Never: changes or removes a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from appliance.audit import checkpoint
from appliance.audit.chain import GENESIS, Row, link
from appliance.audit.checkpoint import Signer
from appliance.audit.limits import DEFAULT, Limits
from appliance.audit.message import Message, Source, encode
from appliance.audit.telling import WORDS, Scene, recording_started, signed, tell
from appliance.core import log
from appliance.core.config import Config
from appliance.core.crash import crash_here
from appliance.ledger import audit as rows
from appliance.ledger.engine import Ledger, Tx

_log = log.get("audit")
_WORDS = sorted(WORDS)


class Trail:
    """The trail of one box."""

    def __init__(self, ledger: Ledger, config: Config, signer: Signer, limits: Limits = DEFAULT) -> None:
        self._ledger, self._config, self._signer, self._limits = ledger, config, signer, limits
        self._source = Source(site_name=config.site.name, ae_title=config.dicom.ae_title)

    @property
    def folder(self) -> Path:
        """Return where the key and the checkpoints lie."""
        return checkpoint.folder_of(self._config.storage.root)

    def turn(self) -> int:
        """Tell what is new, up to a bound; return how many rows were added. They are durable on return."""
        with self._ledger.read() as tx:
            head = rows.head(tx)
            # Made before the ledger is held for writing: encoding takes long, and others wait to write.
            made = list(self._made(tx)) if head is None or self._untold(tx) else []
        if not made:
            return 0
        with self._ledger.write() as tx:
            if rows.head(tx) != head:
                return 0
            rows.add(tx, [asdict(row) for row in made])
            crash_here("audit-open")
        return len(made)

    def checkpoint(self, *, final: bool = False) -> bool:
        """Sign the newest row if it is time to, or if the trail `final`ly rests; say whether it was signed.

        The file comes first: a checkpoint of the ledger without its file would look like a lost one.
        """
        now = self._ledger.clock.now()
        with self._ledger.read() as tx:
            newest, head = rows.newest_checkpoint(tx), rows.head(tx)
        if head is None:
            return False
        # The row that tells of a checkpoint is no reason for another.
        behind = head[0] - (newest.seq + 1 if newest else 0)
        old = newest is None or now - newest.at >= self._limits.checkpoint_seconds
        if behind <= 0 or not (final or old or behind >= self._limits.rows_per_checkpoint_max):
            return False
        made = self._signer.sign(seq=head[0], at=now, hash=head[1])
        checkpoint.keep_file(self.folder, made)
        crash_here("audit-signed")
        with self._ledger.write() as tx:
            rows.add_checkpoint(tx, asdict(made))
            # The trail tells of it too, so that whoever is given the trail is given its checkpoints.
            message = signed(now, Scene(tx=tx, config=self._config), checkpoint.written(made))
            rows.add(tx, [asdict(row) for row in self._linked(tx, [(None, message)])])
        _log.info("audit.checkpoint", row=made.seq, hash=made.hash, key=made.key_id)
        return True

    def _untold(self, tx: Tx) -> list[rows.Told]:
        limits = self._limits
        return rows.untold(
            tx, _WORDS, looked_back=limits.events_looked_back, limit=limits.events_per_turn_max
        )

    def _made(self, tx: Tx) -> Iterable[Row]:
        """Make the rows to add for what is new."""
        scene = Scene(tx=tx, config=self._config)
        begun = [] if rows.head(tx) else [(None, recording_started(self._ledger.clock.now(), scene))]
        return self._linked(tx, [*begun, *((told.id, tell(told, scene)) for told in self._untold(tx))])

    def _linked(self, tx: Tx, messages: Iterable[tuple[int | None, Message]]) -> Iterable[Row]:
        """Chain messages behind the newest row, one behind the other."""
        seq, former = rows.head(tx) or (0, GENESIS)
        for event_id, message in messages:
            seq += 1
            body = encode(message, self._source)
            former = link(former, seq=seq, event_id=event_id, at=message.at, body=body)
            yield Row(seq=seq, event_id=event_id, at=message.at, body=body, hash=former)
