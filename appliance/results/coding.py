"""Concepts that results speak with, beyond those a model brings along.

Promises: standard codes where the standard has one; our own stand under one private scheme that every object
using it explains (PS3.3 C.12.1.1, Coding Scheme Identification).
Never: changes a model's codes.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import AlgorithmIdentification, CodedConcept
from pydicom import Dataset
from pydicom.sr.coding import Code as StandardCode

from appliance.results.context import ResultContext
from appliance.results.wording import long_string, plain
from models.findings import Code, Verdict

PRIVATE_SCHEME = "99READSIDE"

# Not a count of nothing: a value of 0 is shown as no value at all by the viewer that was measured.
SEARCHED = CodedConcept("images-searched", PRIVATE_SCHEME, "No finding in images searched")
IMAGES_UNIT = CodedConcept("{images}", "UCUM", "images")
# CID 7003. It shows where the numbers come from, and claims no finding.
HEAT_MAP = CodedConcept("121200", "DCM", "Illustration of ROI")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")

VERDICTS = {
    Verdict.PRESENT: CodedConcept("52101004", "SCT", "Present"),
    Verdict.ABSENT: CodedConcept("272519000", "SCT", "Absent"),
    Verdict.ABSTAINED: CodedConcept("82334004", "SCT", "Indeterminate"),
}

_PROCEDURES = {
    "CT": StandardCode("25045-6", "LN", "CT unspecified body region"),
    "MR": StandardCode("25056-3", "LN", "MRI unspecified body region"),
    "PT": StandardCode("44136-0", "LN", "PET unspecified body region"),
    "CR": StandardCode("43468-8", "LN", "XR unspecified body region"),
    "DX": StandardCode("43468-8", "LN", "XR unspecified body region"),
}
_ANY_PROCEDURE = StandardCode("363679005", "SCT", "Imaging procedure")


def concept(code: Code) -> CodedConcept:
    """Turn a model's code into a coded entry; the meaning is cut to 64 characters (PS3.3 8.8)."""
    return CodedConcept(long_string(code.value), code.scheme, long_string(code.meaning))


def procedure(modality: str) -> StandardCode:
    """Give the imaging procedure a report is about, from the modality of its images (CID 100)."""
    return _PROCEDURES.get(modality, _ANY_PROCEDURE)


def algorithm(context: ResultContext) -> AlgorithmIdentification:
    """Identify the model as TID 4019 wants it: name, version, and what else it takes to do it again (P7)."""
    who = context.provenance
    return AlgorithmIdentification(
        name=plain(who.model_name),
        version=plain(who.model_version),
        parameters=[plain(f"model {who.model_digest}"), plain(f"engine {who.engine}")],
        manufacturer=plain(who.manufacturer),
    )


def explain_schemes(made: Dataset) -> None:
    """Explain the private scheme in an object that uses it (PS3.3 C.12.1.1.2)."""
    used = {str(element.value) for element in made.iterall() if element.keyword == "CodingSchemeDesignator"}
    if PRIVATE_SCHEME in used:
        item = CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="Readside private codes")
        made.CodingSchemeIdentificationSequence = [item]
