"""The house keeps its own rules: what no linter knows to check."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("appliance", "dicom_node", "models", "provisioning")
LINES_MAX = 400
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "library" not in path.relative_to(ROOT).parts
)
LOCKS = sorted(path.name for path in ROOT.glob("*.lock"))
# Where a checkout, a home or a workplace would be named. /tmp and the system's own folders are everybody's.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|workspace|mnt)/[\w.-]+")
REGISTRIES = re.compile(
    r"https?://\S*(?:pypi|pythonhosted|index|simple|registry|artifact|nexus|wheel|conda|npm|mirror)\S*",
    re.IGNORECASE,
)


def tracked() -> list[Path]:
    """Every text file that is committed; all files but the hidden ones where there is no git."""
    if shutil.which("git") is not None and (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [
            p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
        ]
    return [path for path in found if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def _uses(tree: ast.AST, module: str, names: set[str]) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    ]


@pytest.mark.parametrize("module", MODULES)
class TestModule:
    """Each module of the product."""

    def test_it_says_what_it_is(self, module):
        said = ast.get_docstring(ast.parse((ROOT / module).read_text(encoding="utf-8")))
        assert said, f"{module} has no docstring"
        assert said.splitlines()[0].rstrip().endswith((".", ":", "?")) or len(said.splitlines()) > 1

    def test_it_is_about_one_thing(self, module):
        lines = (ROOT / module).read_text(encoding="utf-8").count("\n")
        assert lines <= LINES_MAX, f"{module} has {lines} lines: what second thing lives there?"

    def test_it_syncs_nothing_itself(self, module):
        if module.startswith("appliance/disk/"):
            return
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        assert _uses(tree, "os", {"fsync", "fdatasync"}) == [], "durable writes live in appliance/disk"

    def test_its_assertions_are_not_for_show(self, module):
        tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
        assert not [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple)
        ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_hashes_and_no_address(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^(--|-i |-f )", text, re.MULTILINE), "an option of an installer is in it"
    pinned = re.findall(r"^[a-z0-9][^\n]*(?:\n +--hash[^\n]*)*", text, re.MULTILINE)
    assert pinned
    for one in pinned:
        assert "==" in one
        assert "--hash=sha256:" in one, one.split()[0]


def test_the_lock_files_agree():
    def pins(name: str) -> set[str]:
        return set(
            re.findall(r"^([a-z0-9][\w.-]*==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        )

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_no_file_names_a_package_registry():
    told = {
        path.relative_to(ROOT).as_posix(): REGISTRIES.findall(
            path.read_text(encoding="utf-8", errors="replace")
        )
        for path in tracked()
        if path.name != "test_house.py" and "static" not in path.parts
    }
    assert {name: found for name, found in told.items() if found} == {}


def test_no_file_names_a_path_of_one_machine():
    told = {
        path.relative_to(ROOT).as_posix(): MACHINE_PATH.findall(
            path.read_text(encoding="utf-8", errors="replace")
        )
        for path in tracked()
        if path.name != "test_house.py" and "static" not in path.parts
    }
    assert {name: found for name, found in told.items() if found} == {}


@pytest.mark.parametrize("script", ["demo", "lock", "scoreboard", "setup", "test"])
def test_a_script_can_be_run_and_is_sound_bash(script):
    path = ROOT / "scripts" / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=30)


def test_how_many_processes_share_the_suite_is_said_and_must_be_a_number():
    assert "`--processes N`" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    command = [str(ROOT / "scripts" / "test"), "--processes", "many"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert "--processes takes a number" in refused.stderr


def test_the_licence_is_apache_2_whole():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
