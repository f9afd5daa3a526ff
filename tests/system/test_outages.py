"""What fails around the box: the disk fills, the PACS is down, a worker dies of a job, bytes rot.

Whatever was acknowledged is there afterwards, and whoever waits for a result is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from appliance.core.instance import Location
from appliance.core.words import DeliveryState, JobState
from appliance.demo.box import Box, free_ports
from appliance.ledger import jobs, studies
from tests.system import judging
from tests.system.boxes import (
    BANDS,
    Pacs,
    make_box,
    pacs_in,
    running,
    service_pid,
    settled,
    spooled,
    status,
    store,
    store_all,
    why,
    words,
)
from tests.system.conftest import StartBox
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
_MIB = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MiB, which the test may fill."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "site" / "box"
    disk.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


# What came is analysed while the disk is full: its results (11 MiB) and the growth of the ledger's journal
# must fit between the floor and the last byte, or the second case is tested twice.
@pytest.mark.parametrize("floor_mib", [20.0, 0.0], ids=["down to the floor", "to the last byte"])
def test_a_full_disk_refuses_and_resumes_by_itself(
    small_disk: Path, pacs: Pacs, start_box: StartBox, floor_mib: float
) -> None:
    box = start_box(pacs.port, floor_gib=floor_mib / 1024)
    first = made_up((4, 128, 128))
    store_all(box, list(first.instances()))
    settled(box, first.study_uid)

    # A segment is made ahead once nothing came for a while: it takes its room before the rest is counted.
    spares = box.config.storage.root / "kept" / "spares"
    until(lambda: _spares_made(spares), seconds=30, what="a segment is ready")
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(int(_free(small_disk) - (floor_mib + 2.0) * _MIB)))
    # More than the segment that is begun, one made ahead, and what is left of the disk.
    study = made_up((80, 512, 512))
    objects = {item.sop_instance_uid: item for item in study.instances()}
    answers = store(box, list(objects.values()))
    taken = {answer.sop_instance_uid for answer in answers if answer.status == 0}
    assert 0 < len(taken) < len(objects), "the disk filled up in the middle of the study"
    refused = {answer.status for answer in answers} - {0, None}
    assert refused <= {0xA700}, "out of resources, and nothing else"
    # Above the floor the ledger still has room; at the last byte it has none, and the association may be cut.
    assert 0xA700 in refused or not floor_mib
    assert words(box)["disk.floor"] > 0
    assert _lost(box, [objects[uid].data for uid in taken]) == 0
    if floor_mib:
        assert "An image was refused" in why(box, study.study_uid)

    ballast.unlink()
    rest = set(objects)

    def all_taken() -> bool:
        rest.difference_update(
            answer.sop_instance_uid
            for answer in store(box, [objects[uid] for uid in rest])
            if answer.status == 0
        )
        return not rest

    rest -= taken
    until(all_taken, seconds=60, what="the box takes images again by itself")
    settled(box, study.study_uid, seconds=90)
    assert _lost(box, [item.data for item in objects.values()]) == 0
    assert status(box)["balance"] == 0
    (report,) = judging.reports([one.path for one in pacs.came_for(study.study_uid)][-9:])
    assert report.StudyInstanceUID == study.study_uid


def _spares_made(ready: Path) -> bool:
    """Say whether a segment is ready, and none is being made."""
    return any(ready.iterdir()) and not list((ready.parent / "incoming").glob("*.part"))


def _free(disk: Path) -> int:
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize


def _lost(box: Box, acknowledged: list[bytes]) -> int:
    kept = spooled(box)
    return sum(data not in kept for data in acknowledged)


def test_results_wait_for_a_pacs_that_is_down_and_reach_it_once(tmp_path: Path, start_box: StartBox) -> None:
    pacs = pacs_in(tmp_path / "pacs")
    (pacs.port,) = free_ports(1)
    box = start_box(pacs.port)
    made = [made_up() for _ in range(2)]
    for study in made:
        store_all(box, list(study.instances()))

    def all_wait() -> bool:
        accounts = [box.account(study.study_uid) for study in made]
        states = {delivery.state for account in accounts for delivery in account.deliveries}
        return all(account.outcomes for account in accounts) and states == {DeliveryState.LATER}

    until(all_wait, seconds=60, what="every delivery waits")
    assert words(box)["courier.unreachable"] + words(box)["courier.no_connection"] > 0, words(box)
    for study in made:
        assert "tried again later" in why(box, study.study_uid)
    assert status(box)["balance"] == 0

    pacs.start()
    try:
        for study in made:
            settled(box, study.study_uid, seconds=90)
            came = [one.sop_instance_uid for one in pacs.came_for(study.study_uid)]
            assert len(came) == len(set(came)) == len(box.account(study.study_uid).deliveries)
            paths = [one.path for one in pacs.came_for(study.study_uid)]
            assert set(judging.kinds(paths)) == {"sr", "seg", "sc", "text-sr"}
    finally:
        pacs.stop()
    assert "accepted" in why(box, made[0].study_uid)


def test_a_job_that_kills_three_workers_is_held_and_a_page_says_so(pacs: Pacs, start_box: StartBox) -> None:
    box = start_box(pacs.port)
    study = made_up((32, 256, 256))
    store_all(box, list(study.instances()))
    for _ in range(3):
        _kill_the_worker_at(box, study.study_uid)
    settled(box, study.study_uid)
    assert _job(box, study.study_uid).state is JobState.HELD
    assert box.account(study.study_uid).outcomes == {"bands": "not run"}
    assert words(box)["job.held"] == 1
    pages = [pydicom.dcmread(one.path) for one in pacs.came_for(study.study_uid)]
    assert {page.SeriesDescription.split(" ct-")[0] for page in pages} == {"NOT ANALYSED"}
    said = "\n".join(judging.texts(page) for page in pages)
    assert "NOT ANALYSED (not run). This is not a negative result." in said
    assert "its worker died 3 times" in said
    assert "is held: its worker died 3 times" in why(box, study.study_uid)
    # Another study is not held up by it.
    other = made_up()
    store_all(box, list(other.instances()))
    settled(box, other.study_uid)
    assert status(box)["balance"] == 0


def _kill_the_worker_at(box: Box, study_uid: str) -> None:
    pid = until(lambda: _worker_at_it(box, study_uid), seconds=60, what="a worker at the job")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: _worker_at_it(box, study_uid) != pid, seconds=60, what="its death is noted")


def _worker_at_it(box: Box, study_uid: str) -> int | None:
    """Return the process that holds the lease, as long as it lives."""
    with box.ledger.read() as tx:
        leased = [job.owner or "" for job in jobs.of_study(tx, study_uid) if job.state is JobState.LEASED]
    pids = [int(owner.rpartition(":")[2]) for owner in leased]
    return next((pid for pid in pids if pid == service_pid(box, "worker")), None)


def _job(box: Box, study_uid: str) -> jobs.Job:
    with box.ledger.read() as tx:
        (job,) = jobs.of_study(tx, study_uid)
    return job


@pytest.fixture(scope="module")
def patient_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Pacs]]:
    """A box that waits long enough for a study to rot between its arrival and its analysis."""
    folder = tmp_path_factory.mktemp("rot")
    pacs = pacs_in(folder / "pacs")
    # What is analysed while it arrives has no time to rot.
    more = f"{BANDS}\n[inference]\nahead = false\n"
    box = make_box(folder / "site", pacs_port=pacs.start(), quiet_seconds=4.0, more=more)
    try:
        with running(box):
            yield box, pacs
    finally:
        pacs.stop()


@pytest.mark.parametrize("damage", ["a bit", "the head", "the file"])
def test_rotten_bytes_are_never_analysed_and_a_page_says_so(
    patient_site: tuple[Box, Pacs], damage: str
) -> None:
    box, pacs = patient_site
    before = box.account("").counts.kept, words(box)["disk.digest_mismatch"]
    study = made_up()
    objects = list(study.instances())
    store_all(box, objects)
    until(lambda: box.account("").counts.kept == before[0] + len(objects), seconds=20, what="the rows")
    lie = _locations(box, study.study_uid)
    if damage == "the file":
        for name in {location.file for location in lie}:
            (box.config.storage.root / name).unlink()
    for location in lie[:1] if damage == "a bit" else lie if damage == "the head" else []:
        at = location.offset + (location.length - 100 if damage == "a bit" else 76)
        _flip(box.config.storage.root / location.file, at)
    settled(box, study.study_uid, seconds=90)
    assert box.account(study.study_uid).outcomes == {"bands": "failed"}
    assert words(box)["disk.digest_mismatch"] > before[1]
    assert _job(box, study.study_uid).kills == 0, "no worker died of it"
    came = [one.path for one in pacs.came_for(study.study_uid)]
    judging.judge(came)
    said = "\n".join(judging.texts(pydicom.dcmread(path)) for path in came)
    assert "NOT ANALYSED (failed). This is not a negative result." in said
    assert "damaged" in said
    explained = why(box, study.study_uid)
    assert "set aside" in explained
    assert "damaged" in explained
    assert status(box)["balance"] == 0


def _locations(box: Box, study_uid: str) -> list[Location]:
    with box.ledger.read() as tx:
        return [instance.location for instance in studies.instances_of(tx, study_uid)]


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))
