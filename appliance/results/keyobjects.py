"""Key Object Selection: the images on which something was found, and the report that says what.

PS3.3 A.35.4. The title is (113000,DCM,"Of Interest"): the one title of PS3.16 CID 7010 that claims no more
than that somebody should look here. All others name a purpose, or a judgement that is a person's to give.
Promises: only images on which a region is largest; what is there stands in the description.
Never: a selection of nothing; a verdict on images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import (
    CodedConcept,
    CompositeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.results import wording
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.headers import put_evidence, stub
from appliance.results.limits import DEFAULT, Limits
from appliance.results.marks import where
from appliance.results.regions import regions
from appliance.results.report import header, observation_context, text_item
from appliance.results.slices import SlicePlace
from models.findings import Findings
from models.tensors import Volume

LABEL = Label(output="kos", title="kos")

_STATE = "PRELIMINARY, UNVERIFIED."
# Classes of results whose instances hold pixels, by the end of their UID: secondary captures, segmentations,
# parametric maps. A reference to one is an IMAGE (PS3.3 C.18.4).
_PIXELS = tuple(
    f"1.2.840.10008.5.1.4.1.1.{part}" for part in ("7", "7.1", "7.2", "7.3", "7.4", "66.4", "66.7", "30")
)


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Hold one object that a selection names.

    Attributes:
        image: whether it holds pixels.
        frames: frame numbers of a multi-frame image; None for all of it.
    """

    reference: Reference
    image: bool
    frames: Sequence[int] | None = None


def key_images(findings: Findings, volume: Volume, *, limits: Limits = DEFAULT) -> dict[int, list[str]]:
    """Choose slices of the volume, the largest lesion's first, and name the regions that are largest there.

    Args:
        findings: what the model found, in shapes that can be drawn.
        volume: the grid they lie on.
        limits: bounds of the result objects.
    """
    chosen: dict[int, list[str]] = {}
    for region in regions(findings, volume, limits=limits):
        if region.best in chosen or len(chosen) < limits.key_images_max:
            chosen.setdefault(region.best, []).append(region.tag)
    return chosen


def key_objects(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    places: Sequence[SlicePlace],
    findings: Findings,
    images: dict[int, list[str]],
    read: Reference,
) -> EncodedObject:
    """Encode the selection of a result's key images.

    Args:
        context: who made it, and its UIDs.
        sources: headers of the images the model saw.
        places: the image behind each slice of the volume.
        findings: what the model found.
        images: slices and what is on them, at least one.
        read: the object of this result that says what was found.
    """
    picks = [_image(places[index], sources[0]) for index in images]
    lines = [
        wording.conclusion(findings),
        *wording.standing(context),
        *_descriptions(places, images),
        _STATE,
        wording.CAUTION,
    ]
    return selection(
        context,
        LABEL,
        title=CodedConcept.from_code(codes.DCM.OfInterest),
        lines=lines,
        picks=[*picks, Pick(reference=read, image=False)],
        source=sources[0],
    )


def selection(
    context: ResultContext,
    label: Label,
    *,
    title: CodedConcept,
    lines: Sequence[str],
    picks: Sequence[Pick],
    source: Dataset,
) -> EncodedObject:
    """Encode a Key Object Selection of any title (PS3.16 TID 2010).

    Args:
        context: who made it, and its UIDs.
        label: names the object.
        title: one of CID 7010.
        lines: the description, sentence by sentence.
        picks: what it names, at least one; its evidence is these and no other.
        source: an image of the study.
    """
    root = ContainerContentItem(name=title, template_id="2010")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(observation_context(context))
    root.ContentSequence.append(text_item(codes.DCM.KeyObjectDescription, wording.sentences(lines)))
    root.ContentSequence.extend([_item(pick) for pick in picks])
    named = list({pick.reference.sop_instance_uid: header(pick.reference) for pick in picks}.values())
    made = KeyObjectSelectionDocument(
        evidence=[stub(source), *named],
        content=KeyObjectSelection.from_sequence([root]),
        **common(context, label),
    )
    put_evidence(made, named)
    return finish(made, context, label, source=source)


def holds_pixels(sop_class_uid: str) -> bool:
    """Say whether a reference to an object of this class is one to an image."""
    return sop_class_uid in _PIXELS


def _descriptions(places: Sequence[SlicePlace], images: dict[int, list[str]]) -> Iterator[str]:
    for index, tags in images.items():
        named = ", ".join(tags[: DEFAULT.tagged_regions_max])
        more = len(tags) - DEFAULT.tagged_regions_max
        said = f"{named} and {more} more" if more > 0 else named
        yield f"{where(places[index], index=index, slices=len(places))}: {said}"


def _image(place: SlicePlace, source: Dataset) -> Pick:
    reference = Reference(
        sop_class_uid=place.sop_class_uid,
        sop_instance_uid=place.sop_instance_uid,
        series_uid=str(source.SeriesInstanceUID),
        study_uid=str(source.StudyInstanceUID),
    )
    return Pick(reference=reference, image=True, frames=place.frames)


def _item(pick: Pick) -> ImageContentItem | CompositeContentItem:
    """Refer to one object; its purpose has a name, for viewers stumble over items without one (R5)."""
    name, contains = CodedConcept("260753009", "SCT", "Source"), RelationshipTypeValues.CONTAINS
    uids = pick.reference.sop_class_uid, pick.reference.sop_instance_uid
    if not pick.image:
        return CompositeContentItem(name, *uids, relationship_type=contains)
    frames = list(pick.frames) if pick.frames else None
    return ImageContentItem(name, *uids, referenced_frame_numbers=frames, relationship_type=contains)
