"""The commands of docs/registry.md, in their order, as publisher, operator, box and technician give them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.app import app
from appliance.core.config import ConfigError, parse
from appliance.ledger.engine import open_ledger
from appliance.sync.refusal import Word
from tests.appliance import packages

pytestmark = pytest.mark.usefixtures("loud_again")
NAME = packages.NAME
PAGE = Path(__file__).resolve().parents[3] / "docs" / "registry.md"
SAID = [
    line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    readside ")
]
GIVEN = [
    f" {word} "
    for word in (
        "init",
        "publish",
        "claim",
        "promote",
        "releases",
        "stamp",
        "sync",
        "rotate",
        "renew",
        "recall",
    )
]
# Those that serve until they are stopped are tested where they serve.
ENDLESS = ("readside registry serve",)
# Those of other rooms of the registry are tested there.
ELSEWHERE = tuple(
    f"readside registry {word} " for word in ("rollout", "invite", "end-shadow", "account", "audit")
)


@dataclass
class Bench:
    """A folder in which the page's commands are given."""

    folder: Path
    given: list[str] = field(default_factory=list)

    def run(self, line: str, *more: str) -> Result:
        """Give a command as the page has it."""
        words = shlex.split(line.replace("/media/stick", str(self.folder / "stick")))
        assert words[0] == "readside"
        return CliRunner().invoke(app, [*words[1:], *more], env={"READSIDE_KEY_PASSPHRASE": "open sesame"})

    def box(self) -> None:
        """Make the box that the page speaks of, claimed with what `claim` wrote."""
        root = self.folder / "box"
        root.mkdir()
        open_ledger(f"sqlite:///{root / 'ledger.sqlite3'}").close()
        (self.folder / "site.toml").write_text(
            f'[site]\nname = "Test"\n[storage]\nroot = "{root}"\nfloor_gib = 0.01\n'
            f'[registry]\nurl = "file://{self.folder}/registry/public"\ndevice = "box-1"\n'
            f'roots = "{self.folder}/claim-box-1"\n',
            encoding="utf-8",
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty folder with a package in it, as the publisher begins."""
    monkeypatch.chdir(tmp_path)
    packages.bands(tmp_path, "1.1.0")
    return Bench(folder=tmp_path)


def report(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def find(part: str) -> str:
    """The page's command that holds this."""
    (line,) = [line for line in SAID if part in line and not line.endswith(("--again", "--shadow"))]
    return line


def test_the_pages_commands_take_a_release_from_publisher_to_box(bench: Bench):
    for part in (" init ", " publish ", " claim ", " promote ", " releases ", " stamp "):
        result = bench.run(find(part))
        assert result.exit_code == 0, result.output
    bench.box()
    shutil.copytree(bench.folder / "registry" / "public", bench.folder / "stick" / "public")
    result = bench.run(find(" --from "), "--json")
    assert result.exit_code == 0, result.output
    (outcome,) = report(result)["outcomes"]
    assert (outcome["word"], outcome["model"], outcome["version"]) == ("activated", NAME, "1.1.0")
    for line in [line for line in SAID if " sync " in line and "--from" not in line]:
        assert "current" in bench.run(line).output
    status = report(bench.run("readside status --config site.toml --json"))
    assert status["registry"]["outcomes"][0]["word"] == "current"

    for line in [line for line in SAID if " rotate " in line]:
        assert bench.run(line).exit_code == 0
    assert bench.run(find(" renew ")).exit_code == 0
    assert bench.run(find(" recall ")).exit_code == 0
    result = bench.run("readside registry sync --config site.toml")
    assert result.exit_code == 1
    assert f"{NAME} 1.1.0: recalled: it serves here and was recalled: wrong threshold" in result.output


def test_every_command_of_the_page_is_given_by_a_test():
    here = [line for line in SAID if not line.startswith(ELSEWHERE)]
    others = [line for line in here if not any(part in line for part in GIVEN)]
    assert [line for line in others if not line.startswith(ENDLESS)] == []
    assert others


def test_the_page_says_every_word_and_no_other():
    _, _, words = PAGE.read_text(encoding="utf-8").partition("## What a box says")
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", words.partition("\n## ")[0], re.MULTILINE))
    assert rows == {word.value for word in Word}


def test_plain_keys_are_warned_of(bench: Bench):
    result = bench.run("readside registry init registry --keys keys --plain")
    assert result.exit_code == 0
    assert "PLAIN" in result.output
    assert b"ENCRYPTED" not in (bench.folder / "keys" / "root-1.pem").read_bytes()
    published = bench.run(find(" publish "), "--json")
    assert report(published)["counter"] == 1
    assert report(published)["visible"] is True


def test_a_faulty_command_is_one_sentence_and_its_exit_code(bench: Bench):
    assert bench.run("readside registry stamp registry").exit_code == 1
    assert bench.run(find(" init ")).exit_code == 0
    again = bench.run(find(" init "))
    assert again.exit_code == 1
    assert "holds a registry already" in again.output
    neither = bench.run("readside registry promote a 1.0.0 --registry registry")
    assert (neither.exit_code, "--all" in neither.output) == (2, True)
    assert bench.run("readside registry rotate registry --keys keys --repository x").exit_code == 2
    for line in (find(" promote "), find(" recall ")):
        result = bench.run(line)
        assert (result.exit_code, "never published" in result.output) == (1, True)


def test_a_box_without_a_registry_asks_for_a_folder(bench: Bench):
    bench.box()
    site = bench.folder / "site.toml"
    site.write_text(site.read_text(encoding="utf-8").partition("[registry]")[0], encoding="utf-8")
    result = bench.run("readside registry sync --config site.toml")
    assert result.exit_code == 2
    assert "--from" in result.output


def test_the_pages_section_is_one_that_a_box_takes():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    said = [tomllib.loads(block) for block in blocks if "[registry]" in block]
    storage = {"storage": {"root": "/var/lib/x"}}
    read = [parse({"site": {"name": "x"}, **storage, **tree}).registry for tree in said]
    assert [registry.device for registry in read] == ["box-1", None]
    assert read[1].opening


@pytest.mark.parametrize("url", ["ftp://x", "models.example", "file://host/x", "https://x?y=1"])
def test_an_address_that_no_box_can_ask_is_a_fault(url: str):
    tree = {"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, "registry": {"url": url, "device": "a"}}
    with pytest.raises(ConfigError, match=r"registry\.url"):
        parse(tree)


def test_a_registry_without_a_device_is_a_fault():
    tree = {"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, "registry": {"url": "https://x"}}
    with pytest.raises(ConfigError, match=r"registry\.device: must be given"):
        parse(tree)
