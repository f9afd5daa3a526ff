"""What the documents name exists: commands, scripts, dependencies, decisions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from appliance.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
LIBRARIES = ROOT / "docs" / "adr" / "0002-libraries.md"
CODE = re.compile(r"```.*?```|^(?: {4}|\t)[^\n]*|`[^`\n]+`", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^|[\s`/$])readside((?: +[a-z][a-z-]*)+)", re.MULTILINE)
SCRIPT = re.compile(r"\bscripts/[\w./-]*\w")


def _commands(group: object, prefix: tuple[str, ...] = ()) -> dict[tuple[str, ...], bool]:
    """Every command by its words; true for a group of commands."""
    found: dict[tuple[str, ...], bool] = {}
    for name, command in getattr(group, "commands", {}).items():
        words = (*prefix, name)
        found[words] = hasattr(command, "commands")
        found |= _commands(command, words)
    return found


KNOWN = _commands(typer.main.get_command(app))


def _meant(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The command that words begin with; nothing if there is none."""
    for length in range(len(words), 0, -1):
        if words[:length] in KNOWN:
            is_group = KNOWN[words[:length]]
            return None if is_group and length < len(words) else words[:length]
    return None


def test_the_command_line_was_found():
    assert ("run",) in KNOWN
    assert _meant(("run", "it")) == ("run",)
    assert _meant(("fly",)) is None


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_on_a_page_exist(page):
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
    named = {tuple(match.split()) for match in COMMAND.findall(code)}
    assert sorted(words for words in named if _meant(words) is None) == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_scripts_on_a_page_exist(page):
    named = set(SCRIPT.findall(page.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_on_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    near = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in near if not (page.parent / link).exists()] == []


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    every = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {re.split(r"[\[<>=!~; ]", line)[0] for line in every}


def test_every_dependency_has_its_line_of_reason_and_no_other_has():
    explained = set(re.findall(r"^\| `([\w.-]+)` \|", LIBRARIES.read_text(encoding="utf-8"), re.MULTILINE))
    assert explained == _declared()


def test_decisions_are_numbered_without_gaps_and_say_what_they_must():
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for number, page in enumerate(pages, 1):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. "), page.name
        for heading in ("Context", "Decision", "Consequences"):
            assert f"\n## {heading}\n" in text, f"{page.name} has no {heading}"
