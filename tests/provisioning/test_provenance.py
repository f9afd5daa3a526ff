"""A site that asks who made a model takes none without a maker's signature that holds for its files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.packages import installed_folder
from appliance.sync.refusal import Word
from appliance.sync.release import IMAGE, provenance_path
from provisioning.bundle import stamps
from provisioning.bundle.export import export
from provisioning.registry.faults import RegistryFault
from provisioning.registry.publish import made_by, publish, releases
from tests.appliance import packages
from tests.appliance.sync import maker
from tests.provisioning.field import NAME, NEXT, Field


def asking(field: Field, *keys: Path) -> None:
    """Let the box's site ask for one of these makers."""
    registry = field.box.config.registry.model_copy(update={"provenance": keys})
    field.box = replace(field.box, config=field.box.config.model_copy(update={"registry": registry}))


def test_only_what_its_maker_signed_comes_onto_a_box_that_asks(field: Field, tmp_path: Path):
    lab, other = (maker.key(tmp_path / f"{name}.pub.pem") for name in ("lab", "other"))
    asking(field, tmp_path / "lab.pub.pem")
    package = packages.bands(tmp_path, NEXT)
    publish(field.book, package, field.keys)
    field.promote(NEXT)
    assert "no signature" in field.refused(Word.PROVENANCE)

    publish(field.book, package, field.keys, made_by=maker.made(package, tmp_path / "a.sig", other))
    assert "nobody" in field.refused(Word.PROVENANCE)
    assert field.origin.fetched(".zip") == [], "nothing of the release was fetched for nothing"

    release = publish(field.book, package, field.keys, made_by=maker.made(package, tmp_path / "b.sig", lab))
    assert [made_by(field.book, one) for one in releases(field.book)] == ["", "", "aa"]
    assert field.word() is Word.ACTIVATED
    assert installed_folder(field.box.root, release.digest).is_dir()


def test_a_signature_of_other_files_is_not_published_and_not_believed(field: Field, tmp_path: Path):
    lab = maker.key(tmp_path / "lab.pub.pem")
    package = packages.bands(tmp_path, NEXT)
    said = maker.statement(package)
    signed = maker.made(package, tmp_path / "a.sig", lab)
    (package / "golden" / "README.md").write_bytes(b"more")
    with pytest.raises(RegistryFault, match=r"golden/README\.md"):
        publish(field.book, package, field.keys, made_by=signed)
    (package / "golden" / "README.md").unlink()
    for junk in (b"{}", b"x" * 200_000):
        signed.write_bytes(junk)
        with pytest.raises(RegistryFault, match=r"a\.sig"):
            publish(field.book, package, field.keys, made_by=signed)
    assert said == maker.statement(package)
    assert len(releases(field.book)) == 2


def test_a_version_that_lies_here_already_is_held_against_its_maker_too(field: Field, tmp_path: Path):
    """The signature of another package, put under this release by who has the offline keys."""
    lab = maker.key(tmp_path / "lab.pub.pem")
    package, other = packages.bands(tmp_path, NEXT), packages.bands(tmp_path, "1.3.0")
    packages.put(field.box.ledger, field.box.root, package)
    publish(field.book, package, field.keys, made_by=maker.made(package, tmp_path / "a.sig", lab))
    field.promote(NEXT)
    target = field.lists().target(provenance_path(NAME, NEXT))
    assert target is not None
    forged = maker.made(other, tmp_path / "b.sig", lab).read_bytes()
    wrong = replace(target, length=len(forged), sha256=hashlib.sha256(forged).hexdigest())
    (field.book.layout.targets(IMAGE) / wrong.place).write_bytes(forged)
    lists = field.lists()
    targets = lists.targets()
    lists.add(targets, wrong)
    lists.write_targets(targets, field.book.offline_signers(field.keys))
    field.book.stamp(IMAGE)
    asking(field, tmp_path / "lab.pub.pem")
    assert "manifest.toml" in field.refused(Word.PROVENANCE)


def test_a_makers_signature_rides_on_a_stick(field: Field, tmp_path: Path):
    lab = maker.key(tmp_path / "lab.pub.pem")
    package = packages.bands(tmp_path, NEXT)
    publish(field.book, package, field.keys, made_by=maker.made(package, tmp_path / "a.sig", lab))
    field.promote(NEXT)
    stamps.begin(field.book, field.keys)
    (tmp_path / "stick").mkdir()
    export(field.book, ["box-1"], tmp_path / "stick")
    (found,) = (tmp_path / "stick").rglob("provenance/*/*.json")
    assert found.read_bytes() == (tmp_path / "a.sig").read_bytes()
