"""Codes are held against the dictionaries, and units against UCUM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from appliance.core import coded, ucum
from models.catalogue import shipped
from models.findings import Code
from models.labels import codes_of
from models.manifest import load

# DICOM writes these in ways of its own; they are known by name.
_DICOMS_OWN = {"diop", "ppm", "10-6.mm2/s", "ml/[100]g/min", "ml/[100]ml", "{Particles}/[100]g{Tissue}"}


def listed(scheme: str) -> set[str]:
    entries: Mapping[str, Any] = concepts[scheme]
    return {value for entry in entries.values() for value in entry}


def faults(value: str, scheme: str, meaning: str) -> list[str]:
    return coded.faults([("output.labels[1].type", Code(value=value, scheme=scheme, meaning=meaning))])


def test_shipped_manifests_have_no_fault() -> None:
    for path in shipped():
        assert coded.faults(codes_of(load(path / "manifest.toml"))) == []


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        ("52988006", "SCT", "Lesion"),
        ("52988006", "SCT", "lesion (morphologic abnormality)"),
        ("78961009", "SCT", "Spleen"),
        ("121207", "DCM", "Height"),
        ("mL", "UCUM", "milliliter"),
        ("anything", "99LOCAL", "of our own"),
    ],
)
def test_what_the_dictionaries_say_is_no_fault(value: str, scheme: str, meaning: str) -> None:
    assert faults(value, scheme, meaning) == []


def test_another_meaning_is_named_with_the_right_one_and_the_right_code() -> None:
    (fault,) = faults("52988006", "SCT", "Spleen")
    assert fault.startswith("output.labels[1].type: 52988006 SCT means 'Lesion")
    assert "not 'Spleen'; 78961009 means 'Spleen'" in fault


def test_values_a_scheme_cannot_have_are_faults() -> None:
    assert (
        "'52988007' is no SNOMED CT identifier; 52988006 means 'Lesion'"
        in faults("52988007", "SCT", "Lesion")[0]
    )
    assert "'999999' is no code of DCM" in faults("999999", "DCM", "Nothing")[0]
    assert "'milliliters'" in faults("milliliters", "UCUM", "milliliter")[0]


def test_a_concept_that_dicom_does_not_list_is_a_doubt_and_no_fault() -> None:
    rare = ("x", Code(value="404684003", scheme="SCT", meaning="Clinical finding"))
    unlisted = ("x", Code(value="233604007", scheme="SCT", meaning="Pneumonia"))
    given = [one for one in (rare, unlisted) if one[1].value not in coded._known("SCT")]
    assert coded.faults(given) == []
    assert len(coded.doubts(given)) == len(given)
    assert coded.doubts([("x", Code(value="52988006", scheme="SCT", meaning="Lesion"))]) == []
    assert len(coded.doubts([("x", Code(value="1", scheme="99LOCAL", meaning="own"))])) == 1


def test_every_snomed_code_that_dicom_lists_has_the_check_digit() -> None:
    # One of eleven thousand has not: a misprint in the standard, or in what was made of it.
    assert {value for value in listed("SCT") if not coded.is_sctid(value)} <= {"115347700"}
    assert not any(coded.is_sctid(value) for value in ("52988007", "5298800", "52988006x", "", "0", "12345"))


GOOD = """
    mL ml mm cm2 1 % [hnsf'U] mm[Hg] ug/L 10*3/uL {score} m/s2 kg/m2 /min g/(24.h) mmol/kg{WetWeight} Cel
    [degF] mo a dam dB kat/L [iU]/mL um2.ms-1 mL/min/{1.73_m2} [in_i] KiBy meq/L
"""
BAD = """
    ML/ milliliter mm[hg] kmin mm^2 m2) (m2 {open m//s cc percent \u00b5m HU (m)2 mm. x [nothing] bpm
"""


@pytest.mark.parametrize("unit", GOOD.split())
def test_units_are_read(unit: str) -> None:
    assert ucum.fault_of(unit) is None


@pytest.mark.parametrize("unit", ["", "Mm Hg", *BAD.split()])
def test_what_is_no_unit_is_refused(unit: str) -> None:
    assert ucum.fault_of(unit) is not None


def test_every_unit_that_dicom_lists_is_read() -> None:
    values = listed("UCUM")
    assert {value for value in values if ucum.fault_of(value) is not None} <= _DICOMS_OWN
    assert coded.faults(("x", Code(value=value, scheme="UCUM", meaning="")) for value in values) == []
