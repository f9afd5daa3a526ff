"""What the doctor tells a person: the fault by name, what to do, who does it, and a line for a ticket."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.demo.box import free_ports
from provisioning.doctor.show import Asked, chosen
from provisioning.doctor.site import Site


def site(tmp_path: Path) -> tuple[Path, int]:
    path, port = tmp_path / "site.toml", free_ports(1)[0]
    path.write_text(
        f"""
[site]
name = "North"
[storage]
root = "{tmp_path}"
[[peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
""",
        encoding="utf-8",
    )
    return path, port


def test_a_fault_is_told_with_all_that_somebody_else_needs_to_act(tmp_path: Path):
    path, port = site(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--config", str(path), "--only", "peer-echo"])
    assert done.exit_code == 1
    assert "WRONG    peer-tcp pacs: " in done.stdout
    assert "-        peer-echo pacs: because of peer.port-closed" in done.stdout
    ticket = next(line for line in done.stdout.splitlines() if line.strip().startswith("ticket"))
    assert "[readside peer.port-closed pacs]" in ticket
    for said in (
        f"127.0.0.1:{port}",
        "Please: compare `port`",
        "For: PACS administrator",
        "North, AE READSIDE",
    ):
        assert said in ticket, "one line is enough for who never saw this page"
    assert "\n  who     PACS administrator\n" in done.stdout


def test_what_is_sound_needs_no_ticket(tmp_path: Path):
    path, _ = site(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--config", str(path), "--only", "configuration"])
    assert done.exit_code == 0
    assert "Nothing that was looked at is wrong." in done.stdout
    assert "ticket" not in done.stdout


def test_a_trial_that_writes_into_a_pacs_is_not_made_unless_asked_for(tmp_path: Path):
    path, _ = site(tmp_path)

    def ids(*, full: bool) -> set[str]:
        return {check.id for check in chosen(Asked(config=path, full=full), Site.of(path))}

    assert ids(full=True) - ids(full=False) == {"peer-store", "peer-move"}
