"""Who attacks a registry, the way to it or its keys gets a word for it, and the old model serves on."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata, MetaFile

from appliance.sync.carrier import Folder
from appliance.sync.refusal import Word
from appliance.sync.release import DIRECTOR, IMAGE, Assigned, Target, model_path
from appliance.sync.turn import Syncer
from provisioning.registry import keys, promote
from provisioning.registry.book import Book
from provisioning.registry.publish import recall
from tests.provisioning import origin
from tests.provisioning.field import DAY, DEVICE, NAME, NEXT, OLDER, SERVES, Field


def assign(field: Field, line: Assigned) -> None:
    """Assign with the director's stolen keys, past everything that the command would refuse."""
    promote._assign(field.book, {DEVICE: [line]})


def line_of(target: Target, version: str) -> Assigned:
    return Assigned(
        name=NAME, version=version, target=target.path, length=target.length, sha256=target.sha256
    )


def listed(field: Field, version: str) -> Target:
    target = field.lists().target(model_path(NAME, version))
    assert target is not None
    return target


# Old lists


def test_a_replay_of_older_lists_is_a_rollback(field: Field):
    old = field.copied()
    field.publish(NEXT)
    assert field.word() is Word.CURRENT
    field.origin.tree = old
    field.refused(Word.ROLLBACK)


def test_lists_that_nobody_stamps_any_more_are_a_freeze(field: Field):
    field.offer()
    field.clock.advance(8 * DAY)
    field.refused(Word.FREEZE)
    assert field.origin.fetched(".zip") == []


def test_a_stamp_from_far_ahead_is_a_fast_forward_until_the_root_takes_its_key_away(field: Field):
    genuine = (field.lists().folder / "timestamp.json").read_bytes()
    field.stamp_forged(IMAGE, "timestamp", version=2**31 - 2)
    assert field.word() is Word.CURRENT, "it is signed, and nothing is wrong with what it says"
    (field.lists().folder / "timestamp.json").write_bytes(genuine)
    assert "the key was stolen" in field.refused(Word.FAST_FORWARD)
    field.book.rotate(IMAGE, field.keys)
    assert field.word() is Word.CURRENT


def test_a_new_stamp_over_an_old_snapshot_is_mix_and_match(field: Field):
    folder = field.lists().folder
    old = max(folder.glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))
    before = old.read_bytes()
    field.publish(NEXT)
    new = max(folder.glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))
    assert new != old
    new.write_bytes(before)
    field.refused(Word.MIX_AND_MATCH)


# Keys


def test_another_registrys_lists_are_of_a_wrong_key(field: Field, tmp_path: Path):
    other = Book(folder=tmp_path / "other", clock=field.clock)
    other.create(tmp_path / "other-keys")
    field.origin.tree = other.layout.public
    field.refused(Word.WRONG_KEY)


def forged_targets(field: Field, signers: list[Any]) -> None:
    """Put a list of releases in place that these keys signed, with all of the server's keys stolen."""
    lists = field.lists()
    targets = lists.targets()
    targets.version += 1
    signed = Metadata(targets)
    for signer in signers:
        signed.sign(signer, append=True)
    (lists.folder / f"{targets.version}.targets.json").write_bytes(signed.to_bytes())
    field.book.stamp(IMAGE)


def test_one_of_two_signatures_is_too_few(field: Field):
    one = keys.load(field.keys[0] / "targets-1.pem", None)
    forged_targets(field, [one])
    assert "1 of the 2" in field.refused(Word.TOO_FEW_SIGNATURES)


def test_a_key_counts_once(field: Field):
    one = keys.load(field.keys[0] / "targets-1.pem", None)
    forged_targets(field, [one, one])
    field.refused(Word.TOO_FEW_SIGNATURES)


def test_all_keys_of_the_server_together_sign_no_release(field: Field):
    online = field.book.online(IMAGE)
    forged_targets(field, [online["snapshot"][0], online["timestamp"][0]])
    field.refused(Word.WRONG_KEY)


def test_a_stolen_director_key_installs_nothing_foreign(field: Field):
    foreign = Assigned(
        name=NAME, version="9.9.9", target=model_path(NAME, "9.9.9"), length=10, sha256="a" * 64
    )
    assign(field, foreign)
    assert "never signed offline" in field.refused(Word.DISAGREE)


def test_a_stolen_director_key_puts_no_other_bytes_under_a_release(field: Field):
    field.publish(NEXT)
    target = listed(field, NEXT)
    assign(field, Assigned(**{**vars(line_of(target, NEXT)), "sha256": "b" * 64}))
    assert "other bytes" in field.refused(Word.DISAGREE)


def test_a_stolen_director_key_goes_not_back_behind_what_served(field: Field):
    assign(field, line_of(listed(field, OLDER), OLDER))
    assert "release 2 served here" in field.refused(Word.ROLLBACK)
    assert field.origin.fetched(".zip") == []


def test_a_stolen_director_key_brings_nothing_back_that_was_recalled(field: Field):
    field.publish(NEXT)
    recall(field.book, NAME, NEXT, field.keys, reason="wrong threshold")
    assign(field, line_of(listed(field, NEXT), NEXT))
    assert "wrong threshold" in field.refused(Word.RECALLED)
    assert field.origin.fetched(".zip") == []


def test_a_stolen_stamp_key_makes_no_snapshot(field: Field):
    """The forged snapshot lists an old list of releases; only the snapshot's key may say that."""
    lists = field.lists()
    folder = lists.folder
    path = max(folder.glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))
    metadata = Metadata[Any].from_bytes(path.read_bytes())
    metadata.signed.version += 1
    metadata.sign(field.book.online(IMAGE)["timestamp"][0])
    forged = folder / f"{metadata.signed.version}.snapshot.json"
    forged.write_bytes(metadata.to_bytes())
    meta = MetaFile.from_data(metadata.signed.version, forged.read_bytes(), ["sha256"])
    version = Metadata[Any].from_bytes((folder / "timestamp.json").read_bytes()).signed.version
    field.stamp_forged(IMAGE, "timestamp", version=version + 1, snapshot_meta=meta)
    field.refused(Word.WRONG_KEY)


def test_a_stolen_stamp_key_does_not_go_back_to_an_old_snapshot(field: Field):
    folder = field.lists().folder
    first = folder / "1.snapshot.json"
    meta = MetaFile.from_data(1, first.read_bytes(), ["sha256"])
    version = Metadata[Any].from_bytes((folder / "timestamp.json").read_bytes()).signed.version
    field.stamp_forged(IMAGE, "timestamp", version=version + 1, snapshot_meta=meta)
    field.refused(Word.ROLLBACK)


# Bytes


def test_a_release_with_one_bit_turned_is_tampered_with_and_nothing_of_it_stays(field: Field):
    field.offer()
    field.origin.fault = origin.changed(".zip")
    field.refused(Word.TAMPERED)
    assert list((field.known / "fetched").iterdir()) == []


def test_a_list_that_is_none_is_tampered_with(field: Field):
    field.origin.fault = origin.changed("timestamp.json")
    assert field.outcome().word in (Word.TAMPERED, Word.WRONG_KEY)
    (field.lists(DIRECTOR).folder / "timestamp.json").write_bytes(b"{}")
    field.origin.fault = None
    field.refused(Word.TAMPERED)


@pytest.mark.parametrize("word", ["timestamp.json", "devices/"])
def test_lists_without_end_are_endless_data(field: Field, word: str):
    field.offer()
    field.origin.fault = origin.endless(word)
    field.refused(Word.ENDLESS_DATA)


def test_a_release_without_end_is_endless_data_and_is_not_kept(field: Field):
    field.offer()
    field.origin.fault = origin.endless(".zip")
    field.refused(Word.ENDLESS_DATA)
    assert list((field.known / "fetched").iterdir()) == []


@pytest.mark.parametrize("portal", [origin.page, origin.elsewhere])
def test_a_log_in_page_is_told_from_a_list(field: Field, portal: origin.Fault):
    field.origin.fault = portal
    assert "log-in page" in field.refused(Word.CAPTIVE_PORTAL)


def test_a_log_in_page_in_place_of_a_release_is_no_release(field: Field):
    field.offer()
    field.origin.fault = lambda answer: ".zip" in answer.name and origin.page(answer)
    field.refused(Word.CAPTIVE_PORTAL)


@pytest.mark.parametrize("in_header", [False, True])
@pytest.mark.parametrize("word", ["timestamp.json", ".zip"])
def test_a_slow_drip_ends_at_a_deadline_also_in_a_header(field: Field, word: str, in_header: bool):
    field.offer()
    field.patient(list_seconds_max=0.5, start_seconds=0.5, bytes_per_second_min=1e9)
    field.origin.fault = origin.dripping(word, in_header=in_header)
    field.refused(Word.TOO_SLOW)


# The clock


def test_a_clock_in_1971_is_called_a_clock_that_is_wrong(field: Field):
    field.offer()
    field.clock.seconds = datetime(1971, 1, 1, tzinfo=UTC).timestamp()
    said = field.refused(Word.CLOCK_BEHIND)
    assert said.startswith("the clock is wrong by about 2")
    assert "days" in said
    assert "sign" not in said


def test_a_clock_in_2099_is_called_a_clock_that_is_wrong(field: Field):
    field.offer()
    field.clock.seconds = datetime(2099, 1, 1, tzinfo=UTC).timestamp()
    said = field.refused(Word.CLOCK_AHEAD)
    assert said.startswith("the clock is wrong by about 2")
    assert "sign" not in said
    field.clock.seconds = field.book.clock.now()


def test_a_clock_that_was_ahead_and_is_right_again_is_no_obstacle(field: Field):
    right = field.clock.seconds
    field.clock.seconds = datetime(2099, 1, 1, tzinfo=UTC).timestamp()
    field.refused(Word.CLOCK_AHEAD)
    field.clock.seconds = right
    assert field.word() is Word.CURRENT


def test_old_lists_do_not_come_back_to_life_when_the_clock_is_set_back(field: Field):
    old, then = field.copied(), field.clock.seconds
    field.clock.advance(30 * DAY)
    field.book.stamp_all()
    assert field.word() is Word.CURRENT
    shutil.rmtree(field.known / "trust")
    field.clock.seconds = then
    field.origin.tree = old
    assert "30 days" in field.refused(Word.CLOCK_BEHIND)


# The device's own state


def test_a_wiped_client_takes_no_old_list_of_releases(field: Field):
    old = field.copied()
    field.publish(NEXT)
    assert field.word() is Word.CURRENT
    shutil.rmtree(field.known / "trust")
    field.origin.tree = old
    assert "this device has seen number" in field.refused(Word.ROLLBACK)


def test_a_wiped_client_goes_not_back_behind_what_served(field: Field):
    shutil.rmtree(field.known / "trust")
    assign(field, line_of(listed(field, OLDER), OLDER))
    field.refused(Word.ROLLBACK)


def test_a_client_that_lost_everything_begins_at_the_floors_of_its_claim(field: Field, tmp_path: Path):
    promote.claim(field.book, DEVICE, tmp_path / "roots")
    assert json.loads((tmp_path / "roots" / "floors.json").read_text())["counters"] == {NAME: 2}
    shutil.rmtree(field.known)
    assign(field, line_of(listed(field, OLDER), OLDER))
    field.refused(Word.ROLLBACK)


def test_floors_that_cannot_be_read_are_not_begun_anew(field: Field):
    (field.known / "floors.json").write_text("{")
    field.offer()
    field.refused(Word.FLOORS_DAMAGED)
    assert field.origin.fetched(".zip") == []


# The carrier


def test_a_link_that_is_cut_again_and_again_is_resumed_where_it_broke(field: Field):
    field.offer()
    target = listed(field, NEXT)
    step = target.length // 3 + 1
    field.origin.fault = origin.cutting(".zip", step)
    field.refused(Word.CUT_OFF)
    field.refused(Word.CUT_OFF)
    assert field.word() is Word.ACTIVATED
    assert field.serving() == NEXT
    assert [one.start for one in field.origin.fetched(".zip")] == [0, step, 2 * step]


def test_a_server_that_knows_no_parts_is_read_from_the_beginning(field: Field):
    field.offer()
    field.origin.fault = origin.cutting(".zip", 1_000)
    field.refused(Word.CUT_OFF)

    def whole(answer: origin.Answer) -> bool:
        answer.start = 0
        answer.give(answer.data(), stop_after=None if ".zip" not in answer.name else 50_000)
        return True

    field.origin.fault = whole
    field.refused(Word.CUT_OFF)
    (part,) = (field.known / "fetched").iterdir()
    assert part.stat().st_size == 50_000


def test_a_stick_that_is_pulled_half_way_goes_on_when_it_is_back(field: Field, tmp_path: Path):
    field.offer()
    field.patient(chunk_bytes=20_000)
    stick = field.copied("stick")
    away = tmp_path / "away"

    def pull(share: float, stage: str) -> None:
        if stage == "fetching" and share > 0.5 and stick.exists():
            stick.rename(away)

    carrier = Folder(root=stick, limits=field.limits)
    pulled = Syncer(box=field.box, carrier=carrier, limits=field.limits, progress=pull).turn()
    assert [one.word for one in pulled.outcomes] == [Word.CARRIER_GONE]
    field.refused(Word.CARRIER_GONE, carrier)
    away.rename(stick)
    assert field.word(carrier) is Word.ACTIVATED
    assert field.serving() == NEXT
    assert field.origin.fetched(".zip") == []


def test_a_list_leads_to_no_file_outside_of_a_stick(field: Field, tmp_path: Path):
    stick = field.copied("stick")
    (tmp_path / "outside").write_bytes(b"secret")
    shutil.rmtree(stick / "director" / "metadata")
    (stick / "director" / "metadata").symlink_to(tmp_path)
    field.refused(Word.TAMPERED, Folder(root=stick))


def test_a_registry_that_is_away_changes_nothing(field: Field):
    field.origin.fault = origin.hanging_up
    assert field.outcome().word in (Word.CUT_OFF, Word.UNREACHABLE)
    assert field.serving() == SERVES


# One repository's root in place of another's


def test_a_root_of_the_director_is_none_of_the_image_repository(field: Field, tmp_path: Path):
    """The same people sign both roots: without a name in them the director's keys would sign releases."""
    field.book.renew(field.keys)
    stolen = Path(shutil.copytree(field.public, tmp_path / "stolen"))
    image, director = (stolen / repository / "metadata" for repository in (IMAGE, DIRECTOR))
    shutil.copyfile(director / "2.root.json", image / "2.root.json")
    for made in image.glob("*.targets.json"):
        made.unlink()
    for made in director.glob("*"):
        if "root" not in made.name:
            shutil.copyfile(made, image / made.name)
    field.origin.tree = stolen
    assert "signed for another" in field.refused(Word.WRONG_KEY)
    field.origin.tree = field.public
    assert field.word() is Word.CURRENT, "and nothing of it was kept"
