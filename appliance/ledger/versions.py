"""Versions of models: what was installed on this box, which one serves a name, and why others do not.

Promises: at most one version of a name is active, held by the database itself; an activation is one
transaction, so there is no moment at which none or two serve; a version number means one digest for ever.
Never: deletes a row. A version whose files were removed keeps its history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.ledger import comparisons, events, shadows
from appliance.ledger.engine import Tx
from appliance.ledger.states import VERSION, VersionState
from appliance.ledger.tables import jobs, model_versions

_CHECKING = (VersionState.BUILDING, VersionState.VERIFYING)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One row of `model_versions`; times in epoch seconds.

    Attributes:
        digest: "sha256:<hex>" of the package; empty where it could not be opened.
        source: the name of the file or folder that it was installed from.
        evidence: JSON values: what was checked, on which engine, and what was refused and why.
        former_digest: what served the name until this version was activated.
        moves: how often the row changed.
        removed_at: since when its files are gone from the box.
    """

    id: int
    name: str
    version: str
    digest: str
    state: VersionState
    source: str
    evidence: Mapping[str, Any]
    former_digest: str | None
    moves: int
    fetched_at: float
    changed_at: float
    activated_at: float | None
    removed_at: float | None

    @property
    def here(self) -> bool:
        """Say whether its files are kept on this box."""
        return self.state is not VersionState.REJECTED and self.removed_at is None


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A package that a command brought: what it says it is, and where it came from."""

    name: str
    version: str
    digest: str
    source: str


class OtherDigest(Exception):
    """The version's number is taken by other bytes."""

    def __init__(self, arrival: Arrival, here: str) -> None:
        """Keep the digest that has the number."""
        super().__init__(
            f"{arrival.name} {arrival.version} is on this box already with the digest {here};"
            f" this package has {arrival.digest}: give it another version"
        )


class Overtaken(Exception):
    """Another command changed the version meanwhile."""


class StillNeeded(Exception):
    """The version's files may not be removed."""


def mark(tx: Tx) -> int:
    """Return a number that changes whenever any version changed; it costs one small query."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.sum(model_versions.c.moves), 0))).scalar_one())


def everything(tx: Tx) -> list[Version]:
    """Return every version that was ever brought here, by name, the newest arrival of a name first."""
    return _listed(tx, sa.select(model_versions).order_by(model_versions.c.name, model_versions.c.id.desc()))


def active(tx: Tx) -> dict[str, Version]:
    """Return the active version of each name that has one."""
    query = sa.select(model_versions).where(model_versions.c.state == VersionState.ACTIVE)
    return {version.name: version for version in _listed(tx, query)}


def find(tx: Tx, name: str, version: str) -> Version | None:
    """Return the version that has this number; a rejected one only if no other has it."""
    query = (
        sa.select(model_versions)
        .where(model_versions.c.name == name, model_versions.c.version == version)
        .order_by(model_versions.c.state == VersionState.REJECTED, model_versions.c.id.desc())
    )
    return next(iter(_listed(tx, query)), None)


def of_digest(tx: Tx, digest: str) -> Version | None:
    """Return the version of a digest."""
    return next(iter(_listed(tx, sa.select(model_versions).where(model_versions.c.digest == digest))), None)


def taken_by(tx: Tx, arrival: Arrival) -> str | None:
    """Return the other digest that has an arrival's version number; what was rejected has none."""
    found = find(tx, arrival.name, arrival.version)
    if found is None or found.state is VersionState.REJECTED or found.digest == arrival.digest:
        return None
    return found.digest


def fetched(tx: Tx, arrival: Arrival, *, evidence: Mapping[str, Any], at: float, by: str) -> Version:
    """Record a package that was checked and lies on the box; one that was rejected or removed comes back.

    Raises:
        OtherDigest: the version's number belongs to other bytes.
    """
    assert arrival.digest, "what cannot be named is not fetched"
    if (other := taken_by(tx, arrival)) is not None:
        raise OtherDigest(arrival, other)
    row = _known(tx, arrival)
    if row is None:
        row = _insert(tx, arrival, VersionState.FETCHED, evidence, at)
    else:
        row = _move(
            tx, row, VersionState.FETCHED, at, evidence=dict(evidence), source=arrival.source, removed_at=None
        )
    _tell(tx, "model.installed", row, at=at, by=by, source=arrival.source)
    return row


def refused(tx: Tx, arrival: Arrival, *, evidence: Mapping[str, Any], at: float, by: str) -> Version:
    """Record a package that was refused at the door; the same one again replaces its evidence.

    One that was here once and removed stays retired: what it did before is not undone.
    """
    known = _known(tx, arrival)
    if known is None:
        row = _insert(tx, arrival, VersionState.REJECTED, evidence, at)
    else:
        row = _change(tx, known, at, evidence=dict(evidence), source=arrival.source)
    _tell(tx, "model.refused", row, at=at, by=by, source=arrival.source)
    return row


def building(tx: Tx, version: Version, *, at: float) -> Version:
    """Say that its engine is being built."""
    return _move(tx, version, VersionState.BUILDING, at)


def verifying(tx: Tx, version: Version, *, at: float) -> Version:
    """Say that its golden cases are being held against the engine."""
    return _move(tx, version, VersionState.VERIFYING, at)


def activated(
    tx: Tx,
    version: Version,
    *,
    evidence: Mapping[str, Any],
    former_digest: str | None,
    at: float,
    by: str,
    word: str = "model.activated",
) -> Version:
    """Let a verified version serve its name, and retire the one that did, in this one transaction.

    If it was the shadow of its name, it is none any more.

    Raises:
        Overtaken: another command changed this version, or activated another of the name.
    """
    serving = active(tx).get(version.name)
    if serving is not None:
        _move(tx, serving, VersionState.RETIRED, at)
    try:
        row = _move(
            tx,
            version,
            VersionState.ACTIVE,
            at,
            evidence={**version.evidence, **evidence},
            former_digest=former_digest,
            activated_at=at,
        )
    except sa.exc.IntegrityError as error:
        raise Overtaken(f"another version of {version.name} was activated meanwhile") from error
    _tell(tx, word, row, at=at, by=by, instead_of=serving and serving.version)
    beside = shadows.running(tx).get(row.name)
    if beside is not None and beside.digest == row.digest:
        comparisons.stop(tx, beside, reason="shadow.activated", by=by, at=at)
    return row


def passed(tx: Tx, version: Version, *, evidence: Mapping[str, Any], at: float) -> Version:
    """Put a version that passed on this device back where it was: it runs beside, and does not serve."""
    to = VersionState.FETCHED if version.activated_at is None else VersionState.RETIRED
    return _move(tx, version, to, at, evidence={**version.evidence, **evidence})


def returned(tx: Tx, version: Version, former: Version, *, at: float, by: str, reason: str) -> Version:
    """Let the version serve again that did before, because this one does badly; neither is checked anew.

    Raises:
        Overtaken: another command changed one of them, or the files of the former are gone.
    """
    if not former.here or former.state is not VersionState.RETIRED:
        raise Overtaken(f"{former.name} {former.version} is not on this box any more")
    _move(tx, version, VersionState.RETIRED, at)
    row = _move(tx, former, VersionState.ACTIVE, at, activated_at=at)
    _tell(tx, "model.returned", row, at=at, by=by, instead_of=version.version, reason=reason)
    return row


def failed(tx: Tx, version: Version, *, evidence: Mapping[str, Any], at: float, by: str) -> Version:
    """Record that a version did not pass on this device: rejected, or retired as before if it once served."""
    to = VersionState.REJECTED if version.activated_at is None else VersionState.RETIRED
    row = _move(tx, version, to, at, evidence={**version.evidence, **evidence})
    _tell(tx, "model.rejected", row, at=at, by=by)
    return row


def retired(tx: Tx, version: Version, *, at: float, by: str) -> Version:
    """Stop serving with a version; whatever else there is under its name serves again."""
    row = _move(tx, version, VersionState.RETIRED, at)
    _tell(tx, "model.retired", row, at=at, by=by)
    return row


def gave_way(
    tx: Tx, version: Version, to: Arrival, *, at: float, by: str, reason: str | None = None
) -> Version:
    """Retire a version in favour of what served before without being installed.

    A person went back to it; or the box did so by itself, and says the reason.
    """
    row = _move(tx, version, VersionState.RETIRED, at)
    word = "model.rolled_back" if reason is None else "model.returned"
    _tell(tx, word, to, at=at, by=by, instead_of=row.version, reason=reason)
    return row


def removed(tx: Tx, version: Version, *, at: float, by: str) -> Version:
    """Record that a version's files go; nothing that waits may still need them.

    Raises:
        StillNeeded: it serves, it is being checked, or jobs that name it wait or run.
    """
    if version.state in (VersionState.ACTIVE, *_CHECKING):
        raise StillNeeded(f"{version.name} {version.version} is {version.state}: retire it first")
    if shadows.uses(tx, version.digest):
        raise StillNeeded(
            f"{version.name} {version.version} runs as a shadow: `readside model shadow stop {version.name}`"
        )
    waiting = waiting_jobs(tx, version.digest)
    if waiting:
        raise StillNeeded(
            f"{waiting} jobs still wait for {version.name} {version.version}: remove it when they have ended"
        )
    if version.state is VersionState.FETCHED:
        version = _move(tx, version, VersionState.RETIRED, at)
    row = _change(tx, version, at, removed_at=at)
    _tell(tx, "model.removed", row, at=at, by=by)
    return row


def repaired(tx: Tx, version: Version, *, at: float, by: str) -> Version:
    """Record that a version's files were put right from its package: whoever serves with it looks anew."""
    row = _change(tx, version, at)
    _tell(tx, "model.repaired", row, at=at, by=by)
    return row


def waiting_jobs(tx: Tx, digest: str) -> int:
    """Count the jobs that name a digest and have not ended."""
    query = sa.select(sa.func.count()).where(
        jobs.c.model_digest == digest, jobs.c.state.in_((JobState.WAITING, JobState.LEASED))
    )
    return int(tx.execute(query).scalar_one())


def release_interrupted(tx: Tx, *, at: float) -> list[Version]:
    """Put versions back whose check was cut off: their command is dead, or this one would not be running."""
    rows = _listed(tx, sa.select(model_versions).where(model_versions.c.state.in_(_CHECKING)))
    back = [
        _move(tx, row, VersionState.FETCHED if row.activated_at is None else VersionState.RETIRED, at)
        for row in rows
    ]
    for row in back:
        _tell(tx, "model.interrupted", row, at=at)
    return back


def _known(tx: Tx, arrival: Arrival) -> Version | None:
    query = sa.select(model_versions).where(
        model_versions.c.name == arrival.name,
        model_versions.c.version == arrival.version,
        model_versions.c.digest == arrival.digest,
    )
    return next(iter(_listed(tx, query)), None)


def _insert(tx: Tx, arrival: Arrival, state: VersionState, evidence: Mapping[str, Any], at: float) -> Version:
    values = vars(arrival) | {"state": state, "evidence": dict(evidence), "moves": 1}
    times = {"fetched_at": at, "changed_at": at}
    return _listed(tx, model_versions.insert().values(**values, **times).returning(*model_versions.c))[0]


def _move(tx: Tx, version: Version, to: VersionState, at: float, **values: Any) -> Version:
    assert to in VERSION[version.state], f"{version.state} -> {to} is not in the table"
    return _change(tx, version, at, state=to, **values)


def _change(tx: Tx, version: Version, at: float, **values: Any) -> Version:
    """Change a row unless it changed since it was read."""
    statement = (
        sa.update(model_versions)
        .where(model_versions.c.id == version.id, model_versions.c.moves == version.moves)
        .values(moves=version.moves + 1, changed_at=at, **values)
        .returning(*model_versions.c)
    )
    changed = _listed(tx, statement)
    if not changed:
        raise Overtaken(f"another command changed {version.name} {version.version} meanwhile")
    return changed[0]


def _tell(tx: Tx, word: str, version: Version | Arrival, *, at: float, **detail: Any) -> None:
    told = {"model": version.name, "version": version.version, "digest": version.digest}
    events.add(tx, word, at=at, **told, **detail)


def _listed(tx: Tx, query: Any) -> list[Version]:
    rows = tx.execute(query)
    return [Version(**{**row._mapping, "state": VersionState(row.state)}) for row in rows]
