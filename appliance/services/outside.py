"""What the health service asks other rooms for: how releases stand, and when certificates and lists end.

Promises: what cannot be read is left out; it never stops the look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from appliance.core.config import Config
from appliance.health.reporter import Outside, Standing
from appliance.ledger import passages, reading, versions
from appliance.ledger.engine import Ledger, Tx
from appliance.sync.identity import CERTIFICATE_FILE
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import DIRECTOR, IMAGE
from appliance.sync.standing import registry_folder

_DAY_SECONDS = 86_400
_BYTES_MAX = 1_000_000
_USED_MAX = 64


@dataclass(frozen=True, kw_only=True)
class OutsideOf:
    """Asks for one box; called once a look."""

    ledger: Ledger
    config: Config

    def __call__(self) -> Outside:
        """Return what is known at this moment."""
        now = self.ledger.clock.now()
        with self.ledger.read() as tx:
            standings = tuple(_standings(tx).values())
        return Outside(
            standings=standings,
            certificates=dict(_certificates(self.config, now)),
            lists=dict(_lists(self.config, now)),
        )


def _standings(tx: Tx) -> dict[str, Standing]:
    """Return how each release stands: those that came by the registry, and what serves beside them."""
    active = {row.digest: row for row in versions.active(tx).values()}
    found: dict[str, Standing] = {}
    for row in sorted(passages.everything(tx), key=lambda row: row.phase_at):
        serving = row.digest in active
        since = active[row.digest].activated_at if serving else None
        found[row.digest] = Standing(
            digest=row.digest, phase=row.phase, reason=_code(row.word), serving=serving, since=since
        )
    for digest, version in active.items():
        if digest not in found:
            found[digest] = _serves(digest, version.activated_at)
    for digest in _shipped(tx, {version.name for version in active.values()}):
        if digest not in found:
            found[digest] = _serves(digest, None)
    return found


def _shipped(tx: Tx, named: set[str]) -> list[str]:
    """Return the packages that serve by being there: no version of their name was ever activated."""
    newest = {use.name: use.digest for use in reversed(reading.models_used(tx, limit=_USED_MAX))}
    return [digest for name, digest in newest.items() if name not in named]


def _serves(digest: str, since: float | None) -> Standing:
    return Standing(digest=digest, phase=Phase.COMMITTED, reason=0, serving=True, since=since)


def _code(word: str) -> int:
    try:
        return code_of(Word(word)) if word else 0
    except (ValueError, KeyError):
        return 0


def _certificates(config: Config, now: float) -> Iterator[tuple[str, float]]:
    tls, web = config.dicom.tls, config.dicomweb.tls
    places: Mapping[str, Path | None] = {
        "the registry": config.registry.roots / CERTIFICATE_FILE,
        "DICOM": None if tls is None else tls.certificate,
        "DICOMweb": None if web is None else web.certificate,
        "the audit repository": config.audit.certificate,
    }
    for subject, path in places.items():
        if path is not None and (ends_at := _ends_at(path)) is not None:
            yield subject, (ends_at - now) / _DAY_SECONDS


def _ends_at(path: Path) -> float | None:
    try:
        with path.open("rb") as file:
            return x509.load_pem_x509_certificate(file.read(_BYTES_MAX)).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None


def _lists(config: Config, now: float) -> Iterator[tuple[str, float]]:
    """Give how long the stamps hold that this box believed last (TUF 1.0.33, 4.4, `expires`)."""
    for repository in (IMAGE, DIRECTOR):
        path = registry_folder(config.storage.root) / "trust" / repository / "timestamp.json"
        try:
            with path.open("rb") as file:
                expires = json.loads(file.read(_BYTES_MAX))["signed"]["expires"]
            ends_at = datetime.fromisoformat(expires).timestamp()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        yield repository, (ends_at - now) / _DAY_SECONDS
