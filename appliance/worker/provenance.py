"""Say who made a result: product, model, engine and box (P7)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from appliance.ledger.jobs import Job
from appliance.results.context import Provenance
from models.package import Package

PRODUCT, MANUFACTURER = "Readside", "Readside project"
_GONE = "not known: the model's package is no longer on this box"


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The engine that ran a model, why not a better one did, and the box it ran on."""

    engine: str
    stepped_down: str | None
    device_uid: str
    site_name: str


def provenance_of(job: Job, package: Package | None, maker: Maker) -> Provenance:
    """Name who made a job's result; a package that is gone is named by what the job remembers of it."""
    if package is not None:
        return provenance_for(package, maker)
    return _provenance((job.model_name, job.model_version, job.model_digest), (_GONE, _GONE), maker)


def provenance_for(package: Package, maker: Maker) -> Provenance:
    """Join what the package says of itself with who ran it."""
    manifest = package.manifest
    model = (manifest.name, manifest.version, package.digest)
    return _provenance(model, (manifest.intended_use, manifest.regulatory_status), maker)


def _provenance(model: tuple[str, str, str], said: tuple[str, str], maker: Maker) -> Provenance:
    return Provenance(
        product=PRODUCT,
        product_version=version("readside"),
        manufacturer=MANUFACTURER,
        model_name=model[0],
        model_version=model[1],
        model_digest=model[2],
        intended_use=said[0],
        regulatory_status=said[1],
        engine=maker.engine,
        stepped_down=maker.stepped_down,
        device_uid=maker.device_uid,
        site_name=maker.site_name,
    )
