"""Storage commitment with a real Orthanc, in both roles, over associations of their own."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pydicom
import pytest

from appliance.core.words import DeliveryState
from appliance.demo.box import Box
from appliance.ledger import events
from tests.system.boxes import log_of, make_box, running, status, words
from tests.system.images import files, made_up
from tests.system.orthanc import Orthanc
from tests.system.programs import need
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(300)

# An archive that answers 0000 to a store and throws reports away.
LOSES_REPORTS = """
function ReceivedInstanceFilter(dicom, origin, info)
  return not (origin['RequestOrigin'] == 'DicomProtocol' and dicom['Modality'] == 'SR'
    and dicom['SOPClassUID'] == '1.2.840.10008.5.1.4.1.1.88.34')
end
"""


def outcomes(box: Box, study_uid: str) -> dict[str, tuple[DeliveryState, str | None]]:
    return {d.output: (d.state, d.word) for d in box.account(study_uid).deliveries}


def report_of(orthanc: Orthanc, references: list[dict[str, str]]) -> dict[str, Any]:
    """Have Orthanc ask the box, and wait for what it was told."""
    asked = orthanc.ask(
        "/modalities/box/storage-commitment", json.dumps({"DicomInstances": references}).encode()
    )
    return until(
        lambda: _answered(orthanc.ask(f"/storage-commitment/{asked['ID']}")),
        seconds=60,
        what="the box's report reached Orthanc",
    )


def _answered(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report, or nothing yet."""
    return {} if report["Status"] == "Pending" else report


@pytest.mark.parametrize("loses", [False, pytest.param(True, marks=pytest.mark.long)])
def test_orthanc_commits_loses_and_is_told(tmp_path: Path, at_end: ExitStack, loses: bool) -> None:
    need("Orthanc")
    orthanc = Orthanc(tmp_path / "orthanc")
    box = make_box(
        tmp_path / "site",
        pacs_port=orthanc.dicom_port,
        pacs_ae=orthanc.ae_title,
        pacs_more="commitment = true",
        dicom="commit = true",
    )
    orthanc.start(box_port=box.config.dicom.port, more=LOSES_REPORTS if loses else "")
    at_end.callback(orthanc.stop)
    at_end.enter_context(running(box))
    study = made_up()
    paths = files(study.instances(), tmp_path / "files")
    for path in paths:
        orthanc.upload(path)

    # What Orthanc has is committed; what it took and threw away goes again, and then is a person's.
    def ended() -> bool:
        states = {state for state, _ in outcomes(box, study.study_uid).values()}
        return bool(states) and states <= {DeliveryState.COMMITTED, DeliveryState.DEAD}

    until(ended, seconds=120, what="each delivery is committed or a person's")
    found = outcomes(box, study.study_uid)
    if loses:
        assert found.pop("sr") == (DeliveryState.DEAD, "confirm.lost")
    assert set(found.values()) == {(DeliveryState.COMMITTED, "confirm.committed")}
    assert {"seg", "sc", "text-sr"} <= set(found)
    with box.ledger.read() as tx:
        timeline = [event.word for event in events.of_study(tx, study.study_uid)]
    assert timeline.count("confirm.missing") == 2 * loses
    assert timeline.count("confirm.lost") == loses
    report = status(box)
    assert report["balance"] == 0
    sent = box.account(study.study_uid).deliveries
    assert report["deliveries"]["COMMITTED"] == len(sent) - loses
    assert report["uncommitted"] == {}

    # And Orthanc asks the box about what it sent, one that the box never had, and one of another class.
    heads = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    references = [
        {"SOPClassUID": str(head.SOPClassUID), "SOPInstanceUID": str(head.SOPInstanceUID)} for head in heads
    ]
    told = report_of(orthanc, references)
    assert told["Status"] == "Success"
    assert {one["SOPInstanceUID"] for one in told["Success"]} == {str(h.SOPInstanceUID) for h in heads}
    wrong = [{**references[0], "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}]
    strange = [{"SOPClassUID": references[0]["SOPClassUID"], "SOPInstanceUID": "2.25.99"}]
    told = report_of(orthanc, references[1:3] + strange + wrong)
    assert told["Status"] == "Failure"
    assert len(told["Success"]) == 2
    reasons = {one["SOPInstanceUID"]: one["FailureReason"] for one in told["Failures"]}
    assert reasons == {"2.25.99": 0x0112, references[0]["SOPInstanceUID"]: 0x0119}
    until(lambda: status(box)["promises"] == {"REPORTED": 2}, seconds=30, what="the box noted both")
    assert words(box)["confirm.our_fault"] == words(box)["commit.our_fault"] == 0
    text = json.dumps(log_of(box))
    assert all(reference["SOPInstanceUID"] not in text for reference in references), "P11"
