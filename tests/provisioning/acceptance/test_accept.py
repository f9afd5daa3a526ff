"""Acceptance of a real box against a real Orthanc, and the faults that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.demo.box import BOX_AE, Box
from provisioning.acceptance.limits import AcceptanceLimits
from provisioning.acceptance.report import Report, Verdict
from provisioning.acceptance.run import STEPS, Acceptance
from tests.system.boxes import BANDS, make_box, readside, running
from tests.system.dcmtk import StoreScp
from tests.system.orthanc import EVERYTHING, Orthanc

pytestmark = pytest.mark.timeout(300)
_SHORT = AcceptanceLimits(routed_seconds_max=2.0, fetched_seconds_max=60.0, answered_seconds_max=60.0)
_ROUTES = BANDS.replace('send_to = ["pacs"]', 'send_to = ["orthanc"]')
_ORTHANC = """
[[peers]]
name = "orthanc"
ae_title = "{title}"
host = "127.0.0.1"
port = {port}
may = ["store", "query"]
outputs = ["sr"]
"""


@pytest.fixture
def at_end() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def site(tmp_path: Path, at_end: ExitStack, *, forward: str, routes: str = _ROUTES) -> Box:
    orthanc = Orthanc(tmp_path / "orthanc")
    peer = _ORTHANC.format(title=orthanc.ae_title, port=orthanc.dicom_port)
    box = make_box(tmp_path / "site", pacs_port=1, more=peer + routes)
    orthanc.start(box_port=box.config.dicom.port, forward=forward)
    at_end.callback(orthanc.stop)
    at_end.enter_context(running(box))
    return box


def accepted(box: Box, peer: str = "orthanc", limits: AcceptanceLimits = _SHORT) -> Report:
    return Acceptance(
        config=box.config, ledger=box.ledger, peer=box.config.peer(peer), version="0", limits=limits
    ).run()


def verdicts(report: Report) -> dict[str, Verdict]:
    return {step.name: step.verdict for step in report.steps}


def test_a_site_whose_pacs_routes_is_accepted(tmp_path: Path, at_end: ExitStack) -> None:
    box = site(tmp_path, at_end, forward=EVERYTHING)
    command = (
        "provision",
        "accept",
        "--config",
        box.config_path,
        "--peer",
        "orthanc",
        "--out",
        tmp_path / "out",
    )
    ran = readside(*command, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = json.loads(ran.stdout)
    steps = {step["name"]: step for step in said["report"]["steps"]}
    assert list(steps) == list(STEPS)
    assert "by its own rule" in steps["The phantom comes to the device"]["said"]
    assert "5 volumes within" in steps["The numbers are right"]["said"]
    assert "are found there" in steps["The PACS has the results"]["said"]
    assert set(said["report"]["seconds"]) == {"stored", "arrived", "answered"}
    assert {Path(path).suffix for path in said["files"]} == {".json", ".pdf"}
    unsigned = readside("provision", "accept", "--verify", said["files"][0])
    assert unsigned.returncode == 1
    assert "nobody signed" in unsigned.stderr

    # Without a rule of the PACS it is fetched; the same box and the same PACS serve to see it.
    missing = accepted(box, limits=AcceptanceLimits(routed_seconds_max=0.0, fetched_seconds_max=60.0))
    assert missing.passed, missing.steps


def test_a_pacs_that_sends_nothing_and_cannot_be_asked_is_named(tmp_path: Path, at_end: ExitStack) -> None:
    pacs = StoreScp(tmp_path / "pacs", "PACS")
    pacs.start()
    at_end.callback(pacs.stop)
    box = make_box(tmp_path / "site", pacs_port=pacs.port)
    at_end.enter_context(running(box))
    report = accepted(box, "pacs")
    assert verdicts(report)["The PACS stores the phantom"] is Verdict.PASSED
    assert verdicts(report)["The phantom comes to the device"] is Verdict.FAILED
    assert f"a rule that sends CT to {BOX_AE}" in report.steps[2].said
    assert {verdict for name, verdict in verdicts(report).items() if name in STEPS[3:]} == {Verdict.NOT_TRIED}
    pacs.stop()
    refused = accepted(box, "pacs")
    assert verdicts(refused)["The PACS stores the phantom"] is Verdict.FAILED


def test_which_pacs_must_be_said_where_there_are_two(tmp_path: Path) -> None:
    peer = _ORTHANC.format(title="ORTHANC", port=104)
    box = make_box(tmp_path / "site", pacs_port=1, more=peer)
    box.config.storage.root.mkdir(parents=True)
    ran = readside("provision", "accept", "--config", box.config_path)
    assert ran.returncode == 2
    assert "pacs, orthanc" in ran.stderr
