"""docs/faults.md says which case is held by which test, and is right."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = [f"F{number:02d}" for number in range(1, 63)]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| F\d\d ", line)
]
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for room in ("appliance", "dicom_node")
    for path in (ROOT / room).rglob("*.py")
)


def named(row: list[str]) -> set[str]:
    return set(re.findall(r"`(tests/[\w/]+\.py)`", row[4]))


def test_every_case_has_its_row() -> None:
    assert [row[0] for row in ROWS] == CASES
    assert all(len(row) == 5 for row in ROWS)


def test_what_holds_a_case_exists() -> None:
    for row in ROWS:
        assert named(row) or row[4] == "not built", row[0]
        assert [path for path in named(row) if not (ROOT / path).is_file()] == [], row[0]


def test_what_is_built_has_no_empty_cells() -> None:
    assert [row[0] for row in ROWS if row[4] != "not built" and not all(row)] == []


def test_words_are_words_of_the_sources() -> None:
    words = {(row[0], word) for row in ROWS for word in re.findall(r"`([a-z_.]+)`", row[3])}
    assert len(words) > 40
    assert sorted((case, word) for case, word in words if word not in SOURCES) == []


def test_tests_of_a_case_are_in_its_row() -> None:
    rows = {row[0]: named(row) for row in ROWS}
    found = set()
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        for name in re.findall(r"def test_((?:f\d\d_)+)", path.read_text(encoding="utf-8")):
            for case in name.upper().strip("_").split("_"):
                found.add(case)
                assert place in rows[case], f"{case} is tested in {place}, and its row does not say so"
    assert set(CASES[:55]) - found == set(), "each of the wire, the data and the box has a test by its name"
    own = {
        case for case, places in rows.items() if any(place.startswith("tests/faults/") for place in places)
    }
    assert own - found == set(), "the row names a file of this folder that does not test the case"
