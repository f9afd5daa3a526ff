"""A stand-in PACS: it answers C-ECHO and C-STORE on loopback and writes what it gets to a folder.

Its own journal, not the box's word, says what arrived; tests and the benchmark judge by it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.spool.record import as_file
from dicom_node.commit_desk import Steward
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.memory import Held, MemoryIntake
from dicom_node.values import AeTitle, Peer


@dataclass(frozen=True, kw_only=True)
class Came:
    """One instance the stand-in took, and when on the monotonic clock."""

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    modality: str
    series_description: str
    digest: str
    path: Path
    at: float


@dataclass
class StandInPacs:
    """The stand-in; every arrival is a line in its journal, doubles too."""

    folder: Path
    ae_title: str
    peers: Sequence[str]
    journal: list[Came] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _listener: Listener | None = None
    # Who commits what came, where it does.
    steward: Steward | None = field(default=None, kw_only=True)

    def start(self, port: int = 0) -> int:
        """Listen on loopback; return the port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = [
            Peer(
                name=f"peer{i}",
                ae_title=AeTitle.parse(title),
                host="127.0.0.1",
                port=0,
                may=frozenset({"store"}),
            )
            for i, title in enumerate(self.peers)
        ]
        self._listener = Listener(
            ae_title=self.ae_title,
            host="127.0.0.1",
            port=port,
            peers=known,
            intake=MemoryIntake(self.keep),
            limits=Limits(),
            steward=self.steward,
        )
        return self._listener.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def keep(self, arrival: Held) -> None:
        """Write one instance as a DICOM file and note it."""
        header = arrival.header
        digest = hashlib.sha256(arrival.data).hexdigest()
        with self._lock:
            path = self.folder / f"{len(self.journal):05d}.dcm"
            file = as_file(
                arrival.data,
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                transfer_syntax_uid=header.transfer_syntax_uid,
                calling_ae=arrival.calling_ae,
                at=time.time(),
            )
            path.write_bytes(file)
            self.journal.append(
                Came(
                    sop_instance_uid=header.sop_instance_uid,
                    sop_class_uid=header.sop_class_uid,
                    study_uid=header.study_uid,
                    modality=str(header.facts.get("Modality", "")),
                    series_description=str(header.facts.get("SeriesDescription", "")),
                    digest=digest,
                    path=path,
                    at=time.monotonic(),
                )
            )

    def came_for(self, study_uid: str) -> list[Came]:
        """Return what came for a study, in order."""
        with self._lock:
            return [came for came in self.journal if came.study_uid == study_uid]
