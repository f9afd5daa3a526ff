"""A claim code is read as people write it, and a slip of the pen is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from provisioning.identity import code as codes
from provisioning.identity.code import ALPHABET, CodeFault, Invitation, invitation_text, read_invitation
from provisioning.identity.qr import fits, qr_text

CODE = codes.make()


def test_a_code_is_28_characters_of_which_26_are_chance():
    assert len(CODE) == 28
    assert len({codes.make() for _ in range(100)}) == 100
    assert codes.shown(CODE).count("-") == 6
    assert codes.read(codes.shown(CODE)) == CODE


def test_it_is_read_as_people_write_it():
    number = "01" * 13
    value = 0
    for character in number:
        value = value * 32 + ALPHABET.index(character)
    code = codes._written(value % (1 << 128))
    written = code.lower().replace("0", "o").replace("1", "l")
    assert codes.read(f" {written[:10]} - {written[10:]} ") == code
    assert codes.read(code.replace("1", "I")) == code


@given(at=some.integers(0, 27), other=some.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(at, other):
    if other == CODE[at]:
        return
    with pytest.raises(CodeFault):
        codes.read(CODE[:at] + other + CODE[at + 1 :])


@given(code=some.builds(codes.make), at=some.integers(0, 24))
def test_two_neighbours_that_changed_places_are_found(code, at):
    swapped = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
    if swapped == code:
        return
    with pytest.raises(CodeFault):
        codes.read(swapped)


@pytest.mark.parametrize("text", ["", "A" * 27, "A" * 29, "U" * 28, "!" * 28, "Z" * 28, "é" * 28])
def test_what_is_no_code_says_so_and_repeats_nothing(text):
    with pytest.raises(CodeFault) as fault:
        codes.read(text)
    assert not text or text not in str(fault.value)


def test_an_invitation_is_one_line_and_survives_a_qr_code():
    invitation = Invitation(
        url="https://models.example.org/readside", slot="box-1", code=CODE, anchor="ab" * 16
    )
    text = invitation_text(invitation)
    assert "\n" not in text
    assert text.startswith("https://models.example.org/readside#slot=box-1")
    assert read_invitation(f" {text}\n") == invitation
    assert fits(text)
    lines = qr_text(text).splitlines()
    assert len({len(line) for line in lines if line}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no address",
        f"file:///registry#slot=box-1&code={CODE}",
        "https://models.example.org/#slot=box-1",
        f"https://models.example.org/#slot=box-1&code={CODE}&anchor=xyz",
        f"https://models.example.org/?slot=box-1&code={CODE}",
        "https://models.example.org/#slot=box-1&code=AAAA",
        "https://[#slot=box-1",
    ],
    ids=[
        "nothing",
        "no address",
        "a file",
        "no code",
        "no anchor",
        "in the query",
        "a short code",
        "no host",
    ],
)
def test_what_is_no_invitation_says_so(text):
    with pytest.raises(CodeFault):
        read_invitation(text)
