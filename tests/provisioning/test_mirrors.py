"""A copy inside the hospital that is behind or changed costs a try; a look has both lists from one source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.core.registry_section import Registry
from appliance.sync.refusal import Word
from appliance.sync.sources import carrier_for
from tests.provisioning import origin
from tests.provisioning.field import DAY, NEXT, Field
from tests.provisioning.origin import Origin, serving


@pytest.fixture
def mirror(field: Field, tmp_path: Path) -> Iterator[Origin]:
    """A copy of the tree as it is when the test begins."""
    with serving(field.copied("mirror")) as made:
        yield made


def word(field: Field, mirror: Origin) -> Word:
    registry = Registry(url=field.origin.url, device="box-1", mirrors=(mirror.url,))
    with closing(carrier_for(registry, limits=field.limits)) as carrier:
        (outcome,) = field.turn(carrier).outcomes
        return outcome.word


def test_a_mirror_serves_a_box_alone_and_one_that_is_behind_is_passed_over(field: Field, mirror: Origin):
    field.origin.asked.clear()
    assert word(field, mirror) is Word.CURRENT
    assert field.origin.asked == [], "the registry is not asked where a mirror will do"
    field.offer()
    mirror.tree = field.public
    mirror.fault = origin.changed(".zip")
    assert word(field, mirror) is Word.ACTIVATED, "lists from the mirror, the release from the registry"
    assert field.origin.fetched(".zip")
    mirror.tree, mirror.fault = field.folder / "mirror", None
    assert word(field, mirror) is Word.CURRENT, "the mirror is behind what this box has seen"
    assert field.serving() == NEXT


def test_what_a_mirror_cannot_do_the_registry_does(field: Field, mirror: Origin):
    for fault in (origin.page, origin.hanging_up, origin.changed("timestamp")):
        mirror.fault = fault
        assert word(field, mirror) is Word.CURRENT
    mirror.fault = None
    field.clock.advance(8 * DAY)
    field.book.stamp_all()
    assert word(field, mirror) is Word.CURRENT, "nobody stamps the mirror any more"
    field.origin.fault = origin.hanging_up
    assert word(field, mirror) is Word.ROLLBACK, "what the mirror shows says more than that nobody answers"
