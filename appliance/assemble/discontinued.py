"""Why a workitem is canceled, as a code and in words (PS3.16 CID 9300, Procedure Discontinuation Reasons).

Promises: every reason has both; the words are these and no others, so no patient data can be among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.ledger.performed import Why
from dicom_node.dicomweb.workitem import Code


def _dcm(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="DCM", meaning=meaning)


_REJECTED: Final = _dcm("110530", "Workitem assignment rejected by assigned resource")
_INCOMPLETE: Final = _dcm("110523", "Object Set incomplete")
_NOT_SUPPORTED: Final = _dcm("110522", "Object Types not supported")
_FAILURE: Final = _dcm("110501", "Equipment failure")
_UNSPECIFIED: Final = _dcm("110513", "Discontinued for unspecified reason")

REASONS: Final[Mapping[Why, tuple[Code, str]]] = {
    Why.UNREADABLE: (
        _REJECTED,
        "The workitem names no study that this device can make out of it.",
    ),
    Why.NO_PEER: (
        _REJECTED,
        "This device is not configured to retrieve from where the input is said to be.",
    ),
    Why.NOT_THERE: (_INCOMPLETE, "The study is not where the input is said to be."),
    Why.INCOMPLETE: (_INCOMPLETE, "The study could not be retrieved whole."),
    Why.ASKED: (_UNSPECIFIED, "Canceled because its cancellation was requested."),
    Why.NOTHING: (_NOT_SUPPORTED, "The study holds nothing that can be analysed."),
    Why.NO_ROUTE: (_REJECTED, "The requested analysis was not active on this device."),
    Why.NOT_WANTED: (_NOT_SUPPORTED, "No series of the study is what the requested analysis takes."),
    Why.OTHER_SERIES: (_NOT_SUPPORTED, "The requested analysis takes none of the series that are named."),
    Why.NOT_ELIGIBLE: (_NOT_SUPPORTED, "Not analysed: the images do not fit the model."),
    Why.FAILED: (_FAILURE, "Not analysed: the analysis failed."),
    Why.NOT_RUN: (_FAILURE, "Not analysed: the model did not run."),
    Why.UNDELIVERED: (_FAILURE, "There is a result, and no destination took it."),
}
