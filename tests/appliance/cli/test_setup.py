from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from appliance.cli.app import app


def test_init_names_the_sections_to_edit(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "site.toml")])

    assert done.exit_code == 0
    assert "Edit [site], [[peers]] and [[routes]], then: " in done.output
