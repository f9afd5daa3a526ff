"""The preview's page and data: what the objects hold is what a browser is told, to people who logged in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from appliance.console.limits import DEFAULT
from appliance.core.words import Outcome
from appliance.demo.study import encoded
from appliance.ledger import arrivals, custody, events
from appliance.worker.run import Analysis
from tests.appliance.console.filling import Console
from tests.appliance.console.previewing import Previewed, Template, again, analysed, noticed, recorded
from tests.appliance.results.given import mapped, nothing, read
from tests.appliance.worker.given import content, ct, enhanced, ramp
from tests.geometry.boxed import analysed as run
from tests.geometry.networks import COLOUR_RGB, package
from tests.geometry.phantom import Scan, radiograph, written
from tests.geometry.reading import groups

AXIAL = Scan(row=(1, 0, 0), column=(0, 1, 0), slices=30)


@pytest.fixture
def console(console: Console) -> Iterator[Console]:
    """A console whose decoders end with the test."""
    yield console
    console.app.state.room.desk.close()


def folder_of(console: Console) -> Path:
    folder = console.root / "kept" / "1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """30 CT images with eight marks in one segment, analysed and encoded once for all tests."""
    folder = tmp_path_factory.mktemp("template")
    (folder / "images").mkdir()
    written(AXIAL, folder / "images")
    return analysed(folder / "images", run(package("regions", "CT", folder), folder / "images"))


@pytest.fixture
def axial(console: Console, template: Template) -> Previewed:
    """A result of them on a console."""
    return recorded(console, template)


def mask_of(region: dict[str, Any], rows: int, columns: int) -> np.ndarray:
    """Lay a region's bits back onto its image."""
    width, height = region["width"], region["height"]
    packed = np.frombuffer(base64.b64decode(region["bits"]), np.uint8).reshape(height, -1)
    mask = np.zeros((rows, columns), np.bool_)
    across = slice(region["left"], region["left"] + width)
    mask[region["top"] : region["top"] + height, across] = np.unpackbits(packed, axis=1)[:, :width]
    return mask


def test_the_marks_are_those_of_the_report(axial):
    scene = axial.console.logged_in().get(axial.api).json()
    listed = groups(read(axial.object("sr")))
    assert [mark["label"] for mark in scene["marks"]] == [group.name for group in listed]
    order = {one.sop_instance_uid: n for n, one in enumerate(sorted_by_place(axial), start=1)}
    for mark, group in zip(scene["marks"], listed, strict=True):
        (shape,) = mark["shapes"]
        line = group.lines[0]
        assert shape["kind"] == "POLYLINE"
        assert shape["image"] == order[line.image[0]]
        assert shape["points"] == pytest.approx(line.points.ravel().tolist())
        assert mark["finding"] == "Lesion"
        assert [number["name"] for number in mark["numbers"]] == ["Volume", "Long axis", "Probability"]
    assert scene["first"] == scene["marks"][0]["shapes"][0]["image"]
    assert (scene["marks_left_out"], scene["notes"]) == (0, [])


def sorted_by_place(shown: Previewed) -> list[Any]:
    return sorted(shown.instances, key=lambda one: one.facts["ImagePositionPatient"][2])


def test_the_regions_are_the_frames_of_the_segmentation(axial):
    browser = axial.console.logged_in()
    scene = browser.get(axial.api).json()
    seg = read(axial.object("seg"))
    (segment,) = scene["segments"]
    assert (segment["number"], segment["label"]) == (1, "mark")
    assert segment["colour"] == pytest.approx(list(COLOUR_RGB), abs=2)
    assert len(segment["images"]) == seg.NumberOfFrames
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    order = {one.sop_instance_uid: n for n, one in enumerate(sorted_by_place(axial), start=1)}
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = order[source.ReferencedSOPInstanceUID]
        (region,) = browser.get(f"{axial.api}/{number}/regions").json()["regions"]
        assert region["segment"] == 1
        assert np.array_equal(mask_of(region, seg.Rows, seg.Columns), frame == 1)
    empty = next(n for n in range(1, 31) if n not in segment["images"])
    assert browser.get(f"{axial.api}/{empty}/regions").json() == {"regions": []}


def pixels_of(answer: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Read an image as a browser does."""
    assert answer.status_code == 200, answer.text
    about = json.loads(answer.headers["x-image"])
    kind = {"u1": "|u1", "u2": "<u2", "i2": "<i2", "rgb": "|u1"}[about["kind"]]
    samples = (3,) if about["kind"] == "rgb" else ()
    return np.frombuffer(answer.content, kind).reshape(about["rows"], about["columns"], *samples), about


def kept_only(console: Console, *made: Dataset) -> Previewed:
    """Keep images of a series that was not analysed."""
    folder = folder_of(console)
    content(folder, *made)
    return noticed(console, folder, Outcome.NOT_ELIGIBLE, "Slice spacing is 7.5 mm and 5 mm are allowed.")


class TestPixels:
    """What is sent of an image is what was stored, and how to show it."""

    def test_stored_numbers_window_and_unit(self, console):
        cells = ramp(dtype="i2", start=-1000)
        shown = kept_only(console, ct(cells, WindowCenter=[40, 300], WindowWidth=[80, 1500]))
        sent, about = pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))
        assert np.array_equal(sent, cells)
        assert (about["slope"], about["intercept"], about["units"]) == (1, -1024, "HU")
        assert (about["window"], about["inverted"], about["aspect"]) == ([40, 80], False, 1)
        assert about["edges"] == ["L", "P"]

    def test_what_lies_beside_the_stored_bits_is_not_sent(self, console):
        cells = ramp(dtype="u2")
        shown = kept_only(console, ct(cells | np.uint16(0xF000), BitsStored=12, HighBit=11))
        assert np.array_equal(pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))[0], cells)

    def test_more_than_sixteen_bits_are_spread_over_sixteen(self, console):
        cells = (ramp(dtype="u4") * 100_000).astype("u4")
        shown = kept_only(console, ct(cells, RescaleSlope=0.5, RescaleIntercept=10))
        sent, about = pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))
        values = sent * about["slope"] + about["intercept"]
        assert values == pytest.approx(cells * 0.5 + 10, abs=about["slope"])

    def test_a_pixel_that_is_higher_than_wide(self, console):
        shown = kept_only(console, ct(ramp(), PixelSpacing=[2.0, 0.5]))
        assert pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))[1]["aspect"] == 4

    def test_a_radiograph_that_is_stored_inverted(self, console):
        folder = folder_of(console)
        said = {"PhotometricInterpretation": "MONOCHROME1", "ImagerPixelSpacing": [0.2, 0.3]}
        stored = radiograph("DX", folder, rows=60, columns=50, **said)
        shown = noticed(console, folder, Outcome.FAILED, "The analysis failed.")
        sent, about = pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))
        assert np.array_equal(sent, stored.pixel_array)
        assert about["inverted"] is True
        assert about["aspect"] == pytest.approx(2 / 3)
        assert (about["units"], about["edges"]) == ("", ["L", "F"])
        (image,) = console.logged_in().get(shown.api).json()["images"]
        assert image == {"number": 1, "along_mm": None, "here": True}

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
    def test_frames_of_one_object_each_with_its_own_rescale(self, console, syntax):
        cells = np.stack([ramp(64, 66, start=1000 * n) for n in range(3)])
        made = enhanced(cells, heights_mm=[5.0, 0.0, 2.5], intercepts=[-1, -2, -3])
        if syntax != ExplicitVRLittleEndian:
            made.compress(syntax, generate_instance_uid=False)
        shown = kept_only(console, made)
        browser = console.logged_in()
        numbers = [image["number"] for image in browser.get(shown.api).json()["images"]]
        assert numbers == [2, 3, 1], "the order of the places, not of the frames"
        for at, frame in enumerate(numbers, start=1):
            sent, about = pixels_of(browser.get(f"{shown.api}/{at}/pixels"))
            assert np.array_equal(sent, cells[frame - 1])
            assert (about["slope"], about["intercept"]) == (2, -frame)

    @pytest.mark.parametrize("planar", [0, 1])
    def test_colours(self, console, planar):
        rgb = np.random.default_rng(1).integers(0, 256, (6, 5, 3)).astype(np.uint8)
        shown = kept_only(console, colour(rgb, planar=planar))
        sent, about = pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))
        assert about["kind"] == "rgb"
        assert np.array_equal(sent, rgb)

    def test_luma_and_chroma_become_colours(self, console):
        full = np.array([[[76, 85, 255], [150, 44, 21], [29, 255, 107], [255, 128, 128]]], np.uint8)
        shown = kept_only(console, colour(full, PhotometricInterpretation="YBR_FULL"))
        sent, _ = pixels_of(console.logged_in().get(f"{shown.api}/1/pixels"))
        wanted = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
        assert np.abs(sent.astype(int) - wanted).max() <= 2

    def test_what_is_no_image_of_grey_or_colours_says_so(self, console):
        shown = kept_only(console, ct(ramp(dtype="u1"), PhotometricInterpretation="PALETTE COLOR"))
        answer = console.logged_in().get(f"{shown.api}/1/pixels")
        assert answer.status_code == 422
        assert "grey and RGB" in answer.json()["error"]

    def test_a_damaged_stream_says_so(self, console):
        made = ct(ramp(64, 64))
        made.compress(JPEG2000Lossless, generate_instance_uid=False)
        made.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 60])
        shown = kept_only(console, made)
        answer = console.logged_in().get(f"{shown.api}/1/pixels")
        assert answer.status_code == 422
        assert "compressed" in answer.json()["error"]


def colour(samples: np.ndarray, *, planar: int = 0, **changes: Any) -> Dataset:
    """A picture of three samples a pixel."""
    made = ct(samples[..., 0], RescaleSlope=None, RescaleIntercept=None)
    made.SamplesPerPixel, made.PlanarConfiguration = 3, planar
    made.PhotometricInterpretation = "RGB"
    laid = samples.transpose(2, 0, 1) if planar else samples
    data = laid.tobytes()
    made["PixelData"].value = data + b"\0" * (len(data) % 2)
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return made


class TestAccess:
    """Patients' images go to people who logged in, leave a row, and lie in no cache."""

    def test_nobody_sees_anything_without_a_log_in(self, axial):
        stranger = axial.console.visitor()
        assert stranger.get(axial.page).headers["location"] == f"/login?next={axial.page}"
        for address in (axial.api, f"{axial.api}/1/pixels", f"{axial.api}/1/regions"):
            answer = stranger.get(address)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
        # A page's own script must not make the browser ask with a window of its own.
        answer = stranger.get(axial.api, headers={"sec-fetch-dest": "empty"})
        assert (answer.status_code, "www-authenticate" in answer.headers) == (401, False)

    def test_every_look_is_a_row_before_anything_is_shown(self, axial):
        browser = axial.console.logged_in()
        for address in (axial.page, axial.api, f"{axial.api}/3/pixels", f"{axial.api}/3/regions"):
            assert browser.get(address).status_code == 200
        with axial.console.ledger.read() as tx:
            rows = events.of_study(tx, axial.instances[0].study_uid)
        looks = [one.detail for one in rows if one.word == "console.viewed"]
        assert looks == [{"user": "amina", "page": "preview"}]

    def test_no_answer_may_be_kept(self, axial):
        browser = axial.console.logged_in()
        for address in (axial.api, f"{axial.api}/3/pixels", f"{axial.api}/3/regions"):
            assert browser.get(address).headers["cache-control"] == "private, no-store"
        assert browser.get(axial.page).headers["cache-control"] == "no-store"

    def test_addresses_of_nothing(self, axial):
        browser = axial.console.logged_in()
        for address in (
            "/results/99/view",
            "/results/0/view",
            "/results/x/view",
            "/results/99/view/standing",
        ):
            answer = browser.get(address)
            assert answer.status_code == 404
            assert "text/html" in answer.headers["content-type"]
        for part in ("0/pixels", "31/pixels", "31/regions", "1e3/pixels", "../1/pixels", f"{10**30}/pixels"):
            answer = browser.get(f"{axial.api}/{part}")
            assert answer.status_code == 404, part
            assert "error" in answer.json()

    def test_no_identifier_of_the_patient_is_in_an_address_of_the_data(self, axial):
        page = axial.console.logged_in().get(axial.page).text
        scene = axial.console.logged_in().get(axial.api).text
        assert f'data-result="{axial.result_id}"' in page
        for instance in axial.instances:
            assert instance.sop_instance_uid not in page + scene


class TestGone:
    """Images that were given up, or are not those that were kept."""

    def test_purged_images_say_so_though_they_were_shown_before(self, axial):
        browser = axial.console.logged_in()
        assert browser.get(f"{axial.api}/22/pixels").status_code == 200
        with axial.console.ledger.write() as tx:
            custody.purge(tx, list(axial.instances), at=axial.console.clock.now())
        answer = browser.get(f"{axial.api}/22/pixels")
        assert answer.status_code == 410
        assert "no longer on the box" in answer.json()["error"]
        assert axial.console.app.state.room.desk.kept_bytes == 0, "nor in memory"
        scene = browser.get(axial.api).json()
        assert [image["here"] for image in scene["images"]] == [False] * 30
        assert len(scene["marks"]) == 8, "results stay"

    def test_a_file_that_is_gone(self, axial):
        lost = sorted_by_place(axial)[4]
        (axial.console.root / lost.location.file).unlink()
        browser = axial.console.logged_in()
        assert browser.get(f"{axial.api}/5/pixels").status_code == 410
        assert browser.get(f"{axial.api}/6/pixels").status_code == 200
        assert [n for n, i in enumerate(browser.get(axial.api).json()["images"], 1) if not i["here"]] == [5]

    def test_bytes_that_are_not_those_that_were_kept_are_not_shown(self, axial):
        changed = sorted_by_place(axial)[4]
        path = axial.console.root / changed.location.file
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        answer = axial.console.logged_in().get(f"{axial.api}/5/pixels")
        assert answer.status_code == 422
        assert "not those that were kept" in answer.json()["error"]

    def test_objects_that_are_not_those_that_were_frozen_are_not_shown(self, axial):
        for path in (axial.console.root / "results").rglob("*.dcm"):
            path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        scene = axial.console.logged_in().get(axial.api).json()
        assert (scene["marks"], scene["segments"]) == ([], [])
        assert len(scene["notes"]) == 2

    def test_images_that_came_back_changed_are_not_those_of_the_result(self, axial):
        old = axial.instances[0]
        with axial.console.ledger.write() as tx:
            newer = replace(
                old, digest="sha256:" + "9" * 64, location=replace(old.location, file="kept/other")
            )
            arrivals.add(tx, newer, calling_ae="CT1", at=axial.console.clock.now())
        scene = axial.console.logged_in().get(axial.api).json()
        assert [image["here"] for image in scene["images"]] == [True] * 30


class TestPage:
    """What the page says."""

    def test_it_says_what_the_result_is_and_what_made_it(self, axial):
        page = axial.console.logged_in().get(axial.page).text
        for words in ("8 marks found", "ct-phantom-lesion 1.0.0", "ONNX Runtime 1.31.1 CPU", "2023-11-14",
                      "Not for primary diagnosis", "exactly 30 images"):  # fmt: skip
            assert words in page
        assert "alarm" not in page
        assert 'data-centre="60.0" data-width="200.0"' in page, "the window that the model looks through"

    def test_its_scripts_and_styles_are_the_boxs_own(self, axial):
        browser = axial.console.logged_in()
        page = browser.get(axial.page).text
        sources = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert any("preview.js" in source for source in sources)
        assert all(browser.get(source).status_code == 200 for source in sources)
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page), (
            "the policy allows nothing inline"
        )

    def test_a_superseded_result_is_alarming_also_while_its_page_is_open(self, axial):
        browser = axial.console.logged_in()
        quiet = browser.get(f"{axial.page}/standing")
        mark = re.search(r"seen=([0-9a-f]+)", quiet.text)
        assert mark is not None
        assert browser.get(f"{axial.page}/standing?seen={mark[1]}").status_code == 204
        newer = again(axial)
        told = browser.get(f"{axial.page}/standing?seen={mark[1]}")
        assert told.status_code == 200
        for text in (told.text, browser.get(axial.page).text):
            assert 'class="notice alarm" role="alert"' in text
            assert "Superseded" in text
            assert f'href="/results/{newer}/view"' in text

    def test_a_result_of_fewer_images_than_there_are_now_is_alarming(self, axial):
        later = replace(axial.instances[0], sop_instance_uid="1.2.3.4", digest="sha256:" + "8" * 64,
                        location=replace(axial.instances[0].location, file="kept/later"))  # fmt: skip
        with axial.console.ledger.write() as tx:
            arrivals.add(tx, later, calling_ae="CT1", at=axial.console.clock.now())
        page = axial.console.logged_in().get(axial.page).text
        assert "Not about everything that is here now" in page

    @pytest.mark.parametrize("outcome", [Outcome.NOT_ELIGIBLE, Outcome.FAILED, Outcome.NOT_RUN])
    def test_a_result_that_is_no_inference_says_so_over_its_images(self, console, outcome):
        folder = folder_of(console)
        content(folder, ct(ramp(), z_mm=0.0), ct(ramp(), z_mm=2.0))
        shown = noticed(console, folder, outcome, "The images end too early.")
        browser = console.logged_in()
        page = browser.get(shown.page).text
        assert "The images end too early." in page
        assert "This is not a negative result." in page
        assert "no image was analysed" in page
        scene = browser.get(shown.api).json()
        assert (len(scene["images"]), scene["marks"], scene["segments"]) == (2, [], [])

    def test_no_finding_is_said_and_its_point_marks_no_place(self, console, tmp_path):
        folder = tmp_path / "images"
        folder.mkdir()
        written(replace(AXIAL, slices=5), folder)
        shown = recorded(
            console, analysed(folder, run(package("regions", "CT", tmp_path), folder), nothing())
        )
        browser = console.logged_in()
        assert "No dense lesion was marked." in browser.get(shown.page).text
        scene = browser.get(shown.api).json()
        assert [shape["kind"] for mark in scene["marks"] for shape in mark["shapes"]] == ["POINT"]
        assert 1 <= scene["first"] <= 5

    def test_the_study_page_leads_here(self, axial):
        page = axial.console.logged_in().get(f"/studies/{axial.instances[0].study_uid}").text
        assert f'href="{axial.page}"' in page

    def test_the_link_into_the_sites_own_viewer(self, make_console, config, console, tmp_path):
        folder = folder_of(console)
        content(folder, ct(ramp(), AccessionNumber="A/1 2"))
        shown = noticed(console, folder, Outcome.FAILED, "It failed.")
        study = f"/studies/{shown.instances[0].study_uid}"
        assert "Open in the viewer" not in console.logged_in().get(study).text
        pattern = "https://viewer.example/?s={study_uid}&a={accession_number}"
        linked = make_console(
            config=config.model_copy(
                update={"console": config.console.model_copy(update={"viewer_link": pattern})}
            )
        )
        browser = linked.logged_in()
        for page in (study, shown.page):
            text = browser.get(page).text
            address = f"https://viewer.example/?s={shown.instances[0].study_uid}&amp;a=A%2F1%202"
            assert f'href="{address}" target="_blank" rel="noopener noreferrer"' in text
        linked.app.state.room.desk.close()


@pytest.mark.parametrize("output", ["seg-labelmap", "seg-fractional"])
def test_segmentations_of_other_kinds_are_drawn_as_they_were_sent(console, tmp_path, output):
    folder = tmp_path / "images"
    folder.mkdir()
    written(replace(AXIAL, slices=8, apart_mm=9.0), folder)
    analysis = run(package("labels", "CT", tmp_path), folder)
    findings, outputs = mapped(analysis.findings), frozenset({"sr", output})
    check_masks(recorded(console, analysed(folder, analysis, findings, outputs=outputs)), analysis)


def check_masks(shown: Previewed, analysis: Analysis) -> None:
    browser = shown.console.logged_in()
    scene = browser.get(shown.api).json()
    assert [segment["number"] for segment in scene["segments"]] == list(range(1, 9))
    seen = 0
    for number in range(1, 9):
        regions = browser.get(f"{shown.api}/{number}/regions").json()["regions"]
        drawn = {region["segment"]: mask_of(region, AXIAL.rows, AXIAL.columns) for region in regions}
        there = {one.number: one.mask[number - 1] for one in analysis.findings.segments}
        for segment, mask in there.items():
            assert np.array_equal(drawn.get(segment, np.zeros_like(mask)), mask)
            seen += int(mask.any())
    assert seen > 8


def test_a_report_of_five_hundred_lesions(console, template):
    report = read(next(item for item in template.objects if item.output == "sr"))
    (listed,) = [
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    first = listed.ContentSequence[0]
    listed.ContentSequence = [first] * 500
    many = replace(template, objects=[replace(template.objects[0], data=encoded(report))])
    shown = recorded(console, many)
    scene = console.logged_in().get(shown.api)
    assert len(scene.json()["marks"]) == 500
    assert scene.json()["marks_left_out"] == 0
    assert len(scene.content) < 400_000


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"preview_marks_max": 3}, (3, 5)), ({"preview_points_max": 12}, (2, 6))],
)
def test_marks_beyond_the_bound_are_counted_not_hidden(axial, make_console, changes, words):
    small = make_console(replace(DEFAULT, **changes))
    scene = small.logged_in().get(axial.api).json()
    assert (len(scene["marks"]), scene["marks_left_out"]) == words


def test_slices_are_kept_up_to_a_bound_and_read_once_within_it(axial, make_console):
    small = make_console(replace(DEFAULT, preview_slices_bytes_max=3 * 72 * 80 * 2))
    browser, desk = small.logged_in(), small.app.state.room.desk
    for number in range(1, 9):
        assert browser.get(f"{axial.api}/{number}/pixels").status_code == 200
        assert desk.kept_bytes <= 3 * 72 * 80 * 2
    assert desk.kept_bytes == 3 * 72 * 80 * 2


def test_a_slice_that_is_larger_than_is_sent(axial, make_console):
    small = make_console(replace(DEFAULT, preview_slice_bytes_max=1000))
    answer = small.logged_in().get(f"{axial.api}/1/pixels")
    assert answer.status_code == 422
    assert "more than is shown" in answer.json()["error"]


def test_who_comes_when_too_many_decode_is_told_to_come_again(axial, make_console):
    small = make_console(replace(DEFAULT, preview_decodes_waiting_max=1))
    desk, browser = small.app.state.room.desk, small.logged_in()
    assert browser.get(axial.api).status_code == 200
    with desk._turn():
        answer = browser.get(f"{axial.api}/1/pixels")
    assert answer.status_code == 503
    assert "moment" in answer.json()["error"]
    assert browser.get(f"{axial.api}/1/pixels").status_code == 200
