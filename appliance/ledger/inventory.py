"""Every model package of a box in one list: where it came from, where it stands, whether it serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.core.packages import Origin, every_package, highest, origin_of
from appliance.ledger import assessments, versions
from appliance.ledger.assessments import VersionCount
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.engine import Ledger
from appliance.ledger.versions import Version
from models.package import Package

SERVING, STANDING_BY, REMOVED = "SERVING", "STANDING BY", "REMOVED"
_DAMAGED = "its files are gone or were changed since it was installed: install it again"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One package. `row` is there for one that was installed, `package` for one whose files are sound."""

    name: str
    version: str
    digest: str
    origin: Origin
    state: str
    serves: bool
    row: Version | None = None
    package: Package | None = None
    fault: str = ""
    # What readers said of its results, if anybody said anything.
    assessed: VersionCount | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        manifest = None if self.package is None else self.package.manifest
        row = self.row
        return {
            "name": self.name,
            "version": self.version,
            "task": None if manifest is None else str(manifest.task),
            "digest": self.digest,
            "intended_use": None if manifest is None else manifest.intended_use,
            "origin": self.origin.value,
            "state": self.state,
            "serves": self.serves,
            "fault": self.fault,
            "source": None if row is None else row.source,
            "installed_at": None if row is None else row.fetched_at,
            "activated_at": None if row is None else row.activated_at,
            "removed_at": None if row is None else row.removed_at,
            "evidence": {} if row is None else dict(row.evidence),
            "assessments": None if self.assessed is None else self.assessed.as_dict(),
        }


def lines(ledger: Ledger, catalogue: Catalogue) -> list[Line]:
    """List every package: by name, what serves first, then what was installed last."""
    catalogue.refresh()
    with ledger.read() as tx:
        rows = versions.everything(tx)
        counts = {(each.model_name, each.model_version): each for each in assessments.by_version(tx)}
    found = [
        replace(line, assessed=counts.get((line.name, line.version)))
        for line in (*_standing(catalogue), *_installed(catalogue, rows))
    ]
    return sorted(found, key=lambda line: (line.name, not line.serves, line.row is None))


def lines_without_ledger(folders: Sequence[Path]) -> tuple[list[Line], list[str]]:
    """List what ships and what lies in folders, where no box was ever started; and what cannot be used."""
    every, faults = every_package(folders)
    serving = {package.manifest.name: package.digest for package in highest(every).values()}
    found = [_standing_line(p, serves=serving[p.manifest.name] == p.digest) for p in every]
    return sorted(found, key=lambda line: (line.name, not line.serves)), faults


def faults_of(line: Line) -> list[str]:
    """Return why a version was refused, or what is wrong with it now."""
    told = (
        [] if line.row is None else [*_told(line.row.evidence), *_told(line.row.evidence.get("activation"))]
    )
    return [line.fault, *told] if line.fault else told


def _told(evidence: Any) -> list[str]:
    said = evidence.get("faults") if isinstance(evidence, dict) else None
    return [str(fault) for fault in said] if isinstance(said, list) else []


def _standing(catalogue: Catalogue) -> Iterable[Line]:
    serving = catalogue.serving()
    for package in catalogue.standing():
        served = serving[package.manifest.name]
        serves = served.origin is not Origin.INSTALLED and served.digest == package.digest
        yield _standing_line(package, serves=serves)


def _standing_line(package: Package, *, serves: bool) -> Line:
    return Line(
        name=package.manifest.name,
        version=package.manifest.version,
        digest=package.digest,
        origin=origin_of(package),
        state=SERVING if serves else STANDING_BY,
        serves=serves,
        package=package,
    )


def _installed(catalogue: Catalogue, rows: Iterable[Version]) -> Iterable[Line]:
    serving = catalogue.serving()
    for row in rows:
        package = catalogue.known(row.digest) if row.here else None
        served = serving.get(row.name)
        yield Line(
            name=row.name,
            version=row.version,
            digest=row.digest,
            origin=Origin.INSTALLED,
            state=REMOVED if row.removed_at is not None else row.state.value,
            serves=served is not None and (served.origin, served.digest) == (Origin.INSTALLED, row.digest),
            row=row,
            package=package,
            fault=_DAMAGED if row.here and package is None else "",
        )
