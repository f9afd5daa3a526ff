"""Codes of a manifest against the dictionaries of DICOM, and its units against UCUM.

Promises: a code value that its scheme cannot have, and one whose meaning is another, are named with what the
dictionary says; SNOMED has far more concepts than DICOM lists, so one that is only not listed is a doubt.
Never: changes a code, or asks a terminology server.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import cache
from typing import Any

from pydicom.sr._concepts_dict import concepts

from appliance.core import ucum
from models.findings import Code

Coded = Iterable[tuple[str, Code]]
"""Where each code stands and what it says; see `models.labels.codes_of`."""

_ALIKE = 0.6
"""Share of equal letters from which two meanings are read as ways of saying the same."""
_LISTED_WHOLE = frozenset({"DCM"})
"""Schemes of which the dictionaries hold every code (PS3.16 Annex D)."""
_SCTID = re.compile(r"[1-9][0-9]{5,17}")
_TAG = re.compile(r"\([^()]*\)\s*$")


def faults(codes: Coded) -> list[str]:
    """List what is wrong with codes of the schemes that are known, one sentence each."""
    return [fault for where, code in codes for fault in _faults_of(where, code)]


def doubts(codes: Coded) -> list[str]:
    """List codes that may be right but cannot be checked here: not in any dictionary that is at hand."""
    return [doubt for where, code in codes for doubt in _doubts_of(where, code)]


def _faults_of(where: str, code: Code) -> Iterator[str]:
    if code.scheme == "UCUM":
        fault = None if code.value in _known("UCUM") else ucum.fault_of(code.value)
        if fault is not None:
            yield f"{where}: the unit {code.value!r} {fault}{_meant(code)}"
        return
    known = _known(code.scheme)
    meanings = known.get(code.value, ())
    if meanings:
        best = max(meanings, key=lambda meaning: _likeness(meaning, code.meaning))
        if not _same(best, code.meaning):
            yield f"{where}: {code.value} {code.scheme} means {best!r}, not {code.meaning!r}{_meant(code)}"
    elif code.scheme in _LISTED_WHOLE:
        yield f"{where}: {code.value!r} is no code of {code.scheme}{_meant(code)}"
    elif code.scheme == "SCT" and not is_sctid(code.value):
        yield f"{where}: {code.value!r} is no SNOMED CT identifier{_meant(code)}"


def _doubts_of(where: str, code: Code) -> Iterator[str]:
    if code.scheme == "UCUM" or code.value in _known(code.scheme) or code.scheme in _LISTED_WHOLE:
        return
    if code.scheme != "SCT" or is_sctid(code.value):
        yield f"{where}: {code.value} {code.scheme} ({code.meaning}) is not among the codes that DICOM lists"


@cache
def _known(scheme: str) -> Mapping[str, tuple[str, ...]]:
    """Give every code value of a scheme with its meanings."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    entries: Mapping[str, Any] = concepts.get(scheme, {})
    for entry in entries.values():
        for value, (meaning, _) in entry.items():
            found[value] += (meaning,)
    return dict(found)


def _meant(code: Code) -> str:
    """Offer the code that the meaning belongs to, where there is one."""
    wanted = _plain(code.meaning)
    for value, meanings in _known(code.scheme).items():
        if value != code.value and any(_plain(meaning) == wanted for meaning in meanings):
            return f"; {value} means {code.meaning!r}"
    return ""


def _same(known: str, given: str) -> bool:
    one, other = set(_plain(known).split()), set(_plain(given).split())
    return one <= other or other <= one or _likeness(known, given) >= _ALIKE


def _likeness(known: str, given: str) -> float:
    return SequenceMatcher(None, _plain(known), _plain(given)).ratio()


def _plain(meaning: str) -> str:
    """Drop case, SNOMED's tag in parentheses, and signs between words."""
    return re.sub(r"[^a-z0-9]+", " ", _TAG.sub("", meaning.casefold())).strip()


def is_sctid(value: str) -> bool:
    """Say whether a text can name a concept: its partition and check digit (Verhoeff) agree."""
    if not _SCTID.fullmatch(value) or value[-3:-1] not in ("00", "10"):
        return False
    check = 0
    for place, digit in enumerate(reversed(value)):
        check = _DIHEDRAL[check][_permuted(place % 8, int(digit))]
    return check == 0


def _permuted(times: int, digit: int) -> int:
    for _ in range(times):
        digit = _PERMUTATION[digit]
    return digit


_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_DIHEDRAL = tuple(
    tuple(
        (one + other) % 5 + (0 if other < 5 else 5)
        if one < 5 and other < 5
        else (one + other - 5) % 5 + 5
        if one < 5
        else (one - other) % 5 + 5
        if other < 5
        else (one - other) % 5
        for other in range(10)
    )
    for one in range(10)
)
"""The multiplication table of the dihedral group of the pentagon, which Verhoeff's check is calculated in."""
