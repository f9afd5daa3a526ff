"""A release that is assigned as a shadow runs beside the one that serves, and never in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.ledger import shadows
from appliance.sync.refusal import Word
from appliance.sync.release import Assigned, FormError, assignment_bytes, assignment_of
from appliance.sync.shadow import start, stop
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import assignments, end_shadow, promote
from provisioning.registry.publish import publish, recall
from tests.appliance import packages
from tests.provisioning.field import DEVICE, NAME, NEXT, SERVES, Field

LINE = Assigned(
    name="lesions", version="1.2.0", target="models/lesions/1.2.0.zip", length=10, sha256="b" * 64
)
SHADOW = Assigned(
    name="lesions",
    version="1.3.0",
    target="models/lesions/1.3.0.zip",
    length=11,
    sha256="c" * 64,
    shadow=True,
)


def lines_of(field: Field) -> list[tuple[str, bool]]:
    return [(one.version, one.shadow) for one in assignments(field.book)[DEVICE]]


def test_a_shadow_stands_where_a_device_that_does_not_know_of_them_does_not_look():
    data = assignment_bytes("box-1", [LINE, SHADOW])
    assert assignment_of(data, "box-1") == [LINE, SHADOW]
    assert [one["version"] for one in json.loads(data)["models"]] == ["1.2.0"]
    assert assignment_bytes("box-1", [LINE]).find(b"shadow") < 0, "what older devices read stays as it was"


@pytest.mark.parametrize("moved", [("models", "shadows"), ("shadows", "models")])
def test_a_line_in_the_other_list_is_refused(moved: tuple[str, str]):
    said = json.loads(assignment_bytes("box-1", [LINE, SHADOW]))
    here, there = moved
    said[there] = [said[here][0]]
    with pytest.raises(FormError, match="wrong list"):
        assignment_of(json.dumps(said).encode(), "box-1")


def test_a_release_is_assigned_as_a_shadow_and_taken_off_again(field: Field):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    assert lines_of(field) == [(SERVES, False), (NEXT, True)]
    end_shadow(field.book, NAME, [DEVICE])
    assert lines_of(field) == [(SERVES, False)]


def test_a_shadow_that_is_promoted_is_none_any_more(field: Field):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    promote(field.book, NAME, NEXT, [DEVICE])
    assert lines_of(field) == [(NEXT, False)]
    with pytest.raises(RegistryFault, match="is assigned to serve there"):
        promote(field.book, NAME, NEXT, [DEVICE], shadow=True)


def beside(field: Field) -> dict[str, str]:
    with field.box.ledger.read() as tx:
        return {one.version: one.started_by for one in shadows.running(tx).values()}


def word_of(field: Field, version: str = NEXT) -> Word:
    (found,) = (one for one in field.turn().outcomes if one.version == version)
    return found.word


def test_a_box_lets_a_shadow_run_beside_until_it_is_taken_off(field: Field):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    assert word_of(field) is Word.SHADOW
    assert beside(field) == {NEXT: "registry"}
    assert field.serving() == SERVES
    fetched = len(field.origin.fetched(".zip"))
    assert word_of(field) is Word.SHADOW
    assert len(field.origin.fetched(".zip")) == fetched, "it is brought once"
    end_shadow(field.book, NAME, [DEVICE])
    field.turn()
    assert beside(field) == {}
    assert field.serving() == SERVES


def test_a_shadow_is_let_serve_when_it_is_assigned_to(field: Field):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    assert word_of(field) is Word.SHADOW
    fetched = len(field.origin.fetched(".zip"))
    promote(field.book, NAME, NEXT, [DEVICE])
    assert word_of(field) is Word.ACTIVATED
    assert field.serving() == NEXT
    assert beside(field) == {}
    assert len(field.origin.fetched(".zip")) == fetched


def test_what_a_person_ended_at_the_box_does_not_begin_again_by_itself(field: Field):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    assert word_of(field) is Word.SHADOW
    stop(field.box, NAME)
    assert word_of(field) is Word.HELD
    assert beside(field) == {}
    start(field.box, NAME, NEXT)
    assert beside(field) == {NEXT: "jo"}
    assert field.serving() == SERVES


def test_a_recalled_shadow_ends_and_one_that_fails_its_golden_cases_never_begins(
    field: Field, tmp_path: Path
):
    field.publish(NEXT)
    promote(field.book, NAME, NEXT, [DEVICE], shadow=True)
    assert word_of(field) is Word.SHADOW
    recall(field.book, NAME, NEXT, field.keys, reason="wrong threshold")
    assert word_of(field) is Word.RECALLED
    assert beside(field) == {}
    publish(field.book, packages.blind(tmp_path / "bad", "1.3.0"), field.keys)
    promote(field.book, NAME, "1.3.0", [DEVICE], shadow=True)
    assert word_of(field, "1.3.0") is Word.REJECTED
    assert beside(field) == {}
    assert field.serving() == SERVES
