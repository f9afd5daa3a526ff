"""A build that hangs, crashes or takes too much ends in one sentence; what is kept is what was built."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.inference.apart import EndedApart, _message
from appliance.inference.build import build_into, build_kept
from appliance.inference.engine import EnginePlan, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.settings import EngineSettings
from appliance.inference.store import EngineStore
from models.package import Package
from tests.appliance.inference.fakes import made


def plan(kind: str, package: Package, settings: EngineSettings) -> EnginePlan:
    return made(kind)(settings).plan(package)


def build(kind: str, package: Package, settings: EngineSettings, folder: Path, **what):
    folder.mkdir()
    return build_into(
        "built", made(kind), plan(kind, package, settings), settings=settings, folder=folder, **what
    )


def limited(settings: EngineSettings, **limits) -> EngineSettings:
    return replace(settings, limits=InferenceLimits(**limits))


def test_what_a_library_prints_is_not_taken_for_an_answer(package, settings, tmp_path):
    heard: list[tuple[float, str]] = []
    report = build("Built", package, settings, tmp_path / "folder", progress=lambda *step: heard.append(step))
    assert report.files == (package.manifest.network,)
    assert report.details == {"bytes": package.onnx_path().stat().st_size}
    assert heard == [(0.5, "copying")]


def test_a_build_that_hangs_is_ended_with_all_it_started(package, settings, tmp_path):
    heard: list[str] = []
    with pytest.raises(InferenceError, match="did not end within 6 seconds") as caught:
        build(
            "Hanging",
            package,
            limited(settings, build_seconds_max=6.0),
            tmp_path / "folder",
            progress=lambda _, stage: heard.append(stage),
        )
    assert caught.value.word == "inference.build"
    assert len(heard) == 1, "it had begun"
    until = time.monotonic() + 30
    while any(alive(int(pid)) for pid in heard[0].split()[1:]):
        assert time.monotonic() < until, "a process of the build lives on"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """A zombie is no longer alive; who adopts it waits for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_build_that_crashes_is_a_sentence(package, settings, tmp_path):
    with pytest.raises(InferenceError, match=r"ended by signal SIGSEGV") as caught:
        build("Segfaulting", package, settings, tmp_path / "folder")
    assert caught.value.word == "inference.build"


def test_a_build_that_eats_memory_is_ended(package, settings, tmp_path):
    with pytest.raises(InferenceError, match="MiB of memory, more than 512, and was ended"):
        build("Hungry", package, limited(settings, build_memory_bytes_max=2**29), tmp_path / "folder")


def test_a_build_that_fills_the_disk_is_ended(package, settings, tmp_path):
    with pytest.raises(InferenceError, match="wrote 4 MiB, more than 1, and was ended"):
        build("Writing", package, limited(settings, build_folder_bytes_max=2**20), tmp_path / "folder")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("Refusing", "Operator Foo is not known."),
        ("Faulty", r"An error nobody foresaw: KeyError at fakes.py:\d+ build."),
        ("Leaving", "other files than it reported"),
        ("Linking", "not a plain file"),
        ("Unsteady", "changed before the build began"),
    ],
)
def test_a_build_that_fails_says_why_without_a_path(package, settings, tmp_path, kind, says):
    with pytest.raises(InferenceError, match=says) as caught:
        build(kind, package, settings, tmp_path / "folder")
    assert str(tmp_path) not in caught.value.sentence


def test_a_child_is_told_no_secret(package, settings, tmp_path, monkeypatch):
    from appliance.inference.apart import _environment

    monkeypatch.setenv("READSIDE_SECRET", "word")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    handed_on = _environment()
    assert "READSIDE_SECRET" not in handed_on
    assert handed_on["CUDA_VISIBLE_DEVICES"] == "1"


def test_what_is_kept_says_what_it_is(package, settings):
    assert settings.store is not None
    store = EngineStore(root=settings.store, limits=settings.limits)
    planned = plan("Built", package, settings)
    kept = build_kept("built", made("Built"), planned, settings=settings, store=store)
    assert kept.folder == settings.store / planned.key.removeprefix("sha256:")
    assert kept.sidecar.details == {"bytes": package.onnx_path().stat().st_size}
    assert kept.sidecar.verdict is None
    assert set(kept.sidecar.files) == {package.manifest.network}
    found = store.find(planned)
    assert found is not None
    assert found.sidecar == kept.sidecar
    assert not [name for name in os.listdir(settings.store) if name.startswith(".building")]


def test_a_build_that_failed_leaves_the_reason_and_no_file(package, settings):
    assert settings.store is not None
    store = EngineStore(root=settings.store, limits=settings.limits)
    planned = plan("Refusing", package, settings)
    with pytest.raises(InferenceError):
        build_kept("built", made("Refusing"), planned, settings=settings, store=store)
    kept = store.find(planned)
    assert kept is not None
    assert kept.sidecar.failure == "The engine could not be built. Operator Foo is not known."
    assert os.listdir(kept.folder) == ["sidecar.json"]


@pytest.mark.parametrize(
    "said",
    [b"{", b"[]", b"1", b"{}", b'{"done": 1}', b'{"share": "x"}', b'{"stage": "x"}', b"\xff"],
)
def test_what_is_no_answer_is_refused(said):
    with pytest.raises(EndedApart, match="not an answer"):
        _message(said)
