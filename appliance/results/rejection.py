"""The rejection note: that an earlier result is no longer current, said so that archives hide it.

IHE RAD IOCM (RAD-66) says it by a Key Object Selection titled (113001,DCM,"Rejected for Quality Reasons").
The reasons of PS3.16 CID 7011 are faults of images and none means "replaced", so the optional modifier of the
title is left out, and the description says it.
Promises: names every object of the result that is replaced, and nothing else.
Never: rejects images, or an earlier rejection note, which would bring back what that one hid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.results import wording
from appliance.results.context import EncodedObject, ResultContext
from appliance.results.finish import Label
from appliance.results.keyobjects import Pick, holds_pixels, selection

LABEL = Label(output="iocm", title="iocm")

_WHY = (
    "The objects listed here belong to an earlier result of the same study and model and are no longer "
    "current. Software rejected them because a newer result replaces them, for no fault of the images."
)


def rejections(context: ResultContext, *, sources: Sequence[Dataset]) -> list[EncodedObject]:
    """Encode the note on what a result replaces; none where it replaces nothing.

    Args:
        context: who made the new result, and what it replaces.
        sources: at least one header of the study.
    """
    old = [one for one in context.supersedes if one.output != LABEL.output]
    if not old:
        return []
    picks = [Pick(reference=one, image=holds_pixels(one.sop_class_uid)) for one in old]
    note = selection(
        context,
        LABEL,
        title=CodedConcept.from_code(codes.DCM.RejectedForQualityReasons),
        lines=[_WHY, *wording.standing(replace(context, remarks=()))],
        picks=picks,
        source=sources[0],
    )
    return [note]
