"""One answer, from what a page, a terminal or a file gives to what is kept: the same for all three.

Promises: what is kept, taken again, is the same; text has no character that ends a line or turns it around.
Never: repeats a secret in a sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from argon2 import PasswordHasher

from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.steps import Kind, Question, Step, Value
from provisioning.identity.code import CodeFault, read, read_invitation

# What is kept besides the answers themselves, in the place of a secret or out of an invitation.
BESIDE: Final[Mapping[str, tuple[str, ...]]] = {"account": ("password_hash",), "registry": ("anchor",)}
_WHOLE = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_HASH = re.compile(r"\$argon2id\$[!-~]{1,300}")
_ANCHOR = re.compile(r"[0-9a-f]{32}|")
_YES: Final[Mapping[str, bool]] = {
    "yes": True,
    "true": True,
    "y": True,
    "no": False,
    "false": False,
    "n": False,
}
_NOT_ON_A_LINE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class AnswerFault(Exception):
    """Answers cannot be taken; `faults` has one sentence for each, which names the step and the question."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def take(step: Step, raw: Mapping[str, object], kept: Mapping[str, Value] | None = None) -> dict[str, Value]:
    """Read the answers to a step; blank secrets stay as they were kept.

    Raises:
        AnswerFault: with every fault of the step.
    """
    known = {question.key for question in step.questions} | set(BESIDE.get(step.key, ()))
    faults = [f"{step.key}: there is no question {_short(key)}" for key in raw if key not in known]
    raw = _opened(step, raw, faults)
    values: dict[str, Value] = {}
    for question in step.questions:
        if question.kind is Kind.SECRET:
            continue
        try:
            values[question.key] = _read(question, raw.get(question.key))
        except ValueError as fault:
            faults.append(f"{step.key}.{question.key}: {fault}")
    try:
        values |= _beside(step, raw, kept or {})
    except ValueError as fault:
        faults.append(str(fault))
    if faults:
        raise AnswerFault(faults)
    return _with_kept_code(values, kept or {}) if step.key == "registry" else values


def reason(step: Step, raw: object) -> str:
    """Read why a step is skipped.

    Raises:
        AnswerFault: there is no reason, or it is too long.
    """
    try:
        text = _line(raw)
    except ValueError as fault:
        raise AnswerFault([f"{step.key}: the reason {fault}"]) from fault
    if not text:
        raise AnswerFault([f"{step.key}: say why it is skipped"])
    if len(text) > DEFAULT.reason_chars_max:
        raise AnswerFault([f"{step.key}: a reason has at most {DEFAULT.reason_chars_max} characters"])
    return text


def _read(question: Question, raw: object) -> Value:
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        if question.default is None:
            raise ValueError("must be answered, or the step skipped")
        return question.default
    if question.kind is Kind.MANY:
        return _many(question, raw)
    if question.kind is Kind.YES:
        return raw if isinstance(raw, bool) else _yes(raw)
    if question.kind is Kind.WHOLE:
        return int(_matching(_WHOLE, raw, "must be a whole number"))
    if question.kind is Kind.NUMBER:
        return float(_matching(_NUMBER, raw, "must be a number such as 5 or 7.5"))
    if not isinstance(raw, str):
        raise ValueError("must be text")
    return _code(raw) if question.kind is Kind.CODE else _line(raw)


def _line(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("must be text")
    text = raw.strip()
    if len(text) > DEFAULT.text_chars_max:
        raise ValueError(f"has more than {DEFAULT.text_chars_max} characters")
    if any(unicodedata.category(character) in _NOT_ON_A_LINE for character in text):
        raise ValueError("has a character that cannot be printed on one line")
    return text


def _many(question: Question, raw: object) -> tuple[str, ...]:
    words = [word.strip() for word in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be a list of words")
    if unknown := [word for word in words if word not in question.choices]:
        raise ValueError(f"{_short(unknown[0])} is none of: {', '.join(question.choices)}")
    if not words:
        raise ValueError("choose at least one, or skip the step")
    return tuple(choice for choice in question.choices if choice in words)


def _yes(raw: object) -> bool:
    said = _YES.get(str(raw).strip().lower())
    if said is None:
        raise ValueError("must be yes or no")
    return said


def _matching(shape: re.Pattern[str], raw: object, sentence: str) -> str:
    text = "" if isinstance(raw, bool) else str(raw).strip()
    if shape.fullmatch(text) is None:
        raise ValueError(sentence)
    return text


def _code(raw: str) -> str:
    try:
        return read(raw)
    except CodeFault as fault:
        raise ValueError(str(fault)) from fault


def _opened(step: Step, raw: Mapping[str, object], faults: list[str]) -> Mapping[str, object]:
    """Take an invitation apart that was given for the address of the registry."""
    url = raw.get("url")
    if step.key != "registry" or not isinstance(url, str) or "#" not in url:
        return raw
    try:
        found = read_invitation(url)
    except CodeFault as fault:
        faults.append(f"registry.url: {fault}")
        return raw
    return {**raw, "url": found.url, "slot": found.slot, "code": found.code, "anchor": found.anchor}


def _beside(step: Step, raw: Mapping[str, object], kept: Mapping[str, Value]) -> dict[str, Value]:
    if step.key == "account":
        return {"password_hash": _hashed(raw, kept)}
    if step.key == "registry":
        anchor = raw.get("anchor", "")
        if not isinstance(anchor, str) or _ANCHOR.fullmatch(anchor) is None:
            raise ValueError("registry.anchor: has not 32 hex digits")
        if not str(raw.get("slot") or "").strip():
            raise ValueError("registry.slot: must be answered, or the whole invitation given as the address")
        return {"anchor": anchor}
    return {}


def _with_kept_code(values: dict[str, Value], kept: Mapping[str, Value]) -> dict[str, Value]:
    """Keep a code that was given before, which no page shows; never for another registry or slot."""
    if values["code"] or any(kept.get(key) != values[key] for key in ("url", "slot")):
        return values
    return values | {"code": kept["code"], "anchor": values["anchor"] or kept["anchor"]}


def _hashed(raw: Mapping[str, object], kept: Mapping[str, Value]) -> str:
    word, known = raw.get("password"), raw.get("password_hash", kept.get("password_hash"))
    if word in (None, ""):
        if isinstance(known, str) and _HASH.fullmatch(known):
            return known
        raise ValueError("account.password: must be answered, or the step skipped")
    if not isinstance(word, str) or not DEFAULT.password_chars_min <= len(word) <= DEFAULT.password_chars_max:
        raise ValueError(f"account.password: must have {DEFAULT.password_chars_min} characters or more")
    try:
        return PasswordHasher().hash(word)
    except UnicodeEncodeError:
        raise ValueError("account.password: has a character that cannot be typed") from None


def _short(text: object) -> str:
    return repr(str(text)[:40])
