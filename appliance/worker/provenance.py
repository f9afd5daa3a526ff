"""Say who made a result: product, model, engine and box (P7)."""

from __future__ import annotations

from importlib.metadata import version

from appliance.ledger.jobs import Job
from appliance.results.context import Provenance
from models.package import Package

PRODUCT, MANUFACTURER = "Readside", "Readside project"
_GONE = "not known: the model's package is no longer on this box"


def provenance_of(
    job: Job,
    package: Package | None,
    *,
    engine: str,
    stepped_down: str | None,
    device_uid: str,
    site_name: str,
) -> Provenance:
    """Name who made a job's result; a package that is gone is named by what the job remembers of it."""
    if package is not None:
        return provenance_for(
            package, engine=engine, stepped_down=stepped_down, device_uid=device_uid, site_name=site_name
        )
    return Provenance(
        product=PRODUCT,
        product_version=version("readside"),
        manufacturer=MANUFACTURER,
        model_name=job.model_name,
        model_version=job.model_version,
        model_digest=job.model_digest,
        engine=engine,
        device_uid=device_uid,
        site_name=site_name,
        intended_use=_GONE,
        regulatory_status=_GONE,
        stepped_down=stepped_down,
    )


def provenance_for(
    package: Package, *, engine: str, stepped_down: str | None, device_uid: str, site_name: str
) -> Provenance:
    """Join what the package says of itself with the engine that ran it and the box it ran on."""
    manifest = package.manifest
    return Provenance(
        product=PRODUCT,
        product_version=version("readside"),
        manufacturer=MANUFACTURER,
        model_name=manifest.name,
        model_version=manifest.version,
        model_digest=package.digest,
        engine=engine,
        device_uid=device_uid,
        site_name=site_name,
        intended_use=manifest.intended_use,
        regulatory_status=manifest.regulatory_status,
        stepped_down=stepped_down,
    )
