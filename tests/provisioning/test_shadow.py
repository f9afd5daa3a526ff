"""A release that is assigned as a shadow runs beside the one that serves, and never in its place."""

from __future__ import annotations

import json

import pytest

from appliance.sync.release import Assigned, FormError, assignment_bytes, assignment_of
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import assignments, end_shadow, promote
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
