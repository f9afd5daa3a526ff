"""Marks in the eight octants of a body come back from every object at their place, however it was imaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import Dataset

from models.findings import Detection, Lesion
from tests.geometry.boxed import Boxed, analysed, boxed, mark_of
from tests.geometry.networks import Kind, package
from tests.geometry.phantom import SCANS, Scan, octant_of, pixel_places, written
from tests.geometry.pictures import HALF_A_PIXEL, check_picture
from tests.geometry.reading import Image, apart, box_of, extent, groups, image_of, marks

PROBABILITY = "122157"


def of_scan(name: str, kind: Kind, folder: Path) -> Boxed:
    """Image the body, and send it through the box."""
    scan = SCANS[name]
    (folder / "images").mkdir()
    headers = written(scan, folder / "images")
    model = package(kind, headers[0].Modality, folder)
    return boxed(analysed(model, folder / "images"), headers)


def brief(*names: str) -> list[object]:
    """Run these by default and the other scans at length."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.long) for name in SCANS]


@pytest.mark.parametrize(
    "name",
    brief(
        *(name for name in SCANS if name not in ("axial", "shuffled", "enhanced CT", "prone", "feet first"))
    ),
)
def test_regions_come_back_at_their_place_in_every_object(name, tmp_path):
    found = of_scan(name, "regions", tmp_path)
    check_volume(found, SCANS[name])
    check_regions(found)


@pytest.mark.parametrize("name", brief("left-handed column"))
def test_a_network_that_sees_the_body_turned_changes_nothing(name, tmp_path):
    check_regions(of_scan(name, "turned regions", tmp_path))


@pytest.mark.parametrize("name", brief("tilted", "enhanced CT"))
def test_labels_come_back_each_as_a_segment_of_its_own_octant(name, tmp_path):
    found = of_scan(name, "labels", tmp_path)
    listed = groups(found.one("sr"))
    assert sorted(group.name for group in listed) == [f"octant {number}" for number in range(1, 9)]
    for group in listed:
        mark = int(group.name.removeprefix("octant "))
        assert group.segment == mark
        assert group.lines
        for line in group.lines:
            check_outline(found, line.image, [line.points], mark)
    named = {item.SegmentNumber: item.SegmentLabel for item in found.one("seg").SegmentSequence}
    assert named == {number: f"octant {number}" for number in range(1, 9)}
    check_segments(found, whole=False)
    check_label_map(found, whole=False)
    check_marks(found, {f"octant {number}": number for number in range(1, 9)})


@pytest.mark.parametrize("name", brief("enhanced CT, oblique"))
def test_boxes_keep_their_exact_edges(name, tmp_path):
    found = of_scan(name, "regions", tmp_path)
    detections = tuple(
        Detection(
            label=lesion.label,
            kind="mark",
            finding=lesion.finding,
            probability=lesion.probability,
            slice_index=lesion.slice_index,
            slice_range=lesion.slice_range,
            box=edges(lesion),
        )
        for lesion in found.analysis.findings.lesions
    )
    findings = replace(found.analysis.findings, lesions=(), segments=(), detections=detections)
    again = boxed(found.analysis, list(found.headers.values()), findings)
    assert "seg" not in again.objects
    names: dict[str, int] = {}
    for group, detection in zip(groups(again.one("sr")), detections, strict=True):
        mark = names[group.name] = mark_of(group.numbers[PROBABILITY])
        assert mark == mark_of(detection.probability)
        top, left, bottom, right = detection.box
        for line in group.lines:
            assert extent(line.points) == pytest.approx([left, top, right, bottom], abs=1e-3)
            assert (again.truth[line.image] == mark).any()
            assert octant_at(again, line.image, line.points) == mark
    drawn = {line.name for line in marks(again.one("gsps"))}
    assert drawn == set(names)
    for line in marks(again.one("gsps")):
        (detection,) = [d for d in detections if line.name.endswith(f" {d.label}")]
        top, left, bottom, right = detection.box
        assert np.abs(extent(line.points) - [left, top, right, bottom]).max() <= HALF_A_PIXEL


@pytest.mark.parametrize("frames", [None, "CT", pytest.param("MR", marks=pytest.mark.long)])
def test_one_image_alone_has_its_marks_at_their_place(frames, tmp_path):
    # The level of the upper four marks; the step is what the body's middle lies away from it.
    scan = replace(SCANS["axial"], slices=1, step=(0.0, 0.0, -178.0), frames=frames)
    (tmp_path / "images").mkdir()
    headers = written(scan, tmp_path / "images")
    model = package("labels", headers[0].Modality, tmp_path)
    found = boxed(analysed(model, tmp_path / "images"), headers)
    assert {mark for labels in found.truth.values() for mark in np.unique(labels)} == {0, 2, 4, 6, 8}
    check_segments(found, whole=False)
    check_marks(found, {f"octant {number}": number for number in range(1, 9)})
    assert [group.segment for group in groups(found.one("sr")) if group.segment] == [2, 4, 6, 8]


def edges(lesion: Lesion) -> tuple[float, float, float, float]:
    """Give a box around a region whose edges lie between pixels."""
    (top, left), (height, width) = lesion.origin[1:], lesion.component.shape[1:]
    return top + 0.3, left - 0.2, top + height + 0.1, left + width + 0.4


def check_volume(found: Boxed, scan: Scan) -> None:
    """Hold the volume's own geometry to the truth, slice by slice."""
    volume = found.analysis.volume
    assert volume.regular
    assert volume.shape == (scan.slices, scan.rows, scan.columns)
    assert (np.diff(volume.positions @ volume.normal) > 0).all()
    stepped = scan.stride / np.linalg.norm(scan.stride)
    lean = np.degrees(np.arccos(abs(float(stepped @ volume.normal))))
    assert volume.gantry_tilt_degrees == pytest.approx(lean, abs=0.01)


def check_regions(found: Boxed) -> None:
    """Hold report, segmentation, presentation state and pictures of eight regions to the truth."""
    names: dict[str, int] = {}
    uids: dict[str, str] = {}
    for group in groups(found.one("sr")):
        mark = names[group.name] = mark_of(group.numbers[PROBABILITY])
        uids[group.name] = group.uid
        assert len(group.lines) == 1 + len(group.numbers)
        for line in group.lines:
            check_rectangle(found, line.image, line.points, mark)
    assert sorted(names.values()) == list(range(1, 9))
    check_segments(found, whole=True)
    check_label_map(found, whole=True)
    check_shares(found)
    check_marks(found, names, uids)
    check_pictures(found)


def check_rectangle(found: Boxed, image: Image, points: np.ndarray, mark: int) -> None:
    """A rectangle encloses its mark, on the image where that is largest."""
    held = found.truth[image] == mark
    assert np.abs(extent(points) - box_of(held)).max() <= HALF_A_PIXEL
    assert held.sum() == max((labels == mark).sum() for labels in found.truth.values())
    assert octant_at(found, image, points) == mark


def octant_at(found: Boxed, image: Image, points: np.ndarray) -> int:
    """Give the octant of the patient in which the middle of a shape lies, by the image's own header."""
    left, top, right, bottom = extent(points)
    places = pixel_places(found.headers[image[0]], image[1])
    return octant_of(places[int((top + bottom) / 2), int((left + right) / 2)])


def check_outline(found: Boxed, image: Image, lines: list[np.ndarray], mark: int) -> None:
    """Outlines lie on the edge of their mark, both ways."""
    assert apart(lines, found.truth[image] == mark) <= HALF_A_PIXEL
    assert octant_at(found, image, lines[0]) == mark


def check_segments(found: Boxed, *, whole: bool) -> None:
    """Every frame is the truth at its own place, and at the image that it names; none is missing or empty."""
    seg = found.one("seg")
    pixels = seg.pixel_array.astype(bool)
    pixels = pixels.reshape(-1, seg.Rows, seg.Columns)
    seen = set()
    for number, (group, mask) in enumerate(
        zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True), start=1
    ):
        shared = seg.SharedFunctionalGroupsSequence[0]
        named = (group if "SegmentIdentificationSequence" in group else shared).SegmentIdentificationSequence
        segment = named[0].ReferencedSegmentNumber
        (derived,) = group.DerivationImageSequence
        (source,) = derived.SourceImageSequence
        image = image_of(source)
        seen.add((image, segment))
        wanted = found.truth[image] > 0 if whole else found.truth[image] == segment
        assert mask.any()
        assert (mask == wanted).all()
        places = pixel_places(seg, number)
        own = pixel_places(found.headers[image[0]], image[1])
        # A thousandth of a pixel: both are decimal strings.
        assert np.abs(places - own).max() < 2e-3
        for mark in range(1, 9):
            middle = places[mask & (found.truth[image] == mark)]
            if len(middle):
                assert octant_of(middle.mean(axis=0)) == mark
    held = {
        (image, 1 if whole else int(mark))
        for image, labels in found.truth.items()
        for mark in np.unique(labels)
        if mark
    }
    assert seen == held
    check_with_highdicom(found, seg, whole=whole)


def check_label_map(found: Boxed, *, whole: bool) -> None:
    """Every frame is the truth at its own place, and at the image that it names; none is missing or empty."""
    seen = set()
    for image, plane in frames_of(found, found.one("seg-labelmap")):
        labels = found.truth[image]
        assert plane.any()
        assert (plane == (labels > 0 if whole else labels)).all()
        seen.add(image)
    assert seen == {image for image, labels in found.truth.items() if labels.any()}


def check_shares(found: Boxed) -> None:
    """The probabilities of each mark lie on it, in the fractional segmentation and in the heat map."""
    assert found.one("seg-fractional").SegmentationType == "FRACTIONAL"
    held = {image for image, labels in found.truth.items() if labels.any()}
    for output in ("seg-fractional", "pmap"):
        seen = set()
        for image, plane in frames_of(found, found.one(output)):
            labels = found.truth[image]
            wanted = np.where(labels > 0, (600 + 40.0 * labels) / 1000, 0)
            shares = plane if output == "pmap" else plane / 255
            assert np.abs(shares - wanted).max() <= 1 / 255
            seen.add(image)
        assert seen == held


def frames_of(found: Boxed, made: Dataset) -> Iterator[tuple[Image, np.ndarray]]:
    """Give each frame with the image it names, whose place must be its own."""
    planes = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    for number, (group, plane) in enumerate(
        zip(made.PerFrameFunctionalGroupsSequence, planes, strict=True), start=1
    ):
        (derived,) = group.DerivationImageSequence
        (source,) = derived.SourceImageSequence
        image = image_of(source)
        own = pixel_places(found.headers[image[0]], image[1])
        assert np.abs(pixel_places(made, number) - own).max() < 2e-3
        yield image, plane


def check_with_highdicom(found: Boxed, seg: Dataset, *, whole: bool) -> None:
    """Another reader finds the same marks by the images that the frames name."""
    made = Segmentation.from_dataset(seg)
    uids = list(dict.fromkeys(uid for uid, _ in found.truth))
    frames = [frame for _, frame in found.truth if frame is not None]
    if frames:
        given = made.get_pixels_by_source_frame(
            uids[0],
            frames,
            ignore_spatial_locations=True,
            combine_segments=True,
            assert_missing_frames_are_empty=True,
        )
    else:
        given = made.get_pixels_by_source_instance(
            uids,
            ignore_spatial_locations=True,
            combine_segments=True,
            assert_missing_frames_are_empty=True,
        )
    wanted = np.stack(list(found.truth.values()))
    assert (given == (wanted > 0 if whole else wanted)).all()


def check_marks(found: Boxed, names: dict[str, int], uids: dict[str, str] | None = None) -> None:
    """The outlines of a presentation state lie on the edges of their marks on every image that has one."""
    drawn: dict[tuple[Image, str], list[np.ndarray]] = {}
    for line in marks(found.one("gsps")):
        drawn.setdefault((line.image, line.name), []).append(line.points)
        assert uids is None or line.uid == uids[line.name]
    for (image, name), lines in drawn.items():
        check_outline(found, image, lines, names[name])
    held = {(i, m) for i, labels in found.truth.items() for m in np.unique(labels) if m}
    assert {(image, names[name]) for image, name in drawn} == held


def check_pictures(found: Boxed) -> None:
    """The burnt-in outlines lie on the edges of the marks of the image that a picture names."""
    shown = set()
    for picture in found.objects["sc"]:
        (source,) = picture.SourceImageSequence
        labels = found.truth[image_of(source)]
        shown |= set(np.unique(labels)) - {0}
        check_picture(picture, labels, found.analysis.volume.pixel_spacing_mm)
    assert shown == set(range(1, 9))
