"""The medium that forgets, without a kernel: what it must keep, and what it may lose."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lossy.medium import ROOT, SECTOR_BYTES, Medium, Node

FILE, FOLDER = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700
SEEDS = range(40)


def file_of(medium: Medium, name: str = "a", folder: int = ROOT) -> Node:
    """A file whose name is safe."""
    node = medium.make(folder, name, FILE)
    medium.sync_folder(folder)
    return node


def names(medium: Medium, folder: int = ROOT) -> set[str]:
    return set(medium.nodes[folder].names)


def outcomes(build, look) -> set:
    """What may be found after a cut, over many throws of the dice."""
    found = set()
    for seed in SEEDS:
        medium = Medium()
        build(medium)
        medium.cut(seed=seed, survive=0.5)
        found.add(look(medium))
    return found


class TestBytes:
    """Of a file whose name is safe."""

    def test_what_was_not_synced_is_gone_and_what_was_is_there(self):
        medium = Medium()
        node = file_of(medium)
        medium.write(node, 0, b"safe")
        medium.sync(node)
        medium.write(node, 0, b"lost, and longer")
        assert bytes(node.seen) == b"lost, and longer"
        told = medium.cut(seed=1, survive=0)
        assert bytes(node.seen) == b"safe"
        assert told.lost == told.sectors_lost + told.lengths_lost == 2

    def test_a_durable_write_is_safe_alone(self):
        medium = Medium()
        node = file_of(medium)
        medium.resize(node, 4 * SECTOR_BYTES)
        medium.sync(node)
        medium.write(node, 0, b"a" * SECTOR_BYTES)
        medium.write(node, SECTOR_BYTES, b"b" * SECTOR_BYTES, durable=True)
        medium.cut(seed=1, survive=0)
        assert bytes(node.seen) == bytes(SECTOR_BYTES) + b"b" * SECTOR_BYTES + bytes(2 * SECTOR_BYTES)

    def test_a_durable_write_behind_the_end_brings_the_length_to_its_own_end(self):
        medium = Medium()
        node = file_of(medium)
        medium.write(node, 0, b"a" * 10)
        medium.write(node, 10, b"b" * 5, durable=True)
        medium.write(node, 15, b"c")
        medium.cut(seed=1, survive=0)
        assert bytes(node.seen) == bytes(10) + b"bbbbb"

    @pytest.mark.parametrize("act", ["cut", "hole", "grow"])
    def test_holes_and_lengths_are_forgotten_too(self, act):
        medium = Medium()
        node = file_of(medium)
        medium.write(node, 0, b"x" * 2000)
        medium.sync(node)
        {
            "cut": lambda: medium.resize(node, 3),
            "hole": lambda: medium.hole(node, 0, 2000),
            "grow": lambda: medium.resize(node, 9000),
        }[act]()
        medium.cut(seed=1, survive=0)
        assert bytes(node.seen) == b"x" * 2000

    def test_a_file_made_short_and_long_again_shows_zeros_or_what_was_there(self):
        def build(medium: Medium) -> None:
            node = file_of(medium)
            medium.write(node, 0, b"x" * SECTOR_BYTES)
            medium.sync(node)
            medium.resize(node, 0)
            medium.resize(node, SECTOR_BYTES)

        found = outcomes(build, lambda medium: bytes(medium.find(ROOT, "a").seen))
        assert found == {bytes(SECTOR_BYTES), b"x" * SECTOR_BYTES}

    @pytest.mark.parametrize("grain", [512, 4096])
    def test_a_torn_write_is_torn_between_sectors_only(self, grain):
        medium = Medium()
        node = file_of(medium)
        medium.write(node, 0, b"o" * 16_384)
        medium.sync(node)
        medium.write(node, 100, b"n" * 16_000)
        told = medium.cut(seed=3, survive=0.5, grain_bytes=grain)
        found = bytes(node.seen)
        new = b"o" * 100 + b"n" * 16_000 + b"o" * 284
        grains = [(found[at : at + grain], new[at : at + grain]) for at in range(0, 16_384, grain)]
        assert all(one in (b"o" * grain, fresh) for one, fresh in grains)
        assert 0 < told.sectors_lost < told.sectors

    def test_a_restless_medium_may_leave_what_was_written_over_since(self):
        found = set()
        for seed in SEEDS:
            medium = Medium(seed=seed, restless=0.5)
            node = file_of(medium)
            medium.write(node, 0, b"1")
            medium.sync(node)
            for data in (b"2", b"3", b"4"):
                medium.write(node, 0, data)
            medium.cut(seed=seed, survive=0)
            found.add(bytes(node.seen))
        assert {b"1", b"2", b"3"} == found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 5000), st.binary(min_size=1, max_size=1500)),
        st.tuples(st.just("durable"), st.integers(0, 5000), st.binary(min_size=1, max_size=1500)),
        st.tuples(st.just("resize"), st.integers(0, 7000)),
        st.tuples(st.just("hole"), st.integers(0, 5000), st.integers(1, 3000)),
        st.tuples(st.just("sync")),
    ),
    max_size=12,
)


@given(steps=STEPS, seed=st.integers(0, 2**32), survive=st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_is_done_a_cut_leaves_what_is_safe_or_what_was_seen(steps, seed, survive):
    medium = Medium()
    node = file_of(medium)
    safe = b""
    for kind, *more in steps:
        match kind:
            case "write":
                medium.write(node, *more)
            case "durable":
                medium.write(node, *more, durable=True)
                at, data = more
                safe = safe[:at].ljust(at, b"\0") + data + safe[at + len(data) :]
            case "resize":
                medium.resize(node, *more)
            case "hole":
                medium.hole(node, *more)
            case "sync":
                medium.sync(node)
                safe = bytes(node.seen)
    seen = bytes(node.seen)
    medium.cut(seed=seed, survive=survive)
    found = bytes(node.seen)
    if survive == 0.0:
        assert found == safe
    elif survive == 1.0:
        assert found == seen
    else:
        assert len(found) in (len(safe), len(seen))
        either = zip(found, safe.ljust(len(found), b"\0"), seen.ljust(len(found), b"\0"), strict=False)
        assert all(one in (two, three) for one, two, three in either)


class TestNames:
    """Of files and folders."""

    def test_the_sync_of_a_file_does_not_make_its_name_safe(self):
        medium = Medium()
        node = medium.make(ROOT, "a", FILE)
        medium.write(node, 0, b"x")
        medium.sync(node)
        medium.cut(seed=1, survive=0)
        assert names(medium) == set()

    def test_the_sync_of_a_folder_makes_names_safe_and_not_what_they_hold(self):
        medium = Medium()
        medium.write(medium.make(ROOT, "a", FILE), 0, b"x")
        medium.sync_folder(ROOT)
        medium.cut(seed=1, survive=0)
        assert names(medium) == {"a"}
        assert bytes(medium.find(ROOT, "a").seen) == b""  # type: ignore[union-attr]

    def test_a_folder_that_its_parent_does_not_name_takes_all_it_holds_with_it(self):
        medium = Medium()
        folder = medium.make(ROOT, "f", FOLDER)
        medium.sync(file_of(medium, folder=folder.number))
        medium.cut(seed=1, survive=0)
        assert names(medium) == set()
        assert list(medium.nodes) == [ROOT]

    def test_an_unlink_that_was_not_synced_may_be_undone_with_what_was_safe(self):
        medium = Medium()
        node = file_of(medium)
        medium.write(node, 0, b"safe")
        medium.sync(node)
        medium.resize(node, 0)
        medium.unlink(ROOT, "a")
        medium.cut(seed=1, survive=0)
        assert bytes(medium.find(ROOT, "a").seen) == b"safe"  # type: ignore[union-attr]

    def test_a_rename_inside_a_folder_is_whole_or_not_at_all(self):
        def build(medium: Medium) -> None:
            file_of(medium, "new")
            file_of(medium, "old")
            medium.rename(ROOT, "new", ROOT, "old")

        assert outcomes(build, lambda m: (m.find(ROOT, "old").number, frozenset(names(m)))) == {
            (3, frozenset({"new", "old"})),
            (2, frozenset({"old"})),
        }

    def test_a_file_that_moves_to_another_folder_is_in_one_or_in_both(self):
        def build(medium: Medium) -> None:
            for name in ("f", "g"):
                medium.make(ROOT, name, FOLDER)
            file_of(medium, "a", 2)
            medium.sync_folder(ROOT)
            medium.rename(2, "a", 3, "b")

        def look(medium: Medium) -> tuple[int, int]:
            return len(names(medium, 2)), len(names(medium, 3))

        assert outcomes(build, look) == {(1, 0), (0, 1), (1, 1)}

        def half(medium: Medium) -> None:
            build(medium)
            medium.sync_folder(2)

        assert outcomes(half, look) == {(0, 1)}, "it may not be gone from both"

    def test_a_name_that_was_given_anew_is_not_taken_back_by_what_came_before(self):
        def build(medium: Medium) -> None:
            file_of(medium, "a")
            medium.make(ROOT, "f", FOLDER)
            medium.sync_folder(ROOT)
            medium.make(3, "new", FILE)
            medium.unlink(ROOT, "a")
            medium.rename(3, "new", ROOT, "a")
            medium.sync_folder(3)

        assert outcomes(build, lambda medium: frozenset(names(medium))) == {frozenset({"a", "f"})}

    def test_links_are_counted_anew(self):
        medium = Medium()
        node = file_of(medium)
        medium.link(ROOT, "b", node)
        assert node.links == 2
        medium.cut(seed=1, survive=0)
        assert (node.links, medium.nodes[ROOT].links) == (1, 2)

    def test_what_nobody_can_find_again_is_let_go(self):
        medium = Medium()
        for _ in range(600):
            file_of(medium)
            medium.unlink(ROOT, "a")
        assert len(medium.nodes) < 600
