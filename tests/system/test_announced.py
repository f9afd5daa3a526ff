"""A study is analysed when all that was announced is here, not when a long silence is over."""

from __future__ import annotations

import os
import signal

import pytest

from appliance.core.words import StudyState
from appliance.demo.box import BOX_AE, Box
from appliance.ledger import announced, studies
from dicom_node.echo import echo
from dicom_node.limits import Limits as WireLimits
from tests.dicom_node.noticed import availability, begun, ended, notify, say, saying, tell
from tests.system.boxes import PACS_AE, Pacs, service_pid, settled, status, store_all, why
from tests.system.conftest import StartBox
from tests.system.images import decoded, made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
# Nobody waits for so long: a study that is decided here was announced.
NEVER_SECONDS = 6_000.0


def reason_of(box: Box, study_uid: str) -> str:
    with box.ledger.read() as tx:
        study = studies.find(tx, study_uid)
    return "" if study is None or study.state is StudyState.GATHERING else study.reason or ""


def absent(box: Box) -> int:
    with box.ledger.read() as tx:
        return announced.standing(tx).absent


def listens(box: Box) -> bool:
    return echo(box.as_peer, calling_ae=PACS_AE, limits=WireLimits()).ok


def test_a_study_is_analysed_when_all_that_was_announced_is_here(start_box: StartBox, pacs: Pacs) -> None:
    box = start_box(
        pacs.port,
        pacs_may=("store", "notify"),
        quiet_seconds=NEVER_SECONDS,
        series_quiet_seconds=NEVER_SECONDS,
        deadline_seconds=2 * NEVER_SECONDS,
    )
    study = made_up()
    objects = list(study.instances())
    uids = [one.sop_instance_uid for one in objects]
    series_uid = str(decoded(objects[0]).SeriesInstanceUID)
    with saying(box.as_peer, title=PACS_AE, called=BOX_AE) as association:
        assert say(association, begun(study.study_uid), "2.25.1") == 0
        assert notify(association, availability(study.study_uid, {series_uid: uids}), "2.25.2") == 0
    # What was answered outlives the listener.
    pid = until(lambda: service_pid(box, "listener"), seconds=30, what="a living listener")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: service_pid(box, "listener") not in (None, pid), seconds=60, what="another listener")
    until(lambda: listens(box), seconds=60, what="a listener that answers")

    store_all(box, objects[:-1])
    until(lambda: absent(box) == 1, seconds=30, what="one image is waited for")
    assert status(box)["announced"] == {"incomplete": 1, "absent": 1, "in_progress": 1, "unmatched": 0}
    assert f"incomplete by 1 of {len(uids)} that were announced" in why(box, study.study_uid)
    store_all(box, objects[-1:])
    until(lambda: absent(box) == 0, seconds=30, what="every image is here")
    assert reason_of(box, study.study_uid) == "", "the step still goes on"
    with saying(box.as_peer, title=PACS_AE, called=BOX_AE) as association:
        assert tell(association, ended({series_uid: uids}), "2.25.1").Status == 0
        assert tell(association, ended(), "2.25.1").ErrorID == 0xA506
    settled(box, study.study_uid, seconds=120)
    assert reason_of(box, study.study_uid) == f"announced: all {len(uids)} images that were named are here"
    text = box.log_path.read_text(encoding="utf-8")
    assert not [said for said in ("Patient", "4711", *uids) if said in text], "P11"
