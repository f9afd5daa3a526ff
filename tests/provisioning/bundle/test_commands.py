"""The commands of docs/sticks.md, in their order, as operator, technician and operator again give them."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.app import app
from appliance.core.config import parse
from appliance.ledger.engine import open_ledger
from provisioning.bundle import office
from provisioning.registry.book import Book
from provisioning.registry.promote import claim

pytestmark = pytest.mark.usefixtures("loud_again")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "sticks.md"
TEXT = PAGE.read_text(encoding="utf-8")
SAID = [line.strip() for line in TEXT.splitlines() if line.startswith("    readside ")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry that knows two boxes, one of them here, and a stick."""
    monkeypatch.chdir(tmp_path)
    book = Book(folder=tmp_path / "registry")
    book.create(tmp_path / "keys")
    for box in ("box-1", "box-2"):
        claim(book, box, tmp_path / f"claim-{box}")
    for name in ("box", "stick"):
        (tmp_path / name).mkdir()
    open_ledger(f"sqlite:///{tmp_path / 'box' / 'ledger.sqlite3'}").close()
    (tmp_path / "site.toml").write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{tmp_path}/box"\nfloor_gib = 0.01\n'
        f'[registry]\ndevice = "box-1"\nroots = "{tmp_path}/claim-box-1"\n',
        encoding="utf-8",
    )
    return tmp_path


def run(line: str, *more: str) -> Result:
    words = shlex.split(line.replace("/media/stick", "stick"))
    assert words[0] == "readside"
    return CliRunner().invoke(app, [*words[1:], *more])


def report(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_the_pages_commands_bring_a_stick_to_a_box_and_back(bench: Path):
    init, init_again, export, bring, back = SAID
    assert run(init).exit_code == 0
    assert run(export).exit_code == 0
    done = run(bring, "--json")
    assert done.exit_code == 0, done.output
    assert report(done)["outcomes"][0]["word"] == "current"
    assert "NOT SIGNED" in done.stderr
    assert (bench / "stick" / "readside" / "receipts" / report(done)["receipt"]).is_file()
    taken = run(back, "--json")
    assert taken.exit_code == 1
    assert [one["word"] for one in report(taken)["receipts"]] == [office.UNSIGNED]
    assert run(init_again).exit_code == 0
    assert run(export).exit_code == 0
    assert run(bring).exit_code == 0


def test_a_stick_that_cannot_be_written_to_is_told_and_what_was_taken_stays(bench: Path):
    for line in (SAID[0], SAID[2]):
        assert run(line).exit_code == 0
    (bench / "stick" / "readside" / "receipts").write_bytes(b"")
    done = run(SAID[3], "--json")
    assert done.exit_code == 1
    assert (report(done)["ok"], report(done)["receipt"]) == (False, "")
    assert report(done)["outcomes"][0]["word"] == "current"
    assert "no receipt was written" in done.stderr


def test_faults_are_one_sentence_and_an_exit_code(bench: Path):
    early = run(SAID[2])
    assert (early.exit_code, "bundle init" in early.output) == (1, True)
    empty = run(SAID[3])
    assert (empty.exit_code, "not_a_registry" in empty.output) == (1, True)
    none = run(SAID[4].replace("/media/stick", "away"))
    assert (none.exit_code, "no box has written" in none.output) == (1, True)


def test_the_page_says_every_word_of_a_receipt_and_no_other():
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", TEXT, re.MULTILINE))
    words = {office.RECORDED, office.KNOWN, office.UNSIGNED, office.UNKNOWN, office.FORGED, office.JUNK}
    assert rows == words


def test_the_pages_settings_are_some_that_a_box_takes():
    for said in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL):
        tree = {"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, **tomllib.loads(said)}
        parse(tree)
