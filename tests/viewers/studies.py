"""Made-up studies with results in them, made the way a person makes them: `readside analyse`.

What no model says of a made-up head (an abstention, a failure, a model that never ran) is encoded from
values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.demo.study import MadeStudy
from appliance.results.context import EncodedObject, Notice
from appliance.results.encode import encode, encode_notice
from dicom_node.send import Outgoing
from models import phantom
from models.findings import Findings, Outcome
from tests.appliance.results import given
from tests.system.images import decoded, part10

LESION, BANDS = "ct-phantom-lesion", "ct-tissue-bands"
OUTPUTS = frozenset({"sr", "seg", "sc", "text-sr"})
_SEED = 7
_SHAPE = (24, 128, 128)
_SPACING_MM = (4.0, 1.8, 1.8)
# The lesion model takes slices that are 6 mm apart at most.
_WIDE_MM = (9.0, 1.8, 1.8)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A study in a folder, and the truth about it: bool (z, y, x), True inside a lesion."""

    folder: Path
    study: MadeStudy
    truth: npt.NDArray[np.bool_]

    @property
    def study_uid(self) -> str:
        """Return the Study Instance UID."""
        return self.study.study_uid

    def column_row_slice(self, point_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Give pixel indices (column, row, slice) of points in mm, LPS; whole numbers are pixel centres."""
        z, y, x = self.study.spacing_mm
        _, rows, columns = self.study.hu.shape
        corner = np.array([-x * (columns - 1) / 2, -y * (rows - 1) / 2, 0.0])
        return np.asarray((np.asarray(point_mm, dtype=np.float64) - corner) / np.array([x, y, z]))


def make(folder: Path, *, number: int, lesions: int, models: Iterable[str], wide: bool = False) -> Example:
    """Make up a study and let models analyse it; everything lies in one folder at the end."""
    spacing_mm = _WIDE_MM if wide else _SPACING_MM
    hu, truth = phantom.volume(_SEED, shape=_SHAPE, spacing_mm=spacing_mm, lesions=lesions)
    study = MadeStudy(hu=hu, spacing_mm=spacing_mm, number=number)
    images = folder / "images"
    images.mkdir(parents=True)
    for index, item in enumerate(study.instances()):
        (images / f"{index:03}.dcm").write_bytes(part10(item))
    for model in models:
        analyse(images, model, folder / model)
    return Example(folder=folder, study=study, truth=truth.astype(np.bool_))


def analyse(images: Path, model: str, target: Path) -> None:
    """Run `readside analyse`, in this process."""
    done = CliRunner().invoke(app, ["analyse", str(images), "--model", model, "--out", str(target)])
    assert done.exit_code == 0, done.output


def abstain(example: Example) -> None:
    """Add the result of a model that looked and would not say."""
    findings = Findings(outcome=Outcome.ABSTAINED, statement="The model is not sure: probability 0.55.")
    context = given.context(study_uid=example.study_uid)
    objects = encode(context, sources=_headers(example), volume=None, findings=findings, outputs=OUTPUTS)
    _add(example, "abstained", objects)


def notify(example: Example, notice: Notice) -> None:
    """Add a notice that there is no result."""
    context = given.context(study_uid=example.study_uid)
    page = frozenset({"text-sr"})
    objects = encode_notice(context, sources=_headers(example), notice=notice, outputs=page)
    _add(example, notice.kind, objects)


def _headers(example: Example) -> list[Dataset]:
    headers = [decoded(item) for item in example.study.instances()]
    for header in headers:
        del header.PixelData
    return headers


def _add(example: Example, name: str, objects: Iterable[EncodedObject]) -> None:
    target = example.folder / name
    target.mkdir()
    for index, item in enumerate(objects):
        outgoing = Outgoing(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            data=item.data,
        )
        (target / f"{index}.dcm").write_bytes(part10(outgoing))
