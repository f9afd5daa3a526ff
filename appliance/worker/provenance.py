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
    """Join what the package says of itself with the engine that ran it and the box it ran on."""
    manifest = None if package is None else package.manifest
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
        intended_use=_GONE if manifest is None else manifest.intended_use,
        regulatory_status=_GONE if manifest is None else manifest.regulatory_status,
        stepped_down=stepped_down,
    )
