"""The report: what is signed, what is printed, and what was changed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning.acceptance.report import NotSigned, Report, Step, Verdict, printed, signed, verified
from tests.provisioning.registry.given import key
from tests.system.programs import need

OTHER_CURVE = ec.generate_private_key(ec.SECP384R1()).public_key()
OTHER_PEM = OTHER_CURVE.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

REPORT = Report(
    site="Ward",
    version="0.1.0",
    at=1_795_000_000.0,
    peer="pacs",
    study_uid="2.25.7.1",
    steps=[Step(name="The PACS stores the phantom", verdict=Verdict.PASSED, said="48 CT images")],
    seconds={"stored": 1.25, "answered": 12.0},
    models=[{"name": "ct-tissue-bands", "version": "1.0.0", "digest": "sha256:" + "a" * 64, "engine": "cpu"}],
)


def test_who_signed_is_known_and_spaces_do_not_matter() -> None:
    signer = key()
    data = signed(REPORT, signer)
    said, device = verified(data)
    assert device == signer.id
    assert said["passed"] is True
    assert verified(json.dumps(json.loads(data)).encode())[1] == signer.id


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda held: held["report"].update(site="Another"), "changed after it was signed"),
        (lambda held: held["report"]["steps"][0].update(verdict="failed"), "changed after it was signed"),
        (lambda held: held["signature"].update(device="0" * 64), "not that of the device"),
        (
            lambda held: held["signature"].update(public_key=key().public_pem.decode()),
            "not that of the device",
        ),
        (lambda held: held["signature"].update(public_key=OTHER_PEM), "no acceptance report"),
        (lambda held: held["signature"].update(value="AAAA"), "changed after it was signed"),
        (lambda held: held.update(signature=None), "nobody signed"),
        (lambda held: held.pop("report"), "no acceptance report"),
    ],
)
def test_a_report_that_was_changed_is_told(change: Any, fault: str) -> None:
    held = json.loads(signed(REPORT, key()))
    change(held)
    with pytest.raises(NotSigned, match=fault):
        verified(json.dumps(held).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"report": 1, "signature": 2}'])
def test_what_is_no_report_is_told(data: bytes) -> None:
    with pytest.raises(NotSigned, match="no acceptance report"):
        verified(data)


def test_a_box_without_identity_signs_nothing() -> None:
    with pytest.raises(NotSigned, match="nobody signed"):
        verified(signed(REPORT, None))


def test_what_was_not_tried_has_not_passed() -> None:
    skipped = Step(name="Models answer", verdict=Verdict.NOT_TRIED, said="a step before it failed")
    assert REPORT.passed
    assert not replace(REPORT, steps=[*REPORT.steps, skipped]).passed
    assert not replace(REPORT, steps=[]).passed


def test_the_page_can_be_read_and_signed_on(tmp_path: Path) -> None:
    failed = Step(name="Models answer", verdict=Verdict.FAILED, said="route bands did not answer")
    for report in (REPORT, replace(REPORT, steps=[*REPORT.steps, failed])):
        path = tmp_path / "report.pdf"
        path.write_bytes(printed(report, "ab" * 32))
        command = [need("pdftotext"), "-layout", str(path), "-"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        for words in (
            "Acceptance report",
            "Ward",
            "48 CT images",
            "12.0 s",
            "ct-tissue-bands",
            "Technician",
            "____",
        ):
            assert words in text
        assert ("NOT ACCEPTED" in text) is not report.passed
    assert printed(REPORT, "") == printed(REPORT, "")
