"""What an acceptance came to: a value, the JSON that is signed, and a page to be printed and signed by hand.

Promises: a step that was not tried is not passed; who verifies knows that this device signed these bytes.
Never: names a patient: the phantom is the only one in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from appliance.core.clock import as_datetime, as_text
from appliance.results.sheet import Sheet
from appliance.sync.signing import SignatureFault, Signer, device_id
from appliance.sync.unreadable import NO_CERTIFICATE, NO_JSON

_WIDTHS = (0.06, 0.26, 0.12, 0.1, 0.46)
_TIMES = {
    "stored": "Storing the phantom in the PACS",
    "arrived": "From there to the last image in the device",
    "answered": "From the last image to the last result in the PACS",
}


class Verdict(StrEnum):
    """What came of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: its name, what came of it, and in a sentence what was seen or what to do."""

    name: str
    verdict: Verdict
    said: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """An acceptance.

    Attributes:
        at: epoch seconds of its beginning.
        peer: the PACS, by its name in the configuration.
        study_uid: of the phantom.
        seconds: how long the parts took.
        models: name, version, digest and engine of each model that answered.
    """

    site: str
    version: str
    at: float
    peer: str
    study_uid: str
    steps: Sequence[Step]
    seconds: dict[str, float]
    models: Sequence[dict[str, str]]

    @property
    def passed(self) -> bool:
        """Say whether every step was tried and passed."""
        return bool(self.steps) and all(step.verdict is Verdict.PASSED for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is signed."""
        return {**asdict(self), "at": as_text(self.at), "passed": self.passed}


class NotSigned(Exception):
    """A report is not signed by the device that it names, or was changed since."""


def signed(report: Report, signer: Signer | None) -> bytes:
    """Return the report as JSON, with the signature of this device where it has an identity."""
    said = report.as_json()
    if signer is None:
        return _written({"report": said, "signature": None})
    signature = {
        "device": signer.id,
        "public_key": signer.public_pem.decode(),
        "algorithm": "ecdsa-p256-sha256",
        "value": base64.b64encode(signer.sign(_covered(said))).decode(),
    }
    return _written({"report": said, "signature": signature})


def verified(data: bytes) -> tuple[dict[str, Any], str]:
    """Return a report and the id of the device that signed it.

    Raises:
        NotSigned: nobody signed it, or not these bytes.
    """
    try:
        held = json.loads(data)
        report, signature = held["report"], held["signature"]
        if signature is None:
            raise NotSigned("the device had no identity of its own: nobody signed this report")
        pem = signature["public_key"].encode()
        key = load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey) or device_id(pem) != signature["device"]:
            raise NotSigned("the key is not that of the device it names")
        key.verify(base64.b64decode(signature["value"]), _covered(report), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise NotSigned("it was changed after it was signed") from error
    except (*NO_CERTIFICATE, *NO_JSON, SignatureFault, KeyError, AttributeError) as error:
        raise NotSigned("this is no acceptance report") from error
    return report, signature["device"]


def printed(report: Report, device: str) -> bytes:
    """Return the report as one A4 page (PDF) with lines to sign on; `device` is empty without identity."""
    product = f"Readside {report.version}"
    sheet = Sheet(title=f"Acceptance: {report.site}", author=product, at=as_datetime(report.at))
    sheet.text("Acceptance report", size=16, bold=True)
    sheet.text(f"{report.site}, {as_text(report.at)}, {product}", size=10)
    sheet.text(
        f"Device {device}" if device else "This device has no identity; the report is not signed.", size=8
    )
    sheet.space(6)
    if not report.passed:
        sheet.alarm("NOT ACCEPTED: at least one step failed or was not tried.")
    sheet.heading("Steps")
    for number, step in enumerate(report.steps, 1):
        sheet.row((str(number), step.name, step.verdict.value, "", step.said), widths=_WIDTHS)
        sheet.space(3)
    sheet.heading("Times")
    for key, name in _TIMES.items():
        if key in report.seconds:
            sheet.row((name, f"{report.seconds[key]:.1f} s"), widths=(0.6, 0.4))
    sheet.heading("Models that answered")
    for model in report.models:
        sheet.row(
            (model["name"], model["version"], model["engine"], model["digest"][:19]),
            widths=(0.3, 0.15, 0.2, 0.35),
        )
    sheet.text(f"Phantom study {report.study_uid}, stored in {report.peer}; it may be deleted there.", size=8)
    sheet.heading("Signed off by")
    for who in ("Technician", "PACS administrator", "Department"):
        sheet.space(14)
        sheet.row((who, "_" * 34, "Date", "_" * 18), widths=(0.22, 0.42, 0.08, 0.28))
    return sheet.finished()


def _covered(report: dict[str, Any]) -> bytes:
    """Return the bytes that a signature covers: one form of the JSON, whatever spaces it was written with."""
    return json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _written(held: dict[str, Any]) -> bytes:
    return json.dumps(held, indent=1, ensure_ascii=True).encode() + b"\n"
