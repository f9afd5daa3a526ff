"""A route on a genuine Triton server: the result names it; when it dies in a study, the result still comes.

The judge is what the stand-in PACS was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.demo.box import Box
from appliance.demo.study import MadeStudy
from appliance.inference.kserve.wire import Trouble
from appliance.ledger import jobs
from models.catalogue import shipped
from models.package import open_package
from tests.system import judging
from tests.system.boxes import BANDS, Pacs, make_box, running, settled, store_all, why, words
from tests.system.images import made_up
from tests.system.waiting import until
from tests.triton.repository import put
from tests.triton.server import Triton

pytest_plugins = ("tests.triton.fixtures",)
pytestmark = pytest.mark.timeout(240)
MODEL = "ct-tissue-bands"
TRITON, CPU = "Triton 2.51.0 (KServe v2 over gRPC)", "ONNX Runtime"
# Five calls of eight slices, so that there is a middle to die in.
SHAPE = (40, 64, 64)


@pytest.fixture
def slow(triton: Triton) -> Iterator[Path]:
    """Where to write how many seconds the server takes for a call from now on."""
    package = open_package(next(path for path in shipped() if path.name == MODEL))
    path = put(triton.repository, package) / "seconds"
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def box(triton: Triton, tmp_path: Path, pacs: Pacs, slow: Path) -> Iterator[Box]:
    """A box that prefers the server."""
    # Not ahead of the job: it is the job's own calls that the server is to die under.
    server = f'engines = ["kserve", "cpu"]\nkserve = ["{triton.urls["grpc"]}"]\nahead = false\n'
    more = f"{BANDS}\n[inference]\n{server}"
    with running(make_box(tmp_path / "site", pacs_port=pacs.port, more=more)) as started:
        yield started


def test_a_route_runs_on_a_server_which_dies_in_a_study(
    box: Box, pacs: Pacs, triton: Triton, slow: Path
) -> None:
    assert TRITON in _report(box, pacs, _sent(box))

    slow.write_text("1.5")
    study = _sent(box, settle=False)
    before = triton.calls(MODEL)
    until(lambda: triton.calls(MODEL) > before, seconds=60, what="the first slices are back from the server")
    triton.kill()
    settled(box, study.study_uid, seconds=120)
    said = _report(box, pacs, study)
    assert TRITON not in said
    assert CPU in said
    assert "Engine stepped down" in said
    assert "kserve: " in said
    # In the middle of a call, or before the next one was sent.
    gone = [trouble.value for trouble in (Trouble.GONE, Trouble.REFUSED)]
    assert any(sentence in said for sentence in gone)
    assert any(sentence in why(box, study.study_uid) for sentence in gone)
    with box.ledger.read() as tx:
        (job,) = jobs.of_study(tx, study.study_uid)
    assert job.attempts == 2, "the job was tried again, from its images"
    assert words(box)["model.loaded"] == 2, (
        "the server's, then the processor's; and each line of the log is ours"
    )


@pytest.mark.long
def test_a_server_that_is_back_is_used_again(box: Box, pacs: Pacs, triton: Triton) -> None:
    triton.kill()
    assert CPU in _report(box, pacs, _sent(box))

    triton.start()
    until(
        lambda: TRITON in _report(box, pacs, _sent(box)), seconds=180, what="a study analysed on the server"
    )


def _sent(box: Box, *, settle: bool = True) -> MadeStudy:
    study = made_up(SHAPE)
    store_all(box, list(study.instances()))
    if settle:
        settled(box, study.study_uid)
    return study


def _report(box: Box, pacs: Pacs, study: MadeStudy) -> str:
    """Return every text of the one report on a study that came to the PACS."""
    (report,) = judging.reports([came.path for came in pacs.came_for(study.study_uid)])
    return judging.texts(report) + "\n" + str(report)
