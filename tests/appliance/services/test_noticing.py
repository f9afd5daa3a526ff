"""A whole listener takes notices over real associations: durable before they are answered, and once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.core.limits import Limits
from appliance.demo.box import free_ports
from appliance.ledger import announced, events, notices
from appliance.ledger.announced import Announced
from appliance.ledger.engine import Ledger
from appliance.queue.hub import Hub
from appliance.services.conductor import Conductor
from appliance.services.doors import Doors
from appliance.services.noticing import Noticing, is_heard
from appliance.services.stage import Stage
from dicom_node.notices import Availability, Named
from dicom_node.values import Peer
from tests.dicom_node.noticed import availability, begun, ended, notify, say, saying, tell
from tests.dicom_node.samples import CT, IMPLICIT, LIMITS, Shelf

STUDY, SERIES = "1.2.3", "1.2.3.1"
PACS = Peer(name="pacs", ae_title="PACS", host="", port=0, may=frozenset({"notify"}))
BOUNDS = Limits(notices_open_max=5, notice_instances_open_max=100)


def site(root: Path, *, port: int = 0, may: tuple[str, ...] = ("store", "notify")) -> Config:
    peers: list[dict[str, Any]] = [
        {"name": "ct", "ae_title": "CTSCAN", "may": list(may)},
        {"name": "pacs", "ae_title": "PACS", "may": list(may)},
        {"name": "other", "ae_title": "OTHER"},
    ]
    dicom = {"ae_title": "BOX", "host": "127.0.0.1", "port": port}
    return parse({"site": {"name": "T"}, "dicom": dicom, "storage": {"root": str(root)}, "peers": peers})


def doors(ledger: Ledger, config: Config) -> Doors:
    stage = Stage("listener", config, ledger, BOUNDS)
    clerk = Noticing(stage) if is_heard(config) else None
    return Doors(stage, config, intake=Shelf(), limits=LIMITS, on_refused=lambda _refused: None, clerk=clerk)


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path) -> Iterator[Peer]:
    made = doors(ledger, site(tmp_path))
    port = made.start()["port"]
    try:
        yield Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port)
    finally:
        made.stop()


def about(ledger: Ledger) -> Announced:
    with ledger.read() as tx:
        return announced.about(tx, STUDY)


def test_a_step_from_beginning_to_end_and_what_the_pacs_says(box: Peer, ledger: Ledger) -> None:
    with saying(box) as association:
        assert say(association, begun(STUDY), "2.25.1") == 0
        assert about(ledger) == Announced(in_progress=1)
        assert say(association, begun(STUDY), "2.25.1") == 0x0111
        assert say(association, begun(STUDY, status="COMPLETED"), "2.25.2") == 0x0106
        assert tell(association, ended({SERIES: ["1.2.3.1.1"]}, status="IN PROGRESS"), "2.25.1").Status == 0
        assert tell(association, ended({SERIES: ["1.2.3.1.1", "1.2.3.1.2"]}), "2.25.1").Status == 0
        assert about(ledger) == Announced(instances=2, absent=2)
        for change in (ended(), ended(status="DISCONTINUED")):
            status = tell(association, change, "2.25.1")
            assert (status.Status, status.ErrorID) == (0x0110, 0xA506)
        assert tell(association, ended(), "2.25.9").Status == 0x0112
    with saying(box, title="PACS", syntaxes=(IMPLICIT,)) as association:
        assert tell(association, ended(), "2.25.1").Status == 0x0112, "a step is its own modality's"
        images = availability(STUDY, {SERIES: ["1.2.3.1.2", "1.2.3.1.3"]})
        assert notify(association, images, "2.25.3") == 0
        assert notify(association, images, "2.25.3") == 0x0111
    assert about(ledger) == Announced(instances=3, absent=3)
    with ledger.read() as tx:
        said = [(event.word, event.detail) for event in events.of_study(tx, STUDY)]
    assert said == [
        ("notice.in_progress", {"peer": "ct", "instances": 0}),
        ("notice.completed", {"peer": "ct", "instances": 2}),
        ("notice.available", {"peer": "pacs", "instances": 2}),
    ]


def test_what_a_peer_may_have_open_is_bounded(box: Peer, ledger: Ledger) -> None:
    with saying(box) as association:
        many = availability(STUDY, {SERIES: [f"2.25.{n}" for n in range(101)]})
        assert notify(association, many, "2.25.1") == 0x0213
        for number in range(5):
            assert say(association, begun(STUDY), f"2.25.{number}") == 0
        assert say(association, begun(STUDY), "2.25.9") == 0x0213
    with saying(box, title="PACS") as association:
        assert say(association, begun(STUDY), "2.25.9") == 0


def test_only_who_may_notify_is_heard(box: Peer, ledger: Ledger, tmp_path: Path) -> None:
    with saying(box, title="OTHER") as association:
        assert say(association, begun(STUDY), "2.25.1") == 0x0124
    assert about(ledger) == Announced()
    assert is_heard(site(tmp_path))
    assert not is_heard(site(tmp_path, may=("store",)))


def test_a_ledger_that_fails_is_answered_as_our_fault(box: Peer, ledger: Ledger, monkeypatch: Any) -> None:
    def full(*_arguments: Any, **_more: Any) -> None:
        raise OSError("no space left")

    with saying(box) as association:
        with monkeypatch.context() as patch:
            patch.setattr(notices, "take", full)
            assert say(association, begun(STUDY), "2.25.1") == 0x0110
        assert about(ledger) == Announced()
        assert say(association, begun(STUDY), "2.25.1") == 0


_CHILD = """
import sys, time
from pathlib import Path
from appliance.ledger.engine import open_ledger
from tests.appliance.services.test_noticing import doors, site

url, root, port = sys.argv[1:]
made = doors(open_ledger(url), site(Path(root), port=int(port)))
made.start()
print("up", flush=True)
time.sleep(60)
"""


def test_a_listener_killed_before_its_answer_has_the_notice(
    ledger_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, ledger_url, str(tmp_path), str(port)],
        env={**os.environ, "READSIDE_CRASH_AT": "notice-kept"},
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != b"up":
            assert child.poll() is None
        box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port)
        with saying(box) as association:
            assert notify(association, availability(STUDY, {SERIES: ["1.2.3.1.1"]}), "2.25.1") == -1
        assert child.wait(20) == -signal.SIGKILL
    assert about(ledger) == Announced(instances=1, absent=1)


def test_the_conductor_sees_what_was_said_and_forgets_what_is_old(
    ledger: Ledger, clock: HeldClock, tmp_path: Path
) -> None:
    stage = Stage("conductor", site(tmp_path), ledger, BOUNDS)
    notice = Availability(sop_instance_uid="2.25.1", study_uid=STUDY, named=[Named(SERIES, CT, "1.2.3.1.1")])
    with closing(Hub(stage.config.run_dir)) as hub:
        clerk = Noticing(stage)
        clerk.start()
        try:
            clerk.available(PACS, notice)
            deadline = time.monotonic() + 10
            while not hub.listen(0.1):
                assert time.monotonic() < deadline, "no bell rang"
        finally:
            stage.stop()
            clerk.join()
        clock.advance(BOUNDS.notice_keep_seconds - 1)
        Conductor(stage, stage.config).turn(hub)
        assert about(ledger) == Announced(instances=1, absent=1)
        clock.advance(1)
        Conductor(stage, stage.config).turn(hub)
    assert about(ledger) == Announced()
