"""What the box writes appears in OHIF: drawn, in the right place, and readable.

Pictures of every series, and a sheet of all of them, lie in `build/viewers` afterwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from appliance.core.outputs import OUTPUTS
from tests.viewers.browser import Look, Shape, pixels
from tests.viewers.conftest import REFUSALS, Walk
from tests.viewers.scans import NODULE, Chest, Frames
from tests.viewers.studies import BANDS, LESION, ORDINARY, Example

# The walk is one fixture: some minutes of a software-drawn browser, more on a busy machine.
pytestmark = pytest.mark.timeout(1500)

# The model works on a grid of its own, of about one pixel here, so its edge may be off by one; the viewer's
# line is a third of a pixel wide.
LESION_PIXELS = 1.5
# The bands are exact, and the outline runs along pixel edges, thinned by half a pixel.
BAND_PIXELS = 0.75
# The network sees the radiograph at half its size.
NODULE_PIXELS = 4.0
LESION_RGB = (255, 80, 60)
REGIONS = "geometry-regions"

Box = npt.NDArray[np.float64]


def head(walk: Walk, name: str) -> Example:
    """Give a study of a made-up head."""
    example = walk.examples[name]
    assert isinstance(example, Example)
    return example


def slice_shown(example: Example, look: Look) -> int:
    """Give the index of the slice that the viewer shows."""
    at = float(example.column_row_slice(look.world_mm([[0.0, 0.0]]))[0, 2])
    assert at == pytest.approx(round(at), abs=0.01), "the viewer shows one of the slices"
    return round(at)


def box_of(example: Example, look: Look, shape: Shape) -> Box:
    """Give a shape's bounding box in pixels of the image: left, top, right, bottom."""
    corners = look.world_mm([[shape.left, shape.top], [shape.right, shape.bottom]])
    return example.column_row_slice(corners)[:, :2].ravel()


def boxes(mask: npt.NDArray[np.bool_]) -> list[Box]:
    """Give the bounding box of each part of a mask: left, top, right, bottom, at the pixels' outer edges."""
    labels, _ = ndimage.label(mask)
    found = ndimage.find_objects(labels)
    return [np.array([x.start, y.start, x.stop, y.stop]) - 0.5 for y, x in found]


def off_by(drawn: Box, mask: npt.NDArray[np.bool_]) -> float:
    """Give how far the edges of a box are from those of the nearest part of a mask, in pixels."""
    assert mask.any(), "there is something on the slice that the viewer shows"
    return min(float(np.abs(drawn - expected).max()) for expected in boxes(mask))


def shown(example: Example, look: Look) -> npt.NDArray[np.int64]:
    """Give what the viewer shows at the middle of each pixel of the image: (row, column, rgb)."""
    assert look.canvas is not None
    _, rows, columns = example.study.hu.shape
    z, y, x = example.study.spacing_mm
    row, column = np.indices((rows, columns))
    corner = example.column_row_slice([[0.0, 0.0, 0.0]])[0]
    plane = np.full(row.shape, slice_shown(example, look) * z)
    middles = np.stack([(column - corner[0]) * x, (row - corner[1]) * y, plane], axis=-1)
    at = np.rint(look.canvas_xy(middles.reshape(-1, 3))).astype(int)
    height, width = look.canvas.shape[:2]
    assert (at >= 0).all(), "the whole image is in view"
    assert (at < (width, height)).all(), "the whole image is in view"
    return np.asarray(look.canvas[at[:, 1], at[:, 0]].astype(np.int64).reshape(rows, columns, 3))


def coloured(example: Example, look: Look) -> npt.NDArray[np.bool_]:
    """Say of each pixel of the image, bool (row, column), whether the viewer shows its middle in colour."""
    pixel = shown(example, look)
    return np.asarray(pixel.max(axis=-1) - pixel.min(axis=-1) > 4)


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Give how much two masks agree, 0 to 1."""
    return 2.0 * int((one & other).sum()) / max(int(one.sum()) + int(other.sum()), 1)


def outline(look: Look, kind: str) -> Shape:
    """Give the one shape of a kind; several lines of one size are one shape drawn for several numbers."""
    found = {shape for shape in look.shapes if shape.kind == kind}
    assert len(found) == 1, f"{kind}: {look.shapes}"
    return found.pop()


def kind(name: str) -> str:
    """Give the kind of output of a step."""
    return name.split()[-1]


def test_every_kind_of_output_was_brought_to_the_viewer(walk: Walk):
    assert {kind(name) for name in walk.seen} == set(OUTPUTS)


def test_every_series_opens_and_none_as_an_empty_viewport(walk: Walk):
    for name, seen in walk.seen.items():
        assert not seen.fault, f"{name}: {seen.fault}"
        for look in [seen.open, *([seen.loaded] if seen.loaded else [])]:
            if seen.hope != "document":
                assert look.image or "NOT FOR PRIMARY DIAGNOSIS" in look.page, f"{name} shows nothing"
            assert not look.image or (look.canvas is not None and look.canvas.max() > 100), f"{name} is black"


def test_nothing_that_is_sent_by_default_brings_an_error(walk: Walk):
    for name, seen in walk.seen.items():
        if kind(name) in ORDINARY | {"sr-cornerstone", "seg-labelmap", "pdf"}:
            assert not seen.open.toasts, f"{name}: {seen.open.toasts}"
            assert "Something went wrong" not in seen.open.text, name
            assert not seen.open.warned, name


def test_what_the_viewer_cannot_show_is_marked_in_its_list(walk: Walk):
    cannot = {name for name, seen in walk.seen.items() if seen.open.warned}
    assert cannot == {name for name in walk.seen if kind(name) in ("gsps", "kos", "iocm")}


@pytest.mark.parametrize("output", list(REFUSALS))
def test_what_the_viewer_gives_up_on_is_known_and_leaves_the_images_in_view(walk: Walk, output: str):
    seen = walk.seen[f"found {LESION} {output}"]
    assert any(REFUSALS[output] in line for line in seen.said), seen.said
    assert seen.open.image


def test_a_lesion_is_framed_where_it_lies(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {LESION} sr"].open
    drawn = box_of(example, look, outline(look, "polyline"))
    assert off_by(drawn, example.truth[slice_shown(example, look)]) <= LESION_PIXELS


def test_a_lesions_numbers_are_drawn_beside_it(walk: Walk):
    words = " ".join(walk.seen[f"found {LESION} sr"].open.words)
    assert "Volume: 7." in words
    assert "Long axis: 2" in words, "not the viewer's shorthand"
    assert "Probability: " in words


def test_lesions_become_measurements_of_the_viewer_in_their_place(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {LESION} sr"].loaded
    assert look is not None
    assert look.measured == 2
    assert "Measurements (2)" in look.text
    drawn = box_of(example, look, outline(look, "rect"))
    assert off_by(drawn, example.truth[slice_shown(example, look)]) <= LESION_PIXELS


def test_a_band_is_outlined_where_it_lies(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {BANDS} sr"].open
    bone = example.study.hu[slice_shown(example, look)] >= 300
    assert off_by(box_of(example, look, outline(look, "polyline")), bone) <= BAND_PIXELS
    assert "Volume of bone: " in " ".join(look.words)


def test_no_finding_has_a_mark_that_says_so_and_encloses_nothing(walk: Walk):
    look = walk.seen[f"clear {LESION} sr"].open
    assert {shape.kind for shape in look.shapes} == {"line"}
    assert "No finding in images searched: 24" in " ".join(look.words)


def test_a_lesions_overlay_lies_on_it_and_is_listed(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {LESION} seg"].loaded
    assert look is not None
    truth = example.truth[slice_shown(example, look)]
    drawn = coloured(example, look)
    assert drawn.any(), "the overlay is shown"
    assert not (drawn & ~ndimage.binary_dilation(truth, np.ones((3, 3)))).any()
    assert look.segments == ("lesion",)
    assert look.text.rstrip().endswith("lesion"), "the segment is in the list"


def test_a_label_map_is_drawn_on_the_lesion_and_is_listed(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {LESION} seg-labelmap"].loaded
    assert look is not None
    # The viewer gives a label map no colour, and lists what is in no segment as one.
    dark = shown(example, look).max(axis=-1) < 20
    assert dark[example.truth[slice_shown(example, look)]].any()
    assert look.segments == ("Background", "lesion")


def test_the_overlay_of_bands_lies_on_them_and_is_listed(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {BANDS} seg"].loaded
    assert look is not None
    hu = example.study.hu[slice_shown(example, look)]
    assert dice(coloured(example, look), (hu >= 300) | ((hu >= 50) & (hu < 90))) >= 0.99
    assert "bone" in look.text.split("Segmentations")[1]
    assert "dense-soft" in look.text.split("Segmentations")[1]


def test_contours_become_measurements_of_the_viewer_in_their_place(walk: Walk):
    example, look = head(walk, "found"), walk.seen[f"found {LESION} sr-cornerstone"].loaded
    assert look is not None
    assert look.measured == 2
    truth = example.truth[slice_shown(example, look)]
    closed = [
        shape for shape in look.shapes if shape.kind in ("path", "polyline") and shape.right - shape.left > 5
    ]
    assert min(off_by(box_of(example, look, shape), truth) for shape in closed) <= LESION_PIXELS


def test_of_two_results_the_later_says_that_it_replaces_the_earlier(walk: Walk):
    earlier, later = (walk.seen[f"replaced {name} text-sr"].open.page for name in ("earlier", "later"))
    assert "replaces" in later
    assert "replaces" not in earlier


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_on_a_multi_frame_image_marks_are_framed_on_the_frame_they_lie_on(walk: Walk, modality: str):
    study, look = walk.examples[f"frames {modality}"], walk.seen[f"frames {modality} {REGIONS} sr"].open
    assert isinstance(study, Frames)
    frame = study.frame_at(look.world_mm([[0.0, 0.0]])[0])
    shapes = {shape for shape in look.shapes if shape.kind == "polyline"}
    assert len(shapes) == 4, "four marks lie on one level"
    for shape in shapes:
        corners = look.world_mm([[shape.left, shape.top], [shape.right, shape.bottom]])
        drawn = study.column_row(corners, frame=frame).ravel()
        assert off_by(drawn, study.marks(frame)) <= BAND_PIXELS


def test_the_overlay_of_a_multi_frame_image_is_loaded_onto_its_marks(walk: Walk):
    study, look = walk.examples["frames MR"], walk.seen[f"frames MR {REGIONS} seg"].loaded
    assert isinstance(study, Frames)
    assert look is not None
    assert look.segments == ("mark",)
    assert look.canvas is not None
    frame = study.frame_at(look.world_mm([[0.0, 0.0]])[0])
    spread = look.canvas.astype(int).max(axis=-1) - look.canvas.min(axis=-1)
    rows, columns = np.nonzero(spread > 40)
    at = study.column_row(look.world_mm(np.stack([columns, rows], axis=-1)), frame=frame)
    inside = ndimage.binary_dilation(study.marks(frame))
    column, row = np.rint(at).astype(int).T
    assert len(at) > 500, "the overlay is shown"
    assert inside[row, column].mean() > 0.99


def test_nodules_of_a_radiograph_are_framed_and_become_measurements(walk: Walk):
    study, seen = walk.examples["chest"], walk.seen[f"chest {NODULE} sr"]
    assert isinstance(study, Chest)
    assert seen.loaded is not None
    assert seen.loaded.measured == 2
    rows_mm, columns_mm = study.picture.spacing_mm
    drawn = [
        seen.loaded.world_mm([[shape.left, shape.top], [shape.right, shape.bottom]])[:, :2].ravel()
        / [columns_mm, rows_mm, columns_mm, rows_mm]
        for shape in seen.loaded.shapes
        if shape.kind == "rect"
    ]
    for top, left, bottom, right in study.picture.nodules:
        wanted = [left, top, right, bottom]
        assert min(np.abs(box - wanted).max() for box in drawn) <= NODULE_PIXELS, (wanted, drawn)


def test_a_picture_opens_with_its_outline_in_colour(walk: Walk):
    look = walk.seen[f"found {LESION} sc"].open
    assert "AI picture ct-phantom-lesion" in look.page
    assert look.canvas is not None
    distance = np.abs(look.canvas.astype(int) - LESION_RGB).max(axis=-1)
    # The legend's square is in that colour too, but an outline is nowhere filled.
    labels, _ = ndimage.label(distance < 40, np.ones((3, 3)))
    parts = [labels[where] == index for index, where in enumerate(ndimage.find_objects(labels), start=1)]
    assert any(part.shape[0] > 30 and part.mean() < 0.3 for part in parts)


@pytest.mark.parametrize("name", [f"wide {LESION}", "failed failed", "not run not run"])
def test_a_picture_of_a_notice_is_words(walk: Walk, name: str):
    look = walk.seen[f"{name} sc"].open
    assert "NOT ANALYSED" in look.page
    assert look.canvas is not None
    assert 0.005 < (look.canvas.max(axis=-1) > 150).mean() < 0.3


@pytest.mark.parametrize("name", [f"found {LESION}", "failed failed", "not run not run"])
def test_a_printed_page_opens_as_a_white_sheet_with_words(walk: Walk, name: str):
    screen = pixels(walk.seen[f"{name} pdf"].open.screen).astype(int)
    white = screen.min(axis=-1) > 240
    # The page is the widest white thing on a dark screen; its words are dark on it.
    columns = np.flatnonzero(white.mean(axis=0) > 0.5)
    assert len(columns) > 300, "a page is shown"
    sheet = screen[200:, columns[0] : columns[-1]]
    assert 0.005 < (sheet.max(axis=-1) < 120).mean() < 0.3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"found {LESION}", "FINDING: 2 dense lesions found"),
        (f"found {BANDS}", "MEASURED: "),
        (f"clear {LESION}", "NO FINDING: No dense lesion found"),
        (f"wide {LESION}", "NOT ANALYSED (not eligible). This is not a negative result."),
        ("unsure abstained", "ABSTAINED: "),
        ("failed failed", "NOT ANALYSED (failed). This is not a negative result."),
        ("not run not run", "NOT ANALYSED (not run). This is not a negative result."),
    ],
)
def test_a_page_is_read_as_it_was_meant(walk: Walk, name: str, words: str):
    page = walk.seen[f"{name} text-sr"].open.page
    assert words in page
    assert "NOT FOR PRIMARY DIAGNOSIS" in page
    assert ("NOT ANALYSED" in page) == words.startswith("NOT ANALYSED")
