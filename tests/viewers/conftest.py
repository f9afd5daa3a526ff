"""One walk of a browser through all the results, for all the tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, EnhancedSRStorage, SegmentationStorage

from appliance.results.context import Notice
from appliance.results.wording import CAUTION
from tests.system.programs import need
from tests.viewers import browser, studies
from tests.viewers.browser import Seen, Step
from tests.viewers.pacs import WebPacs
from tests.viewers.site import Site
from tests.viewers.studies import BANDS, LESION, Example

_KINDS = {
    str(Comprehensive3DSRStorage): ("report", "shapes"),
    str(EnhancedSRStorage): ("page", "page"),
    str(SegmentationStorage): ("overlay", "prompt"),
}
_PICTURE = ("picture", "image")
# The viewer can take over what is a rectangle, and every segmentation.
_PANELS = {
    f"found {LESION} report": "trackedMeasurements",
    f"found {LESION} overlay": "panelSegmentation",
    f"found {BANDS} overlay": "panelSegmentation",
}


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The studies, by name, and what a browser saw of their series, by the name of the step."""

    examples: Mapping[str, Example]
    seen: Mapping[str, Seen]


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Make up studies, store them in Orthanc, open every series of results in OHIF."""
    folder = tmp_path_factory.mktemp("viewers")
    for program in ("Orthanc", "node", "chromium"):
        need(program)
    browser.driver()
    site = Site(browser.viewer())
    examples = _examples(folder)
    with site, _pacs(folder / "orthanc", public=site.public) as pacs, site.running(pacs.web) as address:
        for example in examples.values():
            for path in sorted(example.folder.rglob("*.dcm")):
                pacs.upload(path)
        shots = folder / "shots"
        shots.mkdir()
        return Walk(examples=examples, seen=browser.browse(address, _steps(examples), shots))


@contextmanager
def _pacs(folder: Path, *, public: str) -> Iterator[WebPacs]:
    pacs = WebPacs(folder, public=public)
    pacs.open()
    try:
        yield pacs
    finally:
        pacs.stop()


def _examples(folder: Path) -> dict[str, Example]:
    """Make one study for every kind of answer."""
    made = {
        "found": studies.make(folder / "found", number=1, lesions=2, models=[LESION, BANDS]),
        "clear": studies.make(folder / "clear", number=2, lesions=0, models=[LESION]),
        "wide": studies.make(folder / "wide", number=3, lesions=0, models=[LESION], wide=True),
        "unsure": studies.make(folder / "unsure", number=4, lesions=0, models=[]),
        "failed": studies.make(folder / "failed", number=5, lesions=0, models=[]),
        "not run": studies.make(folder / "not run", number=6, lesions=0, models=[]),
    }
    studies.abstain(made["unsure"])
    for kind in ("failed", "not run"):
        studies.notify(made[kind], Notice(kind=kind, reason=f"It is {kind}.", what_to_do="Read it yourself."))
    return made


def _steps(examples: Mapping[str, Example]) -> list[Step]:
    """List every series of results; what to wait for follows from its kind."""
    return [
        _step(example.study_uid, name, source, header)
        for name, example in examples.items()
        for source, header in _series(example)
    ]


def _step(study_uid: str, example: str, source: str, header: Dataset) -> Step:
    kind, hope = _KINDS.get(str(header.SOPClassUID), _PICTURE)
    name = f"{example} {source} {kind}"
    return Step(
        name=name,
        study_uid=study_uid,
        series=header.SeriesDescription,
        series_number=int(header.SeriesNumber),
        hope=hope,
        words=CAUTION,
        panel=_PANELS.get(name),
    )


def _series(example: Example) -> Iterator[tuple[str, Dataset]]:
    """Give one header of each series of results, with the name of the folder it lies in."""
    told = set()
    for path in sorted(example.folder.rglob("*.dcm")):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.Modality != "CT" and header.SeriesInstanceUID not in told:
            told.add(header.SeriesInstanceUID)
            yield path.parent.name, header
