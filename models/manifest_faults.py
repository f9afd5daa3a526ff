"""Say pydantic's findings in words a model developer understands, each with the key it belongs to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_Words = Callable[[Mapping[str, Any], Any], str]
_WORDS: dict[str, _Words] = {
    "missing": lambda context, given: "is missing",
    "extra_forbidden": lambda context, given: (
        "is not a key this format knows; remove it or correct its spelling"
    ),
    "literal_error": lambda context, given: f"is {given!r}; it must be {context['expected']}",
    "union_tag_invalid": lambda context, given: (
        f"names the step {context['tag']!r}; known steps are {context['expected_tags']}"
    ),
    "union_tag_not_found": lambda context, given: "has no `step`, so it is not known what to do",
    "string_pattern_mismatch": lambda context, given: (
        f"is {given!r}, which does not have the form {context['pattern']}"
    ),
    "string_too_short": lambda context, given: "is empty",
    "string_too_long": lambda context, given: f"is longer than {context['max_length']} characters",
    "too_long": lambda context, given: (
        f"has {context['actual_length']} entries; at most {context['max_length']} are read"
    ),
    "too_short": lambda context, given: (
        f"has {context['actual_length']} entries; at least {context['min_length']} are needed"
    ),
    "greater_than": lambda context, given: f"is {given!r}; it must be more than {context['gt']}",
    "greater_than_equal": lambda context, given: f"is {given!r}; it must be {context['ge']} or more",
    "less_than": lambda context, given: f"is {given!r}; it must be less than {context['lt']}",
    "less_than_equal": lambda context, given: f"is {given!r}; it must be {context['le']} or less",
    "finite_number": lambda context, given: "is not a finite number",
    "string_type": lambda context, given: f"is {given!r}; it must be text in quotes",
    "float_type": lambda context, given: f"is {given!r}; it must be a number",
    "float_parsing": lambda context, given: f"is {given!r}; it must be a number",
    "int_type": lambda context, given: f"is {given!r}; it must be a whole number",
    "int_parsing": lambda context, given: f"is {given!r}; it must be a whole number",
    "int_from_float": lambda context, given: f"is {given!r}; it must be a whole number",
    "tuple_type": lambda context, given: "must be a list",
    "model_type": lambda context, given: "must be a table",
}
_STEP_LISTS = ("prepare", "interpret")


def in_words(error: ValidationError) -> list[str]:
    """Give one sentence per fault: "input.batch is 0; it must be 1 or more"."""
    faults = error.errors()
    return [f"{_place(fault)} {_what(fault)}" for fault in faults if not _follows(fault, faults)]


def _follows(fault: ErrorDetails, faults: Sequence[ErrorDetails]) -> bool:
    """Say whether a list is only too short because entries of it are wrong, which is said by itself."""
    where = fault["loc"]
    inside = (one["loc"] for one in faults if len(one["loc"]) > len(where))
    return fault["type"] == "too_short" and any(loc[: len(where)] == where for loc in inside)


def _what(fault: ErrorDetails) -> str:
    words = _WORDS.get(fault["type"])
    return words(fault.get("ctx", {}), fault["input"]) if words else f"is not right: {fault['msg']}"


def _place(fault: ErrorDetails) -> str:
    """Write where it is: entries counted from 1, without the tag pydantic puts behind a step's number."""
    parts = list(fault["loc"])
    for at, part in enumerate(parts[:-2]):
        if part in _STEP_LISTS and isinstance(parts[at + 1], int):
            del parts[at + 2]
            break
    written = ""
    for part in parts:
        written += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return written.lstrip(".")
