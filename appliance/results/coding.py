"""Concepts that results speak with, beyond those a model brings along.

Promises: standard codes where the standard has one; our own stand under one private scheme that every object
using it explains (PS3.3 C.12.1.1, Coding Scheme Identification).
Never: changes a model's codes.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import AlgorithmIdentification, CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as StandardCode

from appliance.results.context import ResultContext
from appliance.results.wording import long_string, plain
from models.findings import Code

PRIVATE_SCHEME = "99READSIDE"

FINDINGS_REPORTED = CodedConcept("findings-reported", PRIVATE_SCHEME, "Findings reported")
FINDINGS_UNIT = CodedConcept("{findings}", "UCUM", "findings")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")

_PROCEDURES: dict[str, StandardCode] = {
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "CR": codes.cid100.XRUnspecifiedBodyRegion,
    "DX": codes.cid100.XRUnspecifiedBodyRegion,
}


def concept(code: Code) -> CodedConcept:
    """Turn a model's code into a coded entry; the meaning is cut to 64 characters (PS3.3 8.8)."""
    return CodedConcept(long_string(code.value), code.scheme, long_string(code.meaning))


def procedure(modality: str) -> StandardCode:
    """Give the imaging procedure a report is about, from the modality of its images (CID 100)."""
    return _PROCEDURES.get(modality, codes.cid100.ImagingProcedure)


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
