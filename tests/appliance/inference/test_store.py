"""What was changed, cut short, added or brought from elsewhere is refused with a reason, never loaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.inference.engine import EnginePlan, InferenceError, key_of
from appliance.inference.limits import InferenceLimits
from appliance.inference.sidecar import Sidecar, SidecarRefused
from appliance.inference.store import EngineStore, Kept
from models.package import Package


def store_in(root: Path, **limits) -> EngineStore:
    return EngineStore(root=root / "engines", limits=InferenceLimits(**limits))


def planned(package: Package, driver: str = "1") -> EnginePlan:
    parts = {"package": package.digest, "driver": driver}
    return EnginePlan(package=package, key=key_of(parts), parts=parts)


def keep(
    store: EngineStore, plan: EnginePlan, *, at: float = 1.0, engine: str = "built", size: int = 100
) -> Kept:
    with store.building() as folder:
        (folder / "engine.plan").write_bytes(b"x" * size)
        sidecar = Sidecar(
            engine=engine,
            model="model 1.0.0",
            package=plan.package.digest,
            key=plan.key,
            parts=plan.parts,
            files={},
            built_at=at,
        )
        return store.keep(folder, sidecar)


def test_an_engine_is_found_again_by_another_process_s_store(package, tmp_path):
    plan = planned(package)
    kept = keep(store_in(tmp_path), plan)
    found = store_in(tmp_path).find(plan)
    assert found == kept
    assert (kept.folder / "engine.plan").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "engines.secret").stat().st_mode & 0o777 == 0o600
    assert store_in(tmp_path).find(planned(package, driver="2")) is None


def test_a_verdict_is_kept_with_it(package, tmp_path):
    store, plan = store_in(tmp_path), planned(package)
    store.judge(keep(store, plan), {"ok": True})
    found = store.find(plan)
    assert found is not None
    assert found.sidecar.verdict == {"ok": True}


def flip(kept: Kept) -> None:
    path = kept.folder / "engine.plan"
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)


def cut(kept: Kept) -> None:
    os.truncate(kept.folder / "engine.plan", 60)


def link(kept: Kept) -> None:
    path = kept.folder / "engine.plan"
    other = kept.folder.parent / "other"
    path.rename(other)
    path.symlink_to(other)


def vouch_for_another(kept: Kept) -> None:
    """Change the file and its digest in the sidecar, without the secret."""
    path = kept.folder / "sidecar.json"
    held = json.loads(path.read_text())
    (kept.folder / "engine.plan").write_bytes(b"y" * 100)
    held["body"]["files"]["engine.plan"]["sha256"] = "0" * 64
    path.write_text(json.dumps(held))


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (flip, "changed after it was built"),
        (cut, "cut short"),
        (link, "not a plain file"),
        (vouch_for_another, "changed, or was made on another box"),
        (lambda kept: (kept.folder / "more.plan").write_bytes(b"z"), "were added"),
        (lambda kept: (kept.folder / "engine.plan").unlink(), "missing"),
        (lambda kept: (kept.folder / "sidecar.json").unlink(), "missing or cannot be read"),
        (lambda kept: (kept.folder / "sidecar.json").write_text("{"), "damaged"),
        (lambda kept: (kept.folder / "sidecar.json").write_text("[" * 5000), "damaged"),
        (lambda kept: (kept.folder / "sidecar.json").write_bytes(bytes(5 * 2**20)), "too long"),
        (lambda kept: (kept.folder.parents[1] / "engines.secret").unlink(), "another box"),
    ],
)
def test_a_kept_engine_that_was_meddled_with_is_refused(
    package, tmp_path, do: Callable[[Kept], object], says: str
):
    store, plan = store_in(tmp_path), planned(package)
    do(keep(store, plan))
    with pytest.raises(SidecarRefused, match=says):
        store.find(plan)
    keep(store, plan)
    assert store.find(plan) is not None, "built anew, it is sound again"


def test_an_engine_of_another_box_is_refused(package, tmp_path):
    plan = planned(package)
    theirs = keep(store_in(tmp_path / "theirs"), plan)
    ours = keep(store_in(tmp_path / "ours"), plan)
    shutil.rmtree(ours.folder)
    shutil.copytree(theirs.folder, ours.folder)
    with pytest.raises(SidecarRefused, match="another box"):
        store_in(tmp_path / "ours").find(plan)


def test_an_engine_under_another_s_key_is_refused(package, tmp_path):
    store, one, two = store_in(tmp_path), planned(package), planned(package, driver="2")
    keep(store, one).folder.rename(keep(store, two).folder.with_name("aside"))
    (store.root / "aside").rename(store.root / one.key.removeprefix("sha256:"))
    shutil.rmtree(store.root / two.key.removeprefix("sha256:"))
    (store.root / one.key.removeprefix("sha256:")).rename(store.root / two.key.removeprefix("sha256:"))
    with pytest.raises(SidecarRefused, match="built for something else"):
        store.find(two)


def test_a_secret_that_others_could_read_is_made_anew(package, tmp_path):
    store, plan = store_in(tmp_path), planned(package)
    keep(store, plan)
    before = store.secret()
    (tmp_path / "engines.secret").chmod(0o644)
    with pytest.raises(SidecarRefused, match="another box"):
        store.find(plan)
    assert store.secret() != before


def test_the_newest_engines_of_a_model_stay(package, tmp_path):
    store = store_in(tmp_path, store_engines_kept=2)
    plans = [planned(package, driver=str(n)) for n in range(4)]
    for at, plan in enumerate(plans):
        keep(store, plan, at=float(at))
    other_kind = planned(package, driver="other kind")
    keep(store, other_kind, at=9.0, engine="other")
    assert [store.find(plan) is not None for plan in [*plans, other_kind]] == [False, False, True, True, True]


def test_an_engine_in_use_stays(package, tmp_path):
    store = store_in(tmp_path, store_engines_kept=1)
    first, second, third = (planned(package, driver=str(n)) for n in range(3))
    kept = keep(store, first, at=1.0)
    with store.hold(kept):
        keep(store, second, at=2.0)
        assert store.find(first) is not None
    keep(store, third, at=3.0)
    assert [store.find(plan) is not None for plan in (first, second, third)] == [False, False, True]


def test_all_engines_together_have_a_bound(package, tmp_path):
    store = store_in(tmp_path, store_bytes_max=25_000)
    plans = [planned(replace(package, digest=f"sha256:{n}")) for n in range(3)]
    for at, plan in enumerate(plans):
        keep(store, plan, at=float(at), size=10_000)
    assert [store.find(plan) is not None for plan in plans] == [False, True, True]


def test_what_a_dead_build_left_is_swept(tmp_path):
    store = store_in(tmp_path)
    left = store.root / ".building.1"
    left.mkdir(parents=True)
    (left / "engine.plan").write_bytes(b"half")
    with store.building():
        assert not left.exists()


def test_a_build_waits_for_another_only_so_long(tmp_path):
    store = store_in(tmp_path, store_wait_seconds_max=0.2)
    with store.building(), pytest.raises(InferenceError, match="Another build") as caught, store.building():
        pass
    assert caught.value.word == "inference.build"


def test_a_store_that_cannot_be_written_is_an_engine_passed_over(package, tmp_path):
    (tmp_path / "engines").write_text("a file where the folder should be")
    with pytest.raises(InferenceError, match="cannot be written") as caught:
        keep(store_in(tmp_path), planned(package))
    assert caught.value.word == "inference.build"


def test_the_list_names_what_is_refused(package, tmp_path):
    store = store_in(tmp_path)
    keep(store, planned(package))
    cut_short = keep(store, planned(package, driver="2"))
    (cut_short.folder / "sidecar.json").write_text("")
    listed = dict(store.entries())
    sound = listed[planned(package).key]
    assert isinstance(sound, Sidecar)
    assert sound.engine == "built"
    assert listed[planned(package, driver="2").key] == "Its description is damaged."
