"""Identifiers, titles and peers are checked where they enter."""

from __future__ import annotations

import uuid

import pytest

from dicom_node.values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, AeTitle, Peer, Uid, short


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.2", "2.25.0", "1.02.3", "1" * 64])
def test_uids_in_use_parse(text: str) -> None:
    assert Uid.parse(text) == text


@pytest.mark.parametrize("text", ["", ".", "1.", "1..2", "a", "1 ", "1\n", "1" * 65, "١.٢", "../x", "1.2\0"])
def test_anything_else_does_not_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a UID") as caught:
        Uid.parse(text)
    assert len(text) < 3 or text not in str(caught.value)


@pytest.mark.parametrize(("text", "odd"), [("1.02", True), ("01", True), ("1.0.2", False), ("1.20", False)])
def test_leading_zeros_are_seen(text: str, odd: bool) -> None:
    assert Uid.parse(text).has_leading_zero is odd


@pytest.mark.parametrize("text", ["A", " BOX ", "CT SCAN 1", "A" * 16, "[x]"])
def test_titles_in_use_parse_without_outer_spaces(text: str) -> None:
    assert AeTitle.parse(text) == text.strip()


@pytest.mark.parametrize("text", ["", "   ", "A" * 17, "A\\B", "A\nB", "Ä"])
def test_other_titles_do_not(text: str) -> None:
    with pytest.raises(ValueError, match="not an AE title"):
        AeTitle.parse(text)


def test_peers_are_checked() -> None:
    assert Peer(name="p", ae_title=" PACS ", host="h", port=104).ae_title == "PACS"
    with pytest.raises(ValueError, match="unknown rights"):
        Peer(name="p", ae_title="P", host="h", port=104, may=frozenset({"delete"}))
    with pytest.raises(ValueError, match="port"):
        Peer(name="p", ae_title="P", host="h", port=70000)


def test_our_own_names_are_conformant() -> None:
    Uid.parse(IMPLEMENTATION_CLASS_UID)
    assert uuid.UUID(int=int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25."))).version == 4
    assert len(IMPLEMENTATION_VERSION_NAME) <= 16


def test_the_short_form_is_a_digest() -> None:
    assert len(short("1.2.3")) == 12
    assert short("1.2.3") != short("1.2.4")
    short("\ud800")
