"""What is signed has exactly one form; anything else is refused, whoever signed it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sync.release import (
    Assigned,
    FormError,
    Needs,
    Release,
    Target,
    assignment_bytes,
    assignment_of,
    model_path,
    reference,
    release_of,
)

GOOD = Release(
    name="lesions",
    version="1.2.0",
    digest="sha256:" + "a" * 64,
    counter=3,
    published_at=1_800_000_000.0,
    needs=Needs(readside="0.1.0", memory_mib=128, unpacked_bytes=10, engines=("cpu",)),
    recalled="why",
)
LINE = Assigned(
    name="lesions", version="1.2.0", target="models/lesions/1.2.0.zip", length=10, sha256="b" * 64
)


def target(custom: Any, path: str = model_path("lesions", "1.2.0")) -> Target:
    return Target(path=path, length=10, sha256="b" * 64, custom=custom)


def test_a_release_comes_back_as_it_was_said():
    said = json.loads(json.dumps(GOOD.as_custom()))
    assert release_of(target(said)) == GOOD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("name", "../x"),
        ("name", "other"),
        ("digest", "sha256:xyz"),
        ("counter", -1),
        ("counter", True),
        ("counter", 2**60),
        ("counter", "3"),
        ("published_at", 1.5),
        ("needs", None),
        ("needs", {}),
        ("version", "9.9.9"),
    ],
)
def test_a_release_of_another_form_is_refused(key: str, value: object):
    said = GOOD.as_custom()
    said["readside"][key] = value
    with pytest.raises(FormError):
        release_of(target(said))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_signed_as_a_release_ends_in_one_error(custom: Any):
    for said in ({"readside": custom}, {"readside": {"format": 1, "needs": custom}}):
        with pytest.raises(FormError):
            release_of(target(said))


def test_an_assignment_is_the_one_devices_own():
    data = assignment_bytes("box-1", [LINE])
    assert assignment_of(data, "box-1") == [LINE]
    with pytest.raises(FormError, match="another device's"):
        assignment_of(data, "box-2")
    with pytest.raises(FormError, match="names a model twice"):
        assignment_of(assignment_bytes("box-1", [LINE, LINE]), "box-1")


@given(st.binary(max_size=200))
def test_whatever_comes_as_an_assignment_ends_in_one_error(data: bytes):
    with pytest.raises(FormError):
        assignment_of(data, "box-1")


def test_an_assignment_that_is_nested_without_end_is_refused():
    with pytest.raises(FormError, match="not JSON"):
        assignment_of(b"[" * 90_000, "box-1")


def test_a_line_leads_to_no_other_path_than_its_names():
    said = json.loads(assignment_bytes("box-1", [LINE]))
    said["models"][0]["target"] = "../../etc/passwd"
    assert assignment_of(json.dumps(said).encode(), "box-1")[0].target == LINE.target


def test_a_package_has_a_number_where_no_text_may_go():
    digest = "sha256:" + "0123456789ab" + "f" * 52
    assert reference(digest) == 0x0123456789AB
    assert reference("sha256:" + "f" * 64) < 2**48
    with pytest.raises(FormError):
        reference("0123456789ab")
