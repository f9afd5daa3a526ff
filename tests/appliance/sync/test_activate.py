"""A version serves only after it passed on this device, and the one before serves until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.packages import installed_folder
from appliance.ledger import decisions, events, jobs, results, versions
from appliance.ledger.states import VersionState
from appliance.ledger.versions import Version
from appliance.sync.activate import activate, remove, retire, rollback
from appliance.sync.box import ModelBox, Refused
from tests.appliance import packages
from tests.appliance.ledger import given
from tests.appliance.sync.conftest import MakeBox
from tests.appliance.sync.killing import killed_at

NAME = packages.NAME
NOWHERE = {"engines": ["kserve"]}


def bring(box: ModelBox, folder: Path, version: str = "1.1.0") -> Version:
    """Install a version, without the proof that installing asks for."""
    return packages.put(box.ledger, box.root, packages.bands(folder, version))


def serve(box: ModelBox, folder: Path, version: str = "1.1.0") -> Version:
    """Let a version serve, without the proof that activating asks for."""
    former = box.catalogue().serving()[NAME].digest
    return packages.activate(box.ledger, bring(box, folder, version), former=former)


def now(box: ModelBox, version: str) -> Version:
    with box.ledger.read() as tx:
        found = versions.find(tx, NAME, version)
    assert found is not None
    return found


def serving(box: ModelBox) -> str:
    return box.catalogue().serving()[NAME].version


def newest(box: ModelBox) -> tuple[str, dict[str, object]]:
    with box.ledger.read() as tx:
        event = events.latest(tx, 1)[0]
    return event.word, event.detail


def test_a_version_that_passes_serves_and_the_one_before_stays_on_disk(box: ModelBox, tmp_path: Path):
    stages: list[tuple[str, str]] = []
    bring(box, tmp_path)
    change = activate(box, NAME, "1.1.0", progress=lambda _share, stage: stages.append((stage, serving(box))))
    assert (change.version, change.stepped_down) == ("1.1.0", None)
    assert change.engine.startswith("ONNX Runtime")
    assert stages == [("golden cases", packages.shipped().manifest.version)], "the old one serves until then"
    row = now(box, "1.1.0")
    assert (row.state, row.former_digest) == (VersionState.ACTIVE, packages.shipped().digest)
    assert row.evidence["activation"]["golden"][0]["ok"]
    bring(box, tmp_path, "1.2.0")
    activate(box, NAME, "1.2.0")
    assert (serving(box), now(box, "1.1.0").state) == ("1.2.0", VersionState.RETIRED)
    assert now(box, "1.2.0").former_digest == row.digest
    assert installed_folder(box.root, row.digest).is_dir()
    word, detail = newest(box)
    assert (word, detail["by"], detail["instead_of"]) == ("model.activated", "jo", "1.1.0")


def test_a_version_that_serves_already_is_only_looked_at(box: ModelBox, tmp_path: Path):
    serve(box, tmp_path)
    before = now(box, "1.1.0")
    assert activate(box, NAME, "1.1.0").engine == ""
    assert now(box, "1.1.0") == before


def test_stepping_down_is_said(make_box: MakeBox, tmp_path: Path):
    box = make_box(inference={"engines": ["kserve", "cpu"]})
    bring(box, tmp_path)
    change = activate(box, NAME, "1.1.0")
    assert "Passed over: kserve" in (change.stepped_down or "")
    assert now(box, "1.1.0").evidence["activation"]["stepped_down"] == change.stepped_down


def test_a_version_that_does_not_pass_is_rejected_with_its_evidence_and_nothing_else_changes(
    make_box: MakeBox, tmp_path: Path
):
    box = make_box()
    serve(box, tmp_path)
    row = bring(box, tmp_path, "1.2.0")
    with pytest.raises(Refused, match="kserve") as refused:
        activate(make_box(inference=NOWHERE), NAME, "1.2.0")
    assert "install it again" in refused.value.faults[-1]
    failed = now(box, "1.2.0")
    assert failed.state is VersionState.REJECTED
    assert "kserve" in failed.evidence["activation"]["faults"][0]
    assert not installed_folder(box.root, row.digest).exists()
    assert serving(box) == "1.1.0"
    with pytest.raises(Refused, match="was rejected"):
        activate(box, NAME, "1.2.0")
    assert bring(box, tmp_path / "again", "1.2.0").state is VersionState.FETCHED


def test_a_model_larger_than_the_site_allows_does_not_serve(make_box: MakeBox, tmp_path: Path):
    bring(make_box(), tmp_path)
    with pytest.raises(Refused, match=r"inference\.memory_gib"):
        activate(make_box(inference={"memory_gib": 0.001}), NAME, "1.1.0")
    assert serving(make_box()) == packages.shipped().manifest.version


def test_changed_files_do_not_serve(box: ModelBox, tmp_path: Path):
    row = bring(box, tmp_path)
    network = installed_folder(box.root, row.digest) / "MODEL_CARD.md"
    network.write_bytes(network.read_bytes() + b" ")
    with pytest.raises(Refused, match="its files were changed") as refused:
        activate(box, NAME, "1.1.0")
    assert "install ct-tissue-bands 1.1.0 again from its package" in refused.value.faults
    assert now(box, "1.1.0").state is VersionState.FETCHED


@pytest.mark.parametrize("version", ["9.9.9", "1.0.0"])
def test_what_is_not_installed_is_not_activated(box: ModelBox, version: str):
    with pytest.raises(Refused, match="is not installed on this box"):
        activate(box, NAME, version)


def test_a_person_who_interrupts_leaves_everything_as_it_was(box: ModelBox, tmp_path: Path):
    serve(box, tmp_path)
    bring(box, tmp_path, "1.2.0")

    def interrupt(_share: float, _stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activate(box, NAME, "1.2.0", progress=interrupt)
    assert now(box, "1.2.0").state is VersionState.FETCHED
    with pytest.raises(KeyboardInterrupt):
        rollback(box, NAME, progress=interrupt)
    assert serving(box) == "1.1.0"


def test_a_killed_activation_is_put_back_by_the_next_command(box: ModelBox, tmp_path: Path):
    serve(box, tmp_path)
    bring(box, tmp_path, "1.2.0")
    killed_at(box, tmp_path, module="activate", step="prove", call=f"activate(box, {NAME!r}, '1.2.0')")
    assert (now(box, "1.2.0").state, serving(box)) == (VersionState.BUILDING, "1.1.0")
    with box.alone():
        assert now(box, "1.2.0").state is VersionState.FETCHED
    assert newest(box)[0] == "model.interrupted"


class TestRollback:
    """Back to what served before, one step at a time."""

    def test_it_goes_back_version_by_version_to_what_ships(self, box: ModelBox, tmp_path: Path):
        serve(box, tmp_path)
        serve(box, tmp_path, "1.2.0")
        assert rollback(box, NAME).version == serving(box) == "1.1.0"
        word, detail = newest(box)
        assert (word, detail["version"], detail["instead_of"]) == ("model.rolled_back", "1.1.0", "1.2.0")
        assert now(box, "1.2.0").state is VersionState.RETIRED
        shipped = packages.shipped().manifest.version
        assert rollback(box, NAME).version == serving(box) == shipped
        word, detail = newest(box)
        assert (word, detail["version"], detail["instead_of"]) == ("model.rolled_back", shipped, "1.1.0")
        with pytest.raises(Refused, match="nothing to go back from"):
            rollback(box, NAME)

    def test_an_installed_copy_of_what_ships_gives_way_to_it(self, box: ModelBox, tmp_path: Path):
        version = packages.shipped().manifest.version
        assert serve(box, tmp_path, version).digest == packages.shipped().digest
        assert rollback(box, NAME).version == version
        assert now(box, version).state is VersionState.RETIRED

    def test_a_version_that_was_removed_cannot_be_gone_back_to(self, box: ModelBox, tmp_path: Path):
        serve(box, tmp_path)
        serve(box, tmp_path, "1.2.0")
        remove(box, NAME, "1.1.0")
        with pytest.raises(Refused, match="is not on this box any more"):
            rollback(box, NAME)
        assert serving(box) == "1.2.0"

    def test_a_version_that_does_not_pass_any_more_leaves_the_active_one(
        self, make_box: MakeBox, tmp_path: Path
    ):
        box = make_box()
        serve(box, tmp_path)
        serve(box, tmp_path, "1.2.0")
        with pytest.raises(Refused, match="kserve"):
            rollback(make_box(inference=NOWHERE), NAME)
        assert (serving(box), now(box, "1.1.0").state) == ("1.2.0", VersionState.RETIRED)

    def test_a_first_version_has_nothing_before_it(self, make_box: MakeBox, tmp_path: Path):
        path = packages.bands(tmp_path, changes={f'name = "{NAME}"': 'name = "own"'})
        box = make_box(routes=[{"name": "own", "when": "true", "model": "own"}])
        packages.activate(box.ledger, packages.put(box.ledger, box.root, path))
        with pytest.raises(Refused, match="nothing served own before"):
            rollback(box, "own")
        with pytest.raises(Refused, match="these routes need it: own"):
            retire(box, "own")
        assert retire(make_box(), "own") is None


def test_retiring_gives_the_name_back_to_what_ships(box: ModelBox, tmp_path: Path):
    serve(box, tmp_path)
    instead = retire(box, NAME)
    assert instead is not None
    assert instead.digest == packages.shipped().digest
    assert serving(box) == packages.shipped().manifest.version
    with pytest.raises(Refused, match="no installed version"):
        retire(box, NAME)


def test_a_version_is_removed_only_when_nothing_needs_it(box: ModelBox, tmp_path: Path):
    digest = serve(box, tmp_path).digest
    with pytest.raises(Refused, match="retire it first"):
        remove(box, NAME, "1.1.0")
    retire(box, NAME)
    with box.ledger.write() as tx:
        given.kept(tx, 1)
        study = given.ready(tx)
        assert study.content_digest is not None
        decision = given.decision(study.content_digest, model_digest=digest)
        decisions.record(tx, study, [decision], at=given.NOW)
    with pytest.raises(Refused, match="1 jobs still wait"):
        remove(box, NAME, "1.1.0")
    assert installed_folder(box.root, digest).is_dir()
    with box.ledger.write() as tx:
        (job,) = jobs.of_study(tx, given.STUDY)
        assert results.end(tx, given.leased(tx, job.id), given.ending(job.id), at=given.NOW)
    assert not remove(box, NAME, "1.1.0").here
    assert not installed_folder(box.root, digest).exists()
    with pytest.raises(Refused, match="was removed from this box"):
        activate(box, NAME, "1.1.0")
