"""Conditions over a series' attributes, in the Common Expression Language.

A condition is compiled and checked when the configuration is read: a misspelt attribute is found then, not
at night.
Evaluation is bounded: the language has no loops but over lists of one header, and its regular expressions
are RE2's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel
from pydicom._dicom_dict import DicomDictionary

# What the box measured itself (design, section 7).
MEASURED = ("slices", "slice_spacing_mm", "regular", "gantry_tilt_degrees", "orientation", "frames")
KEYWORDS = frozenset(entry[4] for entry in DicomDictionary.values() if entry[4])
# What a peer says of a study that it has, and how many days before the study at hand it was made.
OF_A_STUDY = (
    "StudyDescription",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "days_before",
)

_OF_A_SERIES = KEYWORDS.union(MEASURED)
_IDENTIFIER = re.compile(r"(?<![.\w\"'])[A-Za-z_]\w*")
_STRING = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")
_UNDECLARED = re.compile(r"undeclared reference to '(\w+)'")


class ExpressionError(ValueError):
    """A condition cannot be used; the message says why and where."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a condition says of one series: whether it holds, and why not where that can be said."""

    holds: bool
    reason: str


class Condition:
    """A compiled condition; with `known` over these names, else over a series' attributes."""

    def __init__(self, text: str, known: Sequence[str] = ()) -> None:
        self.text = text
        self.names = _names(text, known or _OF_A_SERIES)
        variables = dict.fromkeys(self.names, cel.Type.DYN)
        try:
            self._compiled = cel.NewEnv(variables=variables).compile(text)
        except RuntimeError as error:
            raise ExpressionError(_explained(str(error), known)) from error
        returns = self._compiled.return_type().name()
        if returns not in ("BOOL", "DYN"):
            raise ExpressionError(f"gives {returns}, not true or false")

    def ask(self, facts: Mapping[str, Any]) -> Answer:
        """Say whether the condition holds for a series; a missing attribute is null."""
        try:
            plain = self._compiled.eval(data={name: facts.get(name) for name in self.names}).plain_value()
        except RuntimeError:
            # The library cannot take a value, text that is no Unicode say: that is no answer, and no fault.
            plain = None
        if plain is True:
            return Answer(holds=True, reason="the condition holds")
        if plain is False:
            return Answer(holds=False, reason=f"the condition is not met: {self.text}")
        missing = [name for name in self.names if facts.get(name) is None]
        if missing:
            return Answer(
                holds=False,
                reason=f"the condition needs {', '.join(missing)}, which the series does not have",
            )
        return Answer(
            holds=False, reason="the condition cannot be answered: it compares things of different kinds"
        )


def compile_condition(text: str) -> Condition:
    """Compile a condition.

    Raises:
        ExpressionError: it is not CEL, uses a name that is no attribute, or does not give true or false.
    """
    return Condition(text)


def compile_study_condition(text: str) -> Condition:
    """Compile a condition over what a peer says of a study (`OF_A_STUDY`).

    Raises:
        ExpressionError: as `compile_condition`.
    """
    return Condition(text, OF_A_STUDY)


def _names(text: str, known: Collection[str]) -> Sequence[str]:
    """Return the attributes that a condition mentions, in order."""
    words = _IDENTIFIER.findall(_STRING.sub('""', text))
    return tuple(dict.fromkeys(word for word in words if word in known))


def _explained(message: str, known: Sequence[str]) -> str:
    """Turn the compiler's words into a sentence, with the nearest attribute for a misspelt one."""
    unknown = _UNDECLARED.search(message)
    if unknown is None:
        return " ".join(message.removesuffix("[INVALID_ARGUMENT]").split("|")[0].split()).removeprefix(
            "INVALID_ARGUMENT: ERROR: "
        )
    near = difflib.get_close_matches(unknown[1], known or [*MEASURED, *KEYWORDS], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if known:
        return f"{unknown[1]} is none of {', '.join(known)}{hint}"
    return f"{unknown[1]} is neither a DICOM keyword nor one of {', '.join(MEASURED)}{hint}"
