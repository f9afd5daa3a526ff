"""Copies in their order, the registry last: one that fails is passed over, what it began is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.core.config import ConfigError, parse
from appliance.core.registry_section import Registry
from appliance.sync.carrier import Carrier, read_all
from appliance.sync.fetch import fetch
from appliance.sync.limits import FETCH
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import Target
from appliance.sync.sources import Pace, Sources, carrier_for, first_good, limits_for, sources_of
from tests.provisioning import origin
from tests.provisioning.origin import Origin, serving

DATA = bytes(range(256)) * 1_000
SHA256 = hashlib.sha256(DATA).hexdigest()
TARGET = Target(path="models/a/1.zip", length=len(DATA), sha256=SHA256, custom={})
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Origin, Origin]]:
    """A mirror and the registry itself, with the same release."""
    place = tmp_path / "tree" / "image" / "targets" / TARGET.place
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    with serving(tmp_path / "tree") as mirror, serving(tmp_path / "tree") as registry:
        yield mirror, registry


def both(mirror: Origin, registry: Origin, *more: str) -> Carrier:
    return carrier_for(Registry(url=registry.url, device="box-1", mirrors=(*more, mirror.url)))


def brought(carrier: Carrier, folder: Path) -> bytes:
    with closing(carrier):
        return fetch(carrier, TARGET, folder).read_bytes()


def test_the_registry_is_not_asked_for_what_a_mirror_has(pair: tuple[Origin, Origin], tmp_path: Path):
    mirror, registry = pair
    assert brought(both(mirror, registry), tmp_path / "fetched") == DATA
    assert (len(mirror.asked), registry.asked) == (1, [])


def test_what_a_mirror_began_is_gone_on_with_at_the_next(pair: tuple[Origin, Origin], tmp_path: Path):
    mirror, registry = pair
    mirror.fault = origin.cutting(".zip", 100_000)
    assert brought(both(mirror, registry, NOBODY), tmp_path / "fetched") == DATA
    assert [one.start for one in registry.asked] == [100_000]


@pytest.mark.parametrize("fault", [origin.changed(".zip"), origin.endless(".zip"), origin.page])
def test_a_mirror_that_gives_other_bytes_is_passed_over(
    pair: tuple[Origin, Origin], tmp_path: Path, fault: origin.Fault
):
    mirror, registry = pair
    mirror.fault = fault
    assert brought(both(mirror, registry), tmp_path / "fetched") == DATA
    assert [one.start for one in registry.asked] == [0]


def test_a_beginning_that_was_wrong_does_not_spoil_the_rest_for_ever(
    pair: tuple[Origin, Origin], tmp_path: Path
):
    mirror, registry = pair

    def lying(answer: origin.Answer) -> bool:
        data = answer.data()
        assert data is not None
        answer.give(bytes(len(data)), stop_after=100_000)
        return True

    mirror.fault = lying
    assert brought(both(mirror, registry), tmp_path / "fetched") == DATA
    assert [one.start for one in registry.asked] == [100_000, 0]


def test_wrong_bytes_from_all_of_them_are_refused_and_not_kept(pair: tuple[Origin, Origin], tmp_path: Path):
    mirror, registry = pair
    mirror.fault = registry.fault = origin.changed(".zip")
    with pytest.raises(Refusal) as refused:
        brought(both(mirror, registry), tmp_path / "fetched")
    assert refused.value.word is Word.TAMPERED
    assert list((tmp_path / "fetched").iterdir()) == []


def test_a_small_file_comes_from_the_first_that_has_it(pair: tuple[Origin, Origin]):
    mirror, registry = pair
    carrier = both(mirror, registry, NOBODY)
    with closing(carrier):
        path = f"image/targets/{TARGET.place}"
        assert read_all(carrier, path, bytes_max=len(DATA)) == DATA
    assert registry.asked == []


def test_a_look_takes_the_first_whose_lists_hold(pair: tuple[Origin, Origin]):
    carrier = both(*pair, NOBODY)
    first, second, last = sources_of(carrier)
    words = {id(first): Word.ROLLBACK, id(second): Word.FREEZE}

    def look(source: Carrier) -> str:
        if (word := words.get(id(source))) is not None:
            raise Refusal(word, "it is behind")
        return "good"

    assert first_good(carrier, look) == "good"
    words[id(last)] = Word.UNREACHABLE
    with pytest.raises(Refusal, match="mirror 1: it is behind") as refused:
        first_good(carrier, look)
    assert refused.value.word is Word.ROLLBACK, "it says more than that the registry is away"
    words[id(last)] = Word.WRONG_KEY
    with pytest.raises(Refusal) as refused:
        first_good(carrier, look)
    assert refused.value.word is Word.WRONG_KEY
    carrier.close()


def test_without_mirrors_there_is_one_source(pair: tuple[Origin, Origin]):
    one = carrier_for(Registry(url=pair[1].url, device="box-1"))
    assert not isinstance(one, Sources)
    assert sources_of(one) == (one,)
    one.close()


def test_a_rate_is_kept_and_no_burst_is_saved_up():
    clock, slept = HeldClock(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    pace = Pace(1_000.0, clock=clock, sleep=sleep)
    pace.spend(500)
    pace.spend(500)
    clock.advance(60)
    pace.spend(2_000)
    assert slept == pytest.approx([0.5, 0.5, 2.0])
    Pace(None, clock=clock, sleep=sleep).spend(10**9)
    assert len(slept) == 3


def test_a_sites_rate_reaches_the_fetch(
    pair: tuple[Origin, Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slept: list[float] = []
    monkeypatch.setattr("appliance.sync.fetch.Pace", lambda rate: Pace(rate, sleep=slept.append))
    limits = limits_for(Registry(bytes_per_second_max=1_000_000))
    with closing(carrier_for(Registry(url=pair[1].url, device="box-1"))) as carrier:
        fetch(carrier, TARGET, tmp_path / "fetched", limits=limits)
    assert limits == replace(FETCH, bytes_per_second_max=1_000_000)
    assert max(slept) == pytest.approx(len(DATA) / 1_000_000, rel=0.5)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"mirrors": ["http://copy.example"]}, "registry.mirrors"),
        ({"url": "http://x.example", "device": "a", "mirrors": [""]}, "registry.mirrors"),
        ({"url": "http://x.example", "device": "a", "mirrors": ["ftp://x"]}, "registry.mirrors"),
        ({"bytes_per_second_max": 1_000}, "registry.bytes_per_second_max"),
    ],
)
def test_a_setting_that_cannot_be_is_a_fault(section: dict[str, object], said: str):
    tree = {"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, "registry": section}
    with pytest.raises(ConfigError, match=said):
        parse(tree)
