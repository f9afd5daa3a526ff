"""UIDs are the same for the same result, and different for everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.uid import UID

from appliance.results.context import derive_uid
from tests.appliance.results.given import context


def test_a_derived_uid_is_valid_and_never_changes():
    uid = derive_uid("sr", "0")
    assert UID(uid).is_valid
    assert len(uid) <= 64
    assert uid == derive_uid("sr", "0")
    # Written down: another value here would give every site's results new UIDs after an update.
    assert uid == "2.25.269447433325768622347343214584386575012"


def test_the_border_between_parts_counts():
    assert derive_uid("ab", "c") != derive_uid("a", "bc")
    assert derive_uid("ab") != derive_uid("ab", "")


@pytest.mark.parametrize(
    "change", [{"route": "x"}, {"run": 2}, {"content_digest": "sha256:00"}, {"study_uid": "1.2"}]
)
def test_another_result_has_another_uid(change):
    assert context().uid("sr", "0") != context(**change).uid("sr", "0")


def test_another_model_is_another_device_and_another_result():
    one = context()
    other = replace(one, provenance=replace(one.provenance, model_digest="sha256:retrained"))
    assert one.provenance.model_device_uid != other.provenance.model_device_uid
    assert one.uid("sr") != other.uid("sr")


def test_the_time_of_the_result_is_not_in_its_uids():
    one = context()
    assert one.uid("sr") == replace(one, at=one.at.replace(year=2030)).uid("sr")


def test_a_time_without_a_zone_is_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        context(at=context().at.replace(tzinfo=None))
