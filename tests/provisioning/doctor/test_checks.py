"""The list of checks fits together, names nothing twice, and is what the technician's page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provisioning.doctor import examine
from provisioning.doctor.check import Check
from provisioning.doctor.checks import CHECKS
from provisioning.doctor.finding import Fault

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "technician.md"
FAULTS = {fault.id: fault for check in CHECKS for fault in check.faults} | {
    fault.id: fault for fault in examine.FAULTS
}
ROW = re.compile(r"^\| `([a-z0-9-]+\.[a-z0-9-]+)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_each_check_is_a_file_of_its_own_and_each_file_a_check():
    folder = ROOT / "provisioning" / "doctor" / "checks"
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py")} - {"--init--"}
    assert {check.id for check in CHECKS} == files
    assert len(CHECKS) == len(files)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_a_check_stands_on_is_told_of_before_it(check: Check):
    before = [one.id for one in CHECKS[: CHECKS.index(check)]]
    assert set(check.needs) <= set(before), "so that nothing waits for itself, and causes come first"
    assert set(check.after) <= {one.id for one in CHECKS} - {check.id}


def test_one_name_means_one_thing():
    for check in CHECKS:
        for fault in check.faults:
            assert FAULTS[fault.id] is fault, f"{fault.id} is there twice"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.id)
def test_a_fault_is_said_in_a_sentence_and_names_who_acts(fault: Fault):
    assert ROW.match(f"| `{fault.id}` | a | b | c |"), "a name that the page can hold"
    for text in (fault.cause, fault.fix):
        assert text[0].islower() or text[0] == "`", "it stands in the middle of a ticket's line"
        assert not text.endswith("."), "the line ends it"
        assert "|" not in text


def test_the_technicians_page_names_every_fault_and_no_other():
    rows = {name: cells for name, *cells in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    expected = {
        name: [fault.cause, fault.who.value, "wrong" if fault.grave else "look"]
        for name, fault in FAULTS.items()
    }
    assert rows == expected
