"""What was asked for and a result cannot have, so that it is said in words and not left out in silence.

Promises: agrees with what `encode` makes: an output is made, or named here.
Never: encodes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydicom import Dataset

from appliance.core.outputs import OUTPUTS
from appliance.results.slices import is_placed
from appliance.results.subjects import subjects, written_segments
from models.findings import Findings
from models.tensors import Volume


def lacking(
    findings: Findings, *, volume: Volume | None, source: Dataset, outputs: Collection[str]
) -> list[str]:
    """Name the outputs that are asked for and that these findings give nothing for, in the order of OUTPUTS.

    Args:
        findings: what the model found, in shapes that can be drawn.
        volume: the grid of the findings; None when the model saw no volume.
        source: a header of an image the model saw.
        outputs: what was asked for.
    """
    return _lacking(findings, volume, outputs, placed=is_placed(source))


def unplaced(
    findings: Findings, *, volume: Volume | None, source: Dataset, outputs: Collection[str]
) -> list[str]:
    """Name those of `lacking` that there would be if the images said where in the patient they lie."""
    if is_placed(source):
        return []
    anyway = _lacking(findings, volume, outputs, placed=True)
    return [kind for kind in _lacking(findings, volume, outputs, placed=False) if kind not in anyway]


def _lacking(
    findings: Findings, volume: Volume | None, outputs: Collection[str], *, placed: bool
) -> list[str]:
    given = _given(findings, volume, placed) if volume is not None else {}
    return [kind for kind in OUTPUTS if kind in outputs and not given.get(kind, kind in _ALWAYS)]


# Pages of words need no volume; a rejection note is about another result.
_ALWAYS = frozenset({"text-sr", "pdf", "iocm"})


def _given(findings: Findings, volume: Volume, placed: bool) -> Mapping[str, bool]:
    masks = bool(written_segments(findings))
    marks = masks or bool(findings.lesions)
    overlay = masks and placed
    report = bool(subjects(findings, volume.shape, with_seg=False))
    return {
        "sr": report,
        "sr-cornerstone": report,
        "seg": overlay,
        "seg-fractional": overlay,
        "seg-labelmap": overlay,
        "gsps": marks,
        "sc": True,
        "pmap": bool(findings.maps) and placed,
        "kos": marks,
    }
