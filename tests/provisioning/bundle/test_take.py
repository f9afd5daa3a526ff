"""A stick brings a release to a box without a network, checked as over one; all else is refused."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from appliance.sync.carrier import Folder
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import DIRECTOR, IMAGE, METADATA
from provisioning.bundle import parts as cutting
from provisioning.bundle import stamps
from provisioning.bundle.carry import Stick
from provisioning.bundle.export import FOLDER
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT
from provisioning.registry.book import Book
from provisioning.registry.promote import claim
from provisioning.registry.publish import recall
from tests.provisioning.bundle.conftest import Site
from tests.provisioning.field import DAY, DEVICE, NAME, NEXT, SERVES

SMALL = replace(DEFAULT, part_bytes=9_000, chunk_bytes=2_000)


def bundle(stick: Path) -> Path:
    return stick / FOLDER


def files(stick: Path) -> list[Path]:
    """The files of releases, in their order."""
    return sorted((bundle(stick) / IMAGE / "targets").rglob("*.zip*"))


def fetched_bytes(site: Site) -> int:
    return sum(path.stat().st_size for path in (site.field.known / "fetched").glob("*.part"))


def test_a_release_in_parts_serves_from_a_stick_that_was_pulled_torn_and_wrong(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    site.bounds = SMALL
    site.field.offer()
    made = site.export()
    assert made.releases == (f"{NAME} {NEXT}",)
    parts = files(site.stick)
    assert len(parts) > 3, "it was cut"
    assert max(path.stat().st_size for path in parts) <= SMALL.part_bytes

    # Pulled in the middle of the second part.
    seen, original = 0, cutting.pieces

    def tearing(file: Any, length: int, **bounds: Any) -> Any:
        nonlocal seen
        for chunk in original(file, length, **bounds):
            seen += len(chunk)
            if seen > 12_000:
                raise OSError(5, os.strerror(5))
            yield chunk

    monkeypatch.setattr(cutting, "pieces", tearing)
    assert "Input/output error" in site.refused(Word.CARRIER_GONE)
    have = fetched_bytes(site)
    assert 9_000 < have <= 12_000, "what came is kept"
    monkeypatch.setattr(cutting, "pieces", original)

    # The third part went bad on the stick; it is named, and the bytes that came are not kept.
    good = parts[2].read_bytes()
    parts[2].write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert f"part 3 of {len(parts)}" in site.refused(Word.TAMPERED)
    assert fetched_bytes(site) == 0
    parts[2].unlink()
    assert f"part 3 of {len(parts)}" in site.refused(Word.NOT_A_REGISTRY)
    assert fetched_bytes(site) == 18_000, "and what came before it is kept"

    # The same export again puts right what is wrong, and nothing else.
    assert site.export().copied_bytes == len(good)
    assert site.word() is Word.ACTIVATED
    assert site.field.serving() == NEXT


def test_the_list_of_releases_is_one_file_under_two_roots(site: Site):
    site.export()
    public = site.field.public / IMAGE / METADATA
    newest = max(public.glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))
    on_stick = bundle(site.stick) / IMAGE / METADATA
    assert (on_stick / newest.name).read_bytes() == newest.read_bytes()
    assert not {path.read_bytes() for path in on_stick.glob("*.root.json")} & {
        path.read_bytes() for path in public.glob("*.root.json")
    }
    assert site.word() is Word.CURRENT


def test_a_stolen_bundle_key_reaches_no_box_with_a_network(site: Site, tmp_path: Path):
    """It stamps what it wants; a box with a network believes none of it and goes on as before."""
    field = site.field
    site.export()
    assert site.word() is Word.CURRENT
    online = replace(
        field.box,
        config=field.box.config.model_copy(
            update={"registry": field.box.config.registry.model_copy(update={"url": field.origin.url})}
        ),
    )
    field.box, stuck = online, field.box
    # Over the network: the stamps are of a key that stands in no root of the network's.
    field.origin.tree = bundle(site.stick)
    field.refused(Word.WRONG_KEY)
    field.refused(Word.WRONG_KEY, Folder(root=bundle(site.stick)))
    # Nor do the roots that follow in the bundle's line pass for those that follow in the network's.
    stamps.begin(field.book, field.keys)
    site.export()
    assert (bundle(site.stick) / IMAGE / METADATA / "2.root.json").is_file()
    assert "signed for another" in field.refused(Word.WRONG_KEY)
    # By a stick: a box with a registry of its own takes none unless its site said so.
    assert "registry.bundles" in site.refused(Word.BOX_REFUSED)
    # A stamp from far ahead, taken by a box that may, holds up later sticks and not the network.
    lists = field.book.bundle_lists(IMAGE)
    signer = stamps.signer_of(field.book)
    stamp = lists.folder / "timestamp.json"
    forged = Metadata[Any].from_bytes(stamp.read_bytes())
    forged.signed.version = 2**31 - 2
    forged.sign(signer)
    (bundle(site.stick) / IMAGE / METADATA / "timestamp.json").write_bytes(forged.to_bytes())
    field.box = stuck
    assert site.word() is Word.CURRENT, "it is signed, and nothing is wrong with what it says"
    field.box, field.origin.tree = online, field.public
    assert field.word() is Word.CURRENT
    field.clock.advance(6 * DAY)
    field.book.stamp_all()
    assert field.word() is Word.CURRENT, "nothing of the stick froze it"


def test_another_key_for_bundles_makes_the_former_one_worthless(site: Site, tmp_path: Path):
    site.export()
    old = Path(shutil.copytree(site.stick, tmp_path / "old"))
    assert site.word() is Word.CURRENT
    stamps.begin(site.field.book, site.field.keys, new_key=True)
    site.export()
    assert site.word() is Word.CURRENT
    site.refused(Word.WRONG_KEY, old)


def test_a_bundle_holds_for_ninety_days_and_a_clock_that_was_ahead_is_no_obstacle(site: Site):
    made_at = site.field.clock.now()
    site.export()
    site.field.clock.advance(89 * DAY)
    assert site.word() is Word.CURRENT
    site.field.clock.advance(2 * DAY)
    site.refused(Word.FREEZE)
    site.field.clock.seconds = made_at + DAY
    assert site.word() is Word.CURRENT, "no floor was raised above the day on which it was made"


def test_a_stick_that_is_not_the_newest_of_this_box_is_told_why(site: Site, tmp_path: Path):
    assert "no bundle" in site.refused(Word.NOT_A_REGISTRY)
    bundle(site.stick).mkdir()
    (bundle(site.stick) / "autorun.inf").write_bytes(b"junk")
    site.refused(Word.NOT_A_REGISTRY)
    site.refused(Word.CARRIER_GONE, site.stick / "away")

    shutil.copytree(site.field.public, tmp_path / "tree" / FOLDER)
    assert "for another" in site.refused(Word.WRONG_KEY, tmp_path / "tree"), "a network's tree is no bundle"
    other = Book(folder=tmp_path / "other", clock=site.field.clock)
    other.create(tmp_path / "other-keys")
    stamps.begin(other, [tmp_path / "other-keys"])
    claim(other, DEVICE, tmp_path / "other-claim")
    replace(site, field=replace(site.field, book=other)).export()
    assert "those who sign the roots" in site.refused(Word.WRONG_KEY)
    assert not (site.field.known / "bundle" / "image.root.json").exists(), "and nothing of it stays"

    site.export()
    old = Path(shutil.copytree(site.stick, tmp_path / "old"))
    claim(site.field.book, "box-2", tmp_path / "claim-2")
    site.export("box-2")
    site.refused(Word.UNASSIGNED)
    site.refused(Word.ROLLBACK, old)
    recall(site.field.book, NAME, SERVES, site.field.keys, reason="wrong threshold")
    assert site.export().releases == ()
    assert files(site.stick) == [], "what was recalled is not on a stick"
    assert "wrong threshold" in site.refused(Word.RECALLED)


def test_what_is_no_plain_file_is_not_read(site: Site):
    site.export()
    folder = bundle(site.stick) / DIRECTOR / METADATA
    stamp, kept = folder / "timestamp.json", site.stick / "kept.json"
    stamp.rename(kept)
    stamp.symlink_to(kept)
    site.refused(Word.TAMPERED)
    stamp.unlink()
    os.mkfifo(stamp)
    site.refused(Word.TAMPERED)
    stamp.unlink()
    kept.rename(stamp)
    shutil.move(folder, site.stick / "elsewhere")
    folder.symlink_to(site.stick / "elsewhere")
    site.refused(Word.TAMPERED)
    with pytest.raises(BundleFault, match="link"):
        site.export()
    taking = site.taking()
    shutil.rmtree(bundle(site.stick))
    (outcome,) = taking.turn().outcomes
    assert outcome.word is Word.CARRIER_GONE, "a stick whose bundle vanishes was pulled"


@pytest.mark.parametrize("path", ["../outside", "image/../../outside", "/etc/hostname", "a/../b", ""])
def test_a_stick_is_not_left(tmp_path: Path, path: str):
    (tmp_path / "outside").write_bytes(b"secret")
    bundle(tmp_path).mkdir()
    with pytest.raises(Refusal) as refused, Stick(tmp_path).part(path, start=0, seconds_max=10):
        pass
    assert refused.value.word is Word.TAMPERED
