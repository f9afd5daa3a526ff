"""From a publisher's package to a model that serves: what is assigned comes, what is not stays away."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from appliance.core.config import Config
from appliance.ledger import versions
from appliance.sync import activate as changes
from appliance.sync.box import ModelBox, Refused
from appliance.sync.refusal import Word
from appliance.sync.release import Release, Target, model_path
from appliance.sync.standing import read_standing
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import assignments, claim, promote
from provisioning.registry.publish import publish, recall, releases
from tests.appliance import packages
from tests.provisioning import origin
from tests.provisioning.field import DEVICE, NAME, NEXT, OLDER, SERVES, Field

LATER = "1.3.0"


def with_registry(box: ModelBox, **changed: object) -> ModelBox:
    registry = box.config.registry.model_copy(update=changed)
    return replace(box, config=box.config.model_copy(update={"registry": registry}))


def test_a_release_serves_after_its_golden_cases_and_a_bad_one_never_does(field: Field, tmp_path: Path):
    field.offer()
    assert field.word() is Word.ACTIVATED
    assert field.serving() == NEXT
    assert field.word() is Word.CURRENT
    assert (field.known / "fetched").is_dir()
    assert list((field.known / "fetched").iterdir()) == []

    publish(field.book, packages.blind(tmp_path / "bad", LATER), field.keys)
    field.promote(LATER)
    first = field.outcome()
    assert first.word is Word.REJECTED
    assert "golden cases came out different" in first.sentence
    fetched = len(field.origin.fetched(".zip"))
    again = field.outcome()
    assert again.word is Word.REJECTED
    assert "does not try again" in again.sentence
    assert len(field.origin.fetched(".zip")) == fetched, "it was not even fetched again"
    assert field.serving() == NEXT
    with field.box.ledger.read() as tx:
        row = versions.find(tx, NAME, LATER)
    assert row is not None
    assert row.evidence["golden"], "what was seen is kept"

    (tried,) = field.turn(again=True).outcomes
    assert tried.word is Word.REJECTED
    assert len(field.origin.fetched(".zip")) == fetched + 1, "a person wanted it tried once more"


def test_what_a_person_chose_at_the_box_stays_until_another_release_is_assigned(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    changes.rollback(field.box, NAME)
    assert field.serving() == SERVES
    field.refused(Word.HELD)
    assert len(field.origin.fetched(".zip")) == 1


def test_the_way_back_is_open_from_a_release_that_was_recalled(field: Field):
    field.offer()
    assert field.word() is Word.ACTIVATED
    recall(field.book, NAME, NEXT, field.keys, reason="wrong threshold")
    outcome = field.outcome()
    assert (outcome.word, outcome.version) == (Word.RECALLED, NEXT)
    assert "it serves here" in outcome.sentence
    assert field.serving() == NEXT, "taking it away is a person's decision"
    field.promote(SERVES)
    assert [one.word for one in field.turn().outcomes][-1] is Word.ACTIVATED
    assert field.serving() == SERVES
    with pytest.raises(RegistryFault, match="recalled"):
        field.promote(NEXT)


def test_the_director_takes_back_the_newest_release_and_goes_no_further(field: Field):
    """Or a roll-out could not be undone before the holders of the offline keys have met."""
    field.offer()
    assert field.word() is Word.ACTIVATED
    field.promote(OLDER)
    assert field.word() is Word.ROLLBACK
    assert field.serving() == NEXT, "it never served here"
    field.promote(SERVES)
    assert field.word() is Word.ACTIVATED
    assert field.serving() == SERVES
    field.promote(OLDER)
    field.refused(Word.ROLLBACK)
    field.promote(NEXT)
    assert field.word() is Word.ACTIVATED
    assert field.serving() == NEXT


def test_what_is_recalled_while_it_is_fetched_does_not_begin_to_serve(field: Field):
    field.offer()
    recalled: list[Release] = []

    def fault(answer: origin.Answer) -> bool:
        if ".zip" in answer.name and not recalled:
            recalled.append(recall(field.book, NAME, NEXT, field.keys, reason="found out"))
        return False

    field.origin.fault = fault
    field.refused(Word.RECALLED)


def test_a_device_that_is_not_known_is_unassigned(field: Field):
    field.box = with_registry(field.box, device="box-2")
    field.refused(Word.UNASSIGNED)


def test_a_device_without_roots_is_not_claimed(field: Field, tmp_path: Path):
    field.box = with_registry(field.box, roots=tmp_path / "nowhere")
    field.refused(Word.NOT_CLAIMED)


def test_a_root_that_is_none_is_not_claimed(field: Field, tmp_path: Path):
    shutil.rmtree(field.known / "trust")
    (tmp_path / "roots" / "image.root.json").write_text("{}")
    field.refused(Word.NOT_CLAIMED)


@pytest.mark.parametrize(
    ("needs", "says"),
    [({"engines": ["tensorrt"]}, "engines tensorrt"), ({"readside": "99.0.0"}, "needs Readside 99.0.0")],
)
def test_what_does_not_fit_is_not_fetched(field: Field, needs: dict[str, object], says: str):
    field.publish(NEXT, **needs)
    field.promote(NEXT)
    assert says in field.refused(Word.INCOMPATIBLE)
    assert field.origin.fetched(".zip") == []
    assert version("readside") < "99"


def test_what_needs_more_memory_than_the_site_gives_is_not_fetched(field: Field):
    inference = field.box.config.inference.model_copy(update={"memory_gib": 0.01})
    config: Config = field.box.config.model_copy(update={"inference": inference})
    field.box = replace(field.box, config=config)
    field.offer()
    assert "128 MiB of memory" in field.refused(Word.INCOMPATIBLE)


def test_a_disk_without_room_above_its_floor_is_said_before_the_first_byte(field: Field):
    storage = field.box.config.storage.model_copy(update={"floor_gib": 1e9})
    field.box = replace(field.box, config=field.box.config.model_copy(update={"storage": storage}))
    field.offer()
    field.refused(Word.NO_ROOM)
    assert field.origin.fetched(".zip") == []


def test_one_model_that_is_refused_does_not_hold_up_another(field: Field, tmp_path: Path):
    other = packages.copied("ct-phantom-lesion", tmp_path, "1.0.9", {})
    publish(field.book, other, field.keys, engines=["tensorrt"])
    promote(field.book, "ct-phantom-lesion", "1.0.9", [DEVICE])
    words = {one.model: one.word for one in field.turn().outcomes}
    assert words == {"ct-phantom-lesion": Word.INCOMPATIBLE, NAME: Word.CURRENT}


def test_the_status_keeps_when_all_was_well(field: Field):
    well = field.clock.now()
    field.clock.advance(3_600)
    field.origin.fault = origin.page
    field.refused(Word.CAPTIVE_PORTAL)
    standing = read_standing(field.box.root)
    assert standing is not None
    assert (standing.at, standing.well_at) == (well + 3_600, well)


# The publisher's and the operator's side


def test_a_version_number_means_one_digest_and_a_counter_only_grows(field: Field, tmp_path: Path):
    counters = {one.version: one.counter for one in releases(field.book)}
    assert counters == {OLDER: 1, SERVES: 2}
    publish(field.book, field.folder / f"{NAME}-{SERVES}", field.keys)
    assert {one.version: one.counter for one in releases(field.book)} == counters, (
        "the same again is the same"
    )
    other = packages.bands(tmp_path / "other", SERVES, changes={'intended_use = "': 'intended_use = "Not '})
    with pytest.raises(RegistryFault, match="give it another version"):
        publish(field.book, other, field.keys)


def test_a_package_with_faults_is_not_published(field: Field, tmp_path: Path):
    broken = packages.bands(tmp_path / "broken", NEXT)
    (broken / "MODEL_CARD.md").unlink()
    before = sorted(path.name for path in field.public.rglob("*"))
    with pytest.raises(RegistryFault, match=r"MODEL_CARD\.md: is missing"):
        publish(field.book, broken, field.keys)
    assert sorted(path.name for path in field.public.rglob("*")) == before


def test_with_one_key_of_three_nothing_is_published(field: Field, tmp_path: Path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("targets-2.pem", "image.root.json", "director.root.json"):
        shutil.copy(field.keys[0] / name, alone)
    before = sorted(field.public.rglob("*"))
    with pytest.raises(RegistryFault, match="make 1 of the 2 signatures"):
        publish(field.book, packages.bands(tmp_path / "new", NEXT), [alone])
    assert sorted(field.public.rglob("*")) == before
    second = tmp_path / "second"
    second.mkdir()
    shutil.copy(field.keys[0] / "targets-3.pem", second)
    publish(field.book, tmp_path / "new" / f"{NAME}-{NEXT}", [alone, second])
    assert NEXT in {one.version for one in releases(field.book)}


def test_a_publisher_without_the_servers_keys_signs_and_the_server_makes_it_seen(
    field: Field, tmp_path: Path
):
    field.offer(NEXT)
    away = tmp_path / "away"
    field.book.layout.online.rename(away)
    publish(field.book, packages.bands(tmp_path / "new", LATER), field.keys)
    away.rename(field.book.layout.online)
    before = field.lists().folder / "timestamp.json"
    unseen = before.read_bytes()
    field.book.stamp_all()
    assert before.read_bytes() != unseen
    assert LATER in {one.version for one in releases(field.book)}


def test_only_claimed_devices_and_published_releases_are_assigned(field: Field):
    with pytest.raises(RegistryFault, match="never published"):
        field.promote("8.0.0")
    with pytest.raises(RegistryFault, match="box-9 is not claimed"):
        promote(field.book, NAME, OLDER, ["box-9"])
    with pytest.raises(RegistryFault, match="is no name"):
        claim(field.book, "../box", field.folder / "out")
    assert list(assignments(field.book)) == [DEVICE]


def test_offline_keys_do_not_lie_in_the_registry(field: Field, tmp_path: Path):
    own = [path.name for path in field.book.folder.rglob("*.pem")]
    assert all(name.startswith(("image-", "director-")) for name in own)
    assert not any("targets" in name for name in own if name.startswith("image"))
    assert [path for path in field.public.rglob("*") if path.suffix == ".pem"] == []
    fresh = replace(field.book, folder=tmp_path / "fresh")
    with pytest.raises(RegistryFault, match="must not lie in the registry's folder"):
        fresh.create(tmp_path / "fresh" / "keys")
    with pytest.raises(RegistryFault, match="holds a registry already"):
        field.book.create(tmp_path / "more")


def test_nothing_is_signed_on_top_of_what_somebody_put_into_the_registry(field: Field, tmp_path: Path):
    """A server that was broken into gives its publisher a copy in which there is something more to sign."""
    lists, new = field.lists(), packages.bands(tmp_path / "new", NEXT)
    targets = lists.targets()
    targets.version += 1
    lists.add(targets, Target(path=model_path(NAME, "6.6.6"), length=1, sha256="e" * 64, custom={}))
    forged = lists.folder / f"{targets.version}.targets.json"
    forged.write_bytes(Metadata(targets).to_bytes())
    for sign in (
        lambda: publish(field.book, new, field.keys),
        lambda: recall(field.book, NAME, SERVES, field.keys, reason="x"),
        lambda: field.book.renew(field.keys),
        lambda: field.book.rotate("image", field.keys),
    ):
        with pytest.raises(RegistryFault, match="nothing may be signed on top of them"):
            sign()
    forged.unlink()
    publish(field.book, new, field.keys)


def test_a_root_of_somebody_else_is_not_followed(field: Field, tmp_path: Path):
    other = replace(field.book, folder=tmp_path / "other")
    other.create(tmp_path / "other-keys")
    with pytest.raises(RegistryFault, match="nothing may be signed on top of them"):
        other.offline_signers(field.keys)
    with pytest.raises(RegistryFault, match=r"holds image\.root\.json"):
        (tmp_path / "other-keys" / "image.root.json").unlink()
        other.offline_signers([tmp_path / "other-keys"])


def test_an_older_copy_of_the_registry_is_not_signed_anew(field: Field, tmp_path: Path):
    """In it a recall would be missing, under a number that is as high."""
    old = Path(shutil.copytree(field.book.folder, tmp_path / "old"))
    recall(field.book, NAME, SERVES, field.keys, reason="wrong threshold")
    with pytest.raises(RegistryFault, match="get the newest copy"):
        publish(replace(field.book, folder=old), packages.bands(tmp_path / "new", NEXT), field.keys)


def test_an_encrypted_key_needs_its_passphrase(field: Field, tmp_path: Path):
    sealed = replace(field.book, folder=tmp_path / "sealed", passphrase="open sesame")
    sealed.create(tmp_path / "sealed-keys")
    assert b"ENCRYPTED" in (tmp_path / "sealed-keys" / "root-1.pem").read_bytes()
    assert (
        json.loads((sealed.layout.metadata("image") / "1.root.json").read_bytes())["signed"]["version"] == 1
    )
    sealed.offline_signers([tmp_path / "sealed-keys"])
    for passphrase, says in ((None, "no passphrase"), ("other", "passphrase is another")):
        with pytest.raises(RegistryFault, match=says):
            replace(sealed, passphrase=passphrase).offline_signers([tmp_path / "sealed-keys"])


def test_a_turn_as_another_user_leaves_nothing_behind(field: Field, monkeypatch: pytest.MonkeyPatch):
    shutil.rmtree(field.known)
    monkeypatch.setattr(os, "geteuid", lambda: field.box.root.stat().st_uid + 1)
    with pytest.raises(Refused, match="run this as the user that the box runs as"):
        field.turn()
    assert not field.known.exists()
