"""Whatever is typed becomes exactly that in the configuration, or a fault that names its step."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning.firstboot.answers import Answers
from provisioning.firstboot.compose import compose, faults_of
from provisioning.firstboot.steps import STEPS, Kind, step_of
from provisioning.firstboot.values import AnswerFault, reason, take
from provisioning.identity import code as codes

ROOTS = Path("/etc/readside/registry")
GIVEN = {
    "network": {"address": "192.0.2.77"},
    "time": {"time_zone": "UTC"},
    "site": {"name": "Site"},
    "storage": {"root": "/var/lib/readside", "floor_gib": "5", "retain_days": "7"},
    "account": {"user": "anna", "password_hash": "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"},
    "dicom": {"ae_title": "READSIDE", "port": "11112"},
    "pacs": {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.10", "port": "104"},
    "registry": {"url": "https://models.example.org", "slot": "box-1"},
}
# Where each answer that is text stands in the file.
PLACES = {
    ("time", "time_zone"): ("site", "time_zone"),
    ("site", "name"): ("site", "name"),
    ("storage", "root"): ("storage", "root"),
    ("account", "user"): ("console", "users", 0, "name"),
    ("dicom", "ae_title"): ("dicom", "ae_title"),
    ("pacs", "name"): ("peers", 0, "name"),
    ("pacs", "ae_title"): ("peers", 0, "ae_title"),
    ("pacs", "host"): ("peers", 0, "host"),
    ("registry", "url"): ("registry", "url"),
    ("registry", "slot"): ("registry", "device"),
}
NASTY = st.sampled_from(
    [
        '"',
        '"""',
        "\\",
        "\\u0041",
        "a\nb = 1",
        '"\n[dicom]\nport = 1',
        "#",
        "'",
        "]",
        "\x7f",
        "\u2028",
        "\u202e",
        "\ud800",
    ]
)
TEXT = st.lists(st.one_of(st.text(max_size=12), NASTY), max_size=4).map("".join)


def refused(call, *words):
    """Return what a call gives, and the sentences that it was refused with."""
    try:
        return call(*words), []
    except AnswerFault as fault:
        return None, fault.faults


def answered(**changes):
    answers = Answers()
    for key, raw in (GIVEN | changes).items():
        answers = answers.answered(key, take(step_of(key), raw))
    return answers


def test_every_text_has_its_place():
    asked = {(step.key, q.key) for step in STEPS for q in step.questions if q.kind is Kind.TEXT}
    assert asked - {("network", "address")} == set(PLACES)


@pytest.mark.parametrize("where", PLACES, ids=".".join)
@settings(max_examples=25, deadline=None)
@given(text=TEXT)
def test_any_text_comes_back_or_is_a_fault_of_its_step(where, text):
    step, key = where
    answers, said = refused(lambda: answered(**{step: GIVEN[step] | {key: text}}))
    assert all(sentence.startswith(step) for sentence in said)
    if answers is None:
        return
    if faults := faults_of(answers, roots=ROOTS):
        assert set(faults) == {step}
        return
    found: Any = tomllib.loads(compose(answers, roots=ROOTS))
    for part in PLACES[where]:
        found = found[part]
    default = next(q.default for q in step_of(step).questions if q.key == key)
    assert found == (text.strip() or default)


@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_a_reason_changes_nothing_of_the_configuration(text):
    why, said = refused(reason, step_of("registry"), text)
    assert all(sentence.startswith("registry") for sentence in said)
    if why is None:
        return
    given = answered().skipping("registry", why)
    plain = answered().skipping("registry", "x")
    assert tomllib.loads(compose(given, roots=ROOTS)) == tomllib.loads(compose(plain, roots=ROOTS))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.key)
@settings(max_examples=20, deadline=None)
@given(
    raw=st.one_of(
        TEXT,
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(TEXT),
        st.dictionaries(TEXT, TEXT),
    )
)
def test_anything_is_taken_or_refused_in_a_sentence(step, raw):
    said = dict.fromkeys([question.key for question in step.questions], raw)
    values, sentences = refused(take, step, said)
    assert all(sentence.startswith(step.key) for sentence in sentences)
    if values is None:
        return
    assert take(step, values) == values, "what is kept is taken again as it is"


def test_every_default_is_sound():
    for step in STEPS:
        for question in step.questions:
            if question.choices and isinstance(question.default, tuple):
                assert set(question.default) <= set(question.choices)
    skipped = Answers()
    for step in STEPS:
        skipped = skipped.skipping(step.key, "later")
    assert faults_of(skipped, roots=ROOTS) == {}


@pytest.mark.parametrize(
    ("step", "raw", "sentence"),
    [
        ("pacs", GIVEN["pacs"] | {"port": "99999"}, "peers.pacs.port"),
        ("pacs", GIVEN["pacs"] | {"host": ""}, "pacs.host: must be answered"),
        ("pacs", GIVEN["pacs"] | {"outputs": []}, "pacs.outputs: choose at least one"),
        ("pacs", GIVEN["pacs"] | {"prot": "1"}, "pacs: there is no question 'prot'"),
        ("storage", GIVEN["storage"] | {"root": "data"}, "storage.root: must be an absolute path"),
        ("time", {"time_zone": "Mars/Olympus"}, "no time zone"),
        ("registry", GIVEN["registry"] | {"slot": ""}, "registry.slot: must be answered"),
        ("registry", GIVEN["registry"] | {"code": "A" * 28}, "registry.code: the claim code is not"),
        ("registry", {"url": "https://x.example.org#slot=box-1&code=AB"}, "registry.url: a claim code has"),
        ("account", {"user": "anna", "password": "short"}, "account.password: must have 12"),
        ("account", {"user": "anna smith", "password": "long enough it is"}, "console.users.anna smith.name"),
        ("models", {"names": "ct-brain"}, "models.names: 'ct-brain' is none of"),
    ],
)  # fmt: skip
def test_a_fault_is_said_at_its_own_step(step, raw, sentence, sitting):
    with pytest.raises(AnswerFault) as caught:
        sitting.answer(step_of(step), raw)
    assert any(sentence in fault for fault in caught.value.faults), caught.value.faults
    assert not sitting.state.exists(), "nothing of it was kept"


def test_an_invitation_is_taken_apart_and_its_code_stays_with_its_slot(sitting):
    code = codes.make()
    text = f"https://models.example.org/r#slot=box-7&code={codes.shown(code).lower()}&anchor={'a' * 32}"
    step = step_of("registry")
    sitting.answer(step, {"url": text})
    assert sitting.answers.of("registry") == {
        "url": "https://models.example.org/r", "slot": "box-7", "code": code, "anchor": "a" * 32,
    }  # fmt: skip
    assert code not in sitting.text
    sitting.answer(step, {"url": "https://models.example.org/r", "slot": "box-7"})
    assert sitting.answers.of("registry")["code"] == code, "blank keeps it"
    sitting.answer(step, {"url": "https://other.example.org", "slot": "box-7"})
    assert sitting.answers.of("registry")["code"] == "", "another registry does not get it"


def test_a_password_is_kept_as_a_digest_of_full_strength(monkeypatch):
    monkeypatch.undo()
    kept = take(step_of("account"), {"user": "anna", "password": "long enough it is"})
    found = extract_parameters(str(kept["password_hash"]))
    assert found.memory_cost >= RFC_9106_LOW_MEMORY.memory_cost
    assert set(kept) == {"user", "password_hash"}
