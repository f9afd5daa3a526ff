"""One walk of a browser through all the results, for all the tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from appliance.results.context import Notice
from appliance.results.wording import CAUTION
from tests.system.programs import need
from tests.viewers import browser, scans, studies
from tests.viewers.browser import Seen, Step
from tests.viewers.pacs import WebPacs
from tests.viewers.sheet import contact_sheet
from tests.viewers.site import Site
from tests.viewers.studies import BANDS, EVERY, LESION, ORDINARY, Study, kind_of

# The pictures stay here after a run; git passes the folder over.
SHOTS = Path(__file__).resolve().parents[2] / "build" / "viewers"
_HOPES = {
    "sr": "shapes",
    "sr-cornerstone": "shapes",
    "seg": "prompt",
    "seg-fractional": "refused",
    "seg-labelmap": "prompt",
    "gsps": "warned",
    "sc": "image",
    "text-sr": "page",
    "pdf": "document",
    "pmap": "refused",
    "kos": "warned",
    "iocm": "warned",
}
# What this viewer's log says of what it begins to read and cannot; a version that can makes a test fail.
REFUSALS = {
    "seg-fractional": "Fractional segmentations are not yet supported",
    "pmap": "Invalid typed array length",
}
# The viewer can take over what is a rectangle, and every segmentation.
MEASUREMENTS, SEGMENTS = "trackedMeasurements", "panelSegmentation"
_PANELS = {
    f"found {LESION} sr": MEASUREMENTS,
    f"found {LESION} sr-cornerstone": MEASUREMENTS,
    f"found {LESION} seg": SEGMENTS,
    f"found {LESION} seg-labelmap": SEGMENTS,
    f"found {BANDS} seg": SEGMENTS,
    f"chest {scans.NODULE} sr": MEASUREMENTS,
    "frames MR geometry-regions seg": SEGMENTS,
}


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The studies, by name, and what a browser saw of their series, by the name of the step."""

    examples: Mapping[str, Study]
    seen: Mapping[str, Seen]


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Make up studies, store them in Orthanc, open every series of results in OHIF."""
    require_viewer()
    examples = everyday(tmp_path_factory.mktemp("viewers"))
    return Walk(
        examples=examples, seen=seen_in(examples, tmp_path_factory.mktemp("pacs"), SHOTS, panels=_PANELS)
    )


def require_viewer() -> None:
    """Skip, or fail under CI, where a part of the viewer is not to be had."""
    for program in ("Orthanc", "node", "chromium"):
        need(program)
    browser.driver()
    browser.viewer()


def seen_in(
    examples: Mapping[str, Study], folder: Path, shots: Path, *, panels: Mapping[str, str]
) -> dict[str, Seen]:
    """Store studies in an archive and open every series of results in the viewer.

    `panels` names the side panel to look into for a step whose result is taken over by the viewer.
    """
    shutil.rmtree(shots, ignore_errors=True)
    shots.mkdir(parents=True)
    site = Site(browser.viewer())
    with site, _pacs(folder, public=site.public) as pacs, site.running(pacs.web) as address:
        for example in examples.values():
            for path in sorted(example.folder.rglob("*.dcm")):
                pacs.upload(path)
        seen = browser.browse(address, steps(examples, panels), shots)
    contact_sheet(shots, list(seen))
    return seen


@contextmanager
def _pacs(folder: Path, *, public: str) -> Iterator[WebPacs]:
    pacs = WebPacs(folder, public=public)
    pacs.open()
    try:
        yield pacs
    finally:
        pacs.stop()


def everyday(folder: Path) -> dict[str, Study]:
    """Make one study for every kind of object, of answer and of image."""
    found = studies.make(folder / "found", number=1, lesions=2, models=[LESION], outputs=EVERY)
    studies.analyse(found, BANDS)
    made = {
        "found": found,
        "clear": studies.make(folder / "clear", number=2, lesions=0, models=[LESION]),
        "wide": studies.make(folder / "wide", number=3, lesions=0, models=[LESION], wide=True),
        "unsure": studies.make(folder / "unsure", number=4, lesions=0),
        "failed": studies.make(folder / "failed", number=5, lesions=0),
        "not run": studies.make(folder / "not run", number=6, lesions=0),
        "replaced": studies.make(folder / "replaced", number=7, lesions=1),
    }
    studies.replace_result(made["replaced"], LESION, outputs=frozenset({"sr", "text-sr"}))
    studies.abstain(made["unsure"])
    for kind in ("failed", "not run"):
        told = Notice(kind=kind, reason=f"It is {kind}.", what_to_do="Read it yourself.")
        studies.notify(made[kind], told, outputs=ORDINARY | {"pdf"})
    return {
        **made,
        "frames CT": scans.frames(folder / "frames CT", "enhanced CT", number=21),
        "frames MR": scans.frames(folder / "frames MR", "enhanced MR", number=22),
        "chest": scans.chest(folder / "chest", number=23),
    }


def steps(examples: Mapping[str, Study], panels: Mapping[str, str]) -> list[Step]:
    """List every series of results; what to wait for follows from its kind."""
    return [
        _step(example.study_uid, f"{name} {result}", header, panel=panels.get(f"{name} {result}"))
        for name, example in examples.items()
        for result, header in _series(example)
    ]


def _step(study_uid: str, name: str, header: Dataset, *, panel: str | None) -> Step:
    kind = name.split()[-1]
    return Step(
        name=name,
        study_uid=study_uid,
        series_uid=str(header.SeriesInstanceUID),
        series=header.SeriesDescription,
        series_number=int(header.SeriesNumber),
        hope=_HOPES[kind],
        words=REFUSALS.get(kind, CAUTION),
        panel=panel,
    )


def _series(example: Study) -> Iterator[tuple[str, Dataset]]:
    """Give one header of each series of results, with its result's name and its kind."""
    told: set[str] = set()
    for path in _results(example):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.SeriesInstanceUID not in told:
            told.add(header.SeriesInstanceUID)
            yield f"{path.parent.name} {kind_of(path)}", header


def _results(example: Study) -> Sequence[Path]:
    return [path for path in sorted(example.folder.rglob("*.dcm")) if path.parent.name != "images"]
