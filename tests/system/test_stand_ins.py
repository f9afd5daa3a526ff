"""A PACS that does not take all that it should get: what it gets instead, and who is told."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.demo.box import Box
from appliance.ledger import acceptances, events
from tests.system import judging
from tests.system.boxes import COMMAND, PACS_AE, make_box, running, settled, store_all
from tests.system.conftest import StartBox
from tests.system.dcmtk import StoreScp
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
SR = "Comprehensive3DSRStorage"
TEXT = "EnhancedSRStorage"
GSPS = "GrayscaleSoftcopyPresentationStateStorage"
SC = "SecondaryCaptureImageStorage"
SEG = "SegmentationStorage"


def told(box: Box, study_uid: str, word: str) -> list[dict[str, Any]]:
    with box.ledger.read() as tx:
        return [event.detail for event in events.of_study(tx, study_uid) if event.word == word]


def answered(box: Box) -> bool:
    with box.ledger.read() as tx:
        return acceptances.answer_of(tx, "pacs").asked_at is not None


def peers(box: Box, *options: str) -> tuple[int, dict[str, Any]]:
    command = [*COMMAND, "peers", "--json", *options, "--config", str(box.config_path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return said.returncode, json.loads(said.stdout)["peers"][0]


def test_a_pacs_that_takes_segmentations_no_longer_gets_what_stands_in_for_them(
    tmp_path: Path, at_end: ExitStack, start_box: StartBox
) -> None:
    pacs = StoreScp(tmp_path / "pacs", PACS_AE, takes=[SR, SEG, TEXT, GSPS, SC])
    pacs.start()
    at_end.callback(pacs.stop)
    box = start_box(pacs.port, outputs=["sr", "seg", "sc"])
    until(lambda: answered(box), seconds=60, what="the PACS was asked at set-up")
    assert (peers(box)[1]["takes"], peers(box)[1]["refuses"]) == (["sr", "seg", "sc"], {})
    pacs.stop()
    pacs.takes = [SR, TEXT, GSPS, SC]
    pacs.start()
    assert peers(box, "--ask")[0] == 0
    study = made_up()
    store_all(box, list(study.instances()))
    settled(box, study.study_uid)

    came = pacs.files()
    assert set(judging.kinds(came)) == {"sr", "gsps", "sc"}
    judging.judge(came)
    sent = box.account(study.study_uid).deliveries
    assert {d.output: d.instead_of for d in sent} == {"sr": None, "gsps": "seg", "sc": None}
    assert told(box, study.study_uid, "courier.stands_in") == [
        {"peer": "pacs", "output": "gsps", "wanted": "seg"}
    ]
    code, said = peers(box)
    assert (code, said["takes"], said["refuses"]) == (0, ["sr", "sc"], {"seg": "gsps"})


def test_a_pacs_that_was_down_at_set_up_gets_the_reserve(tmp_path: Path, at_end: ExitStack) -> None:
    pacs = StoreScp(tmp_path / "pacs", PACS_AE, takes=[SR, TEXT, SC])
    box = make_box(tmp_path / "site", pacs_port=pacs.port, outputs=["sr", "seg"])
    at_end.enter_context(running(box))
    study = made_up()
    store_all(box, list(study.instances()))
    until(lambda: box.account(study.study_uid).outcomes, seconds=60, what="a result while the PACS is down")
    assert {d.output for d in box.account(study.study_uid).deliveries} == {"sr", "seg"}
    code, said = peers(box, "--ask")
    assert (code, said["said"], said["unknown"]) == (1, "accepts.unreachable", ["sr", "seg"])

    pacs.start()
    at_end.callback(pacs.stop)
    settled(box, study.study_uid, seconds=90)
    assert set(judging.kinds(pacs.files())) == {"sr", "sc"}, "neither segmentation nor presentation state"
    ended = {d.output: (d.state.value, d.settled_by) for d in box.account(study.study_uid).deliveries}
    assert ended["seg"] == ("SETTLED", "fallback")
    assert ended["sr"] == ended["sc"] == ("ACCEPTED", None)
