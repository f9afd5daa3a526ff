"""Images come out of a spool folder by a command, with nothing of the box running."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.spool.frame import frames
from appliance.spool.record import HEAD_BYTES
from tests.faults.boxes import Bench, image_of


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path / "box", monkeypatch)
    for size in (300, 50_000):
        made.bring(image_of(size))
    made.settle()
    return made


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["spool", *map(str, words)])
    return done.exit_code, done.output


def test_a_list_names_each_image_and_who_sent_it(bench: Bench):
    code, said = run("list", bench.root, "--json")
    listed = json.loads(said)["instances"]
    assert code == 0
    assert {one["sop_instance_uid"] for one in listed} == set(bench.sent)
    assert {one["calling_ae"] for one in listed} == {"PACS"}
    assert "2 images." in run("list", bench.root)[1]


def test_every_image_is_written_as_a_file_of_its_own(bench: Bench, tmp_path: Path):
    code, said = run("extract", bench.root, "--out", tmp_path / "out", "--json")
    assert (code, json.loads(said)) == (0, {"images": 2, "damaged": []})
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes()[HEAD_BYTES:] == bench.sent[str(pydicom.dcmread(path).SOPInstanceUID)]


def test_a_damaged_image_is_written_and_told(bench: Bench, tmp_path: Path):
    path = bench.spool.segments()[0]
    with path.open("r+b") as file:
        file.seek(next(frames(path)).at + HEAD_BYTES + 10)
        file.write(b"rot")
    code, said = run("extract", bench.root, "--out", tmp_path / "out")
    assert code == 1
    assert "2 images written." in said
    assert "not those that were received" in said


def test_a_folder_that_is_none_is_said(tmp_path: Path):
    assert run("list", tmp_path / "absent")[0] == 1
