"""Write a made-up result once before the first study needs one: what encoding reads at its first use is read.

The libraries' tables, fonts and modules take as long as encoding a few results; a radiologist need not wait.

Never: stops a worker from working, or lets anything of the made-up result out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
from pydicom import Dataset

from appliance.core import log
from appliance.core.config import Config
from appliance.results.context import Provenance, ResultContext
from appliance.results.encode import encode
from appliance.worker.addressing import destinations
from models import codes
from models.findings import Code, Findings, Measurement, Outcome, Segment
from models.tensors import Volume

_log = log.get("worker")
_SIZE = 8
_UID, _CT = "2.25.1", "1.2.840.10008.5.1.4.1.1.2"
_ORGAN = Code(value="91720002", scheme="SCT", meaning="Body Substance")
_NOBODY = Provenance(
    product="Readside",
    product_version="0",
    manufacturer="Readside project",
    model_name="rehearsal",
    model_version="0",
    model_digest="sha256:0",
    engine="none",
    device_uid=_UID,
    site_name="rehearsal",
    intended_use="none",
    regulatory_status="none",
    stepped_down=None,
)


def outputs_of(config: Config) -> frozenset[str]:
    """Return what any route's destination asks for."""
    peers = [peer for route in config.routes for peer in destinations(config, route.name)]
    return frozenset(output for peer in peers for output in peer.outputs)


def rehearse(outputs: Collection[str]) -> None:
    """Encode a result about nobody in these outputs, and throw it away."""
    try:
        encode(
            _context(), sources=_headers(), volume=_volume(), findings=_findings(), outputs=frozenset(outputs)
        )
    # Nothing depends on it: what cannot be encoded is told by the job that must.
    except Exception as error:  # noqa: BLE001 - as if it were a main loop of its own
        _log.warning("worker.unrehearsed", error=type(error).__name__, where=log.where(error))


def _context() -> ResultContext:
    at = datetime.fromtimestamp(0, UTC)
    return ResultContext(
        provenance=_NOBODY, route="rehearsal", study_uid=_UID, content_digest="sha256:0", run=1, at=at
    )


def _headers() -> list[Dataset]:
    return [_header(z) for z in range(_SIZE)]


def _header(z: int) -> Dataset:
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = _CT, f"{_UID}.1.{z + 1}"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = (
        _UID,
        f"{_UID}.1",
        f"{_UID}.2",
    )
    header.Modality, header.SeriesNumber, header.InstanceNumber = "CT", 1, z + 1
    header.PatientName = header.PatientID = header.PatientBirthDate = header.PatientSex = ""
    header.StudyDate = header.StudyTime = header.AccessionNumber = header.StudyID = ""
    header.ReferringPhysicianName = ""
    header.Rows = header.Columns = _SIZE
    header.PixelSpacing, header.SliceThickness = [1, 1], 1
    header.ImageOrientationPatient, header.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, z]
    return header


def _volume() -> Volume:
    shape = (_SIZE, _SIZE, _SIZE)
    return Volume(
        voxels=np.zeros(shape, np.float32),
        valid=np.broadcast_to(np.True_, shape),
        positions=np.stack([np.array((0.0, 0.0, z)) for z in range(_SIZE)]),
        row_cosines=np.array((1.0, 0.0, 0.0)),
        column_cosines=np.array((0.0, 1.0, 0.0)),
        pixel_spacing_mm=(1.0, 1.0),
        slice_spacing_mm=1.0,
        regular=True,
    )


def _findings() -> Findings:
    mask = np.zeros((_SIZE, _SIZE, _SIZE), np.bool_)
    mask[2:6, 2:6, 2:6] = True
    segment = Segment(
        label="rehearsal", number=1, category=_ORGAN, type=_ORGAN, colour_rgb=(255, 0, 0), mask=mask
    )
    measurement = Measurement(
        name=codes.VOLUME, value=1.0, unit=codes.MILLILITRE, segment="rehearsal", finding=_ORGAN
    )
    return Findings(
        outcome=Outcome.FINDING, statement="Rehearsal.", segments=(segment,), measurements=(measurement,)
    )
