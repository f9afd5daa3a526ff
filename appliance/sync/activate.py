"""Change which version of a model serves: activate, roll back, retire, remove.

Promises: a version serves only after an engine of this site answered its golden cases on this device; the one
before serves until that moment, and the change itself is one transaction; a version that does not pass
changes nothing but its own row.
Never: removes what a waiting job needs, or takes the only model of a route away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.core import log
from appliance.core.packages import open_installed
from appliance.inference.engine import BuildProgress
from appliance.ledger import versions
from appliance.ledger.catalogue import Served
from appliance.ledger.states import VersionState
from appliance.ledger.versions import Arrival, Overtaken, StillNeeded, Version
from appliance.sync.box import ModelBox, Refused, Rejected
from appliance.sync.proof import Proof, Unproved, prove
from models.package import Package, PackageError

_log = log.get("models")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What serves a name now. `engine` passed the check; it is empty where nothing had to be checked."""

    name: str
    version: str
    digest: str
    engine: str = ""
    stepped_down: str | None = None


def prepare(box: ModelBox, name: str, version: str, *, progress: BuildProgress | None = None) -> None:
    """Build the engine of an installed version and hold it to its golden cases; nothing else changes.

    Raises:
        Refused: it is not here, its files were changed, or no engine passes.
        Busy: another command works on this box's models.
    """
    with box.alone():
        row = _installed(box, name, version)
        if row.state is not VersionState.ACTIVE:
            with _checked(box, row, progress) as (checked, proof), box.ledger.write() as tx:
                versions.passed(tx, checked, evidence={"prepared": proof.evidence}, at=box.now())
            _log.info("model.prepared", model=name, version=version, engine=proof.engine)


def activate(
    box: ModelBox,
    name: str,
    version: str,
    *,
    former: str | None = None,
    progress: BuildProgress | None = None,
) -> Change:
    """Let an installed version serve, after it has passed on this device.

    `former` is the digest that a way back leads to, where that is not what serves now.

    Raises:
        Refused: it is not here, its files were changed, or no engine passes.
        Busy: another command works on this box's models.
    """
    with box.alone():
        row = _installed(box, name, version)
        if row.state is VersionState.ACTIVE:
            _opened(box, row)
            return Change(name=name, version=version, digest=row.digest)
        if former is None:
            before = box.catalogue().serving().get(name)
            former = None if before is None else before.digest
        return _prove_and_serve(box, row, former, progress, word="model.activated")


def rollback(box: ModelBox, name: str, *, progress: BuildProgress | None = None) -> Change:
    """Let the version serve again that served before the active one; no network is needed.

    Raises:
        Refused: there is none to go back to, or it does not pass any more; the active one serves on.
        Busy: another command works on this box's models.
    """
    with box.alone():
        with box.ledger.read() as tx:
            active = versions.active(tx).get(name)
            former = None
            if active is not None and active.former_digest is not None:
                former = versions.of_digest(tx, active.former_digest)
        if active is None:
            raise Refused([f"no installed version of {name} is active: there is nothing to go back from"])
        # An installed copy of what ships anyway may have been activated over it.
        if former is not None and former.here and former.id != active.id:
            return _prove_and_serve(box, former, former.former_digest, progress, word="model.rolled_back")
        return _back_to_standing(box, active, progress)


def retire(box: ModelBox, name: str) -> Served | None:
    """Stop serving with the installed version; return what ships or lies in a folder under that name.

    Raises:
        Refused: none is active, or a route would be left without a model.
        Busy: another command works on this box's models.
    """
    with box.alone():
        with box.ledger.read() as tx:
            active = versions.active(tx).get(name)
        if active is None:
            raise Refused([f"no installed version of {name} is active"])
        instead = box.catalogue().serving_else().get(name)
        routes = [route.name for route in box.config.routes if route.model == name]
        if instead is None and routes:
            raise Refused([f"nothing else serves {name}, and these routes need it: {', '.join(routes)}"])
        with box.ledger.write() as tx:
            versions.retired(tx, active, at=box.now(), by=box.by)
        return instead


def remove(box: ModelBox, name: str, version: str) -> Version:
    """Remove a version's files from the box; its row stays.

    Raises:
        Refused: it serves, or jobs that name it wait.
        Busy: another command works on this box's models.
    """
    with box.alone():
        row = _installed(box, name, version)
        try:
            with box.ledger.write() as tx:
                gone = versions.removed(tx, row, at=box.now(), by=box.by)
        except StillNeeded as error:
            raise Refused([str(error)]) from error
        box.store.drop(row.digest)
        return gone


def _prove_and_serve(
    box: ModelBox, row: Version, former: str | None, progress: BuildProgress | None, *, word: str
) -> Change:
    with _checked(box, row, progress) as (checked, proof), box.ledger.write() as tx:
        served = versions.activated(
            tx,
            checked,
            evidence={"activation": proof.evidence},
            former_digest=former,
            at=box.now(),
            by=box.by,
            word=word,
        )
    _log.info(word, model=served.name, version=served.version, engine=proof.engine)
    return _changed(served.name, served.version, served.digest, proof)


@contextmanager
def _checked(box: ModelBox, row: Version, progress: BuildProgress | None) -> Iterator[tuple[Version, Proof]]:
    """Prove a version on this device; the block says what becomes of one that passed."""
    package = _opened(box, row)
    with box.ledger.write() as tx:
        check = _Check(box=box, row=versions.building(tx, row, at=box.now()))
    try:
        proof = prove(package, box.config, box.config.inference.engines, asked=check.asked, progress=progress)
        yield check.row, proof
    except Unproved as error:
        raise _failed(box, check.row, error) from error
    except Overtaken as error:
        raise Refused([str(error)]) from error
    finally:
        # Interrupted by a person: the version is again where it was.
        with box.ledger.write() as tx:
            versions.release_interrupted(tx, at=box.now())


def _back_to_standing(box: ModelBox, active: Version, progress: BuildProgress | None) -> Change:
    """Go back to a package that ships or lies in a folder, if that is what served before."""
    standing = box.catalogue().serving_else().get(active.name)
    if active.former_digest is None:
        raise Refused([f"nothing served {active.name} before; `readside model retire` ends its service"])
    if standing is None or standing.package is None or standing.digest != active.former_digest:
        raise Refused(
            [f"what served {active.name} before ({active.former_digest}) is not on this box any more"]
        )
    try:
        proof = prove(standing.package, box.config, box.config.inference.engines, progress=progress)
    except Unproved as error:
        raise Refused([error.sentence]) from error
    with box.ledger.write() as tx:
        back = Arrival(
            name=standing.name, version=standing.version, digest=standing.digest, source=standing.origin
        )
        versions.gave_way(tx, active, back, at=box.now(), by=box.by)
    _log.info("model.rolled_back", model=standing.name, version=standing.version, engine=proof.engine)
    return _changed(standing.name, standing.version, standing.digest, proof)


@dataclass
class _Check:
    """A version on its way through BUILDING and VERIFYING."""

    box: ModelBox
    row: Version

    def asked(self) -> None:
        """Follow the gate; the second engine of a site is asked when the first did not pass."""
        if self.row.state is VersionState.BUILDING:
            with self.box.ledger.write() as tx:
                self.row = versions.verifying(tx, self.row, at=self.box.now())


def _failed(box: ModelBox, row: Version, error: Unproved) -> Rejected:
    with box.ledger.write() as tx:
        failed = versions.failed(tx, row, evidence={"activation": error.evidence}, at=box.now(), by=box.by)
    _log.error("model.rejected", model=row.name, version=row.version, reason=error.sentence)
    if failed.here:
        return Rejected([error.sentence])
    box.store.drop(row.digest)
    return Rejected([error.sentence, "its files were removed; install it again when the reason is gone"])


def _changed(name: str, version: str, digest: str, proof: Proof) -> Change:
    return Change(
        name=name, version=version, digest=digest, engine=proof.engine, stepped_down=proof.stepped_down
    )


def _installed(box: ModelBox, name: str, version: str) -> Version:
    with box.ledger.read() as tx:
        row = versions.find(tx, name, version)
    if row is None:
        raise Refused([f"{name} {version} is not installed on this box; see `readside model list`"])
    if row.state is VersionState.REJECTED:
        raise Refused([f"{name} {version} was rejected; its reasons stand in `readside model list`"])
    if not row.here:
        raise Refused([f"{name} {version} was removed from this box; install it again"])
    return row


def _opened(box: ModelBox, row: Version) -> Package:
    try:
        return open_installed(box.root, row.digest)
    except PackageError as error:
        again = f"install {row.name} {row.version} again from its package"
        raise Refused([*error.faults, again]) from error
