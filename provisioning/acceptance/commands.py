"""`readside provision accept`: the last command of a technician's visit."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import (
    BAD_USE,
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    err,
    fail,
    opened_ledger,
    out,
    print_json,
)
from appliance.core import log
from appliance.core.clock import as_datetime
from appliance.core.config import Config, Peer
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from appliance.sync.identity import identity_of
from appliance.sync.refusal import Refusal
from appliance.sync.signing import Signer
from provisioning.acceptance.report import NotSigned, Report, Verdict, printed, signed, verified
from provisioning.acceptance.run import Acceptance


def accept(
    peer: Annotated[str, typer.Option("--peer", help="The PACS, by its name in the configuration.")] = "",
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path(),
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Only check who signed this report, and that it is whole.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send the phantom through the site's PACS and back, check what came of it, and write a signed report.

    The box must run. The phantom stays in the PACS, under a patient that says what it is, until somebody
    deletes it. Exits with 1 when a step failed.
    """
    log.silence()
    if verify is not None:
        _verify(verify, as_json=as_json)
        return
    with opened_ledger(config) as (site, ledger):
        chosen = _peer(site, peer)
        signer = _signer(site)
        with err.status("beginning") as status:
            acceptance = Acceptance(
                config=site, ledger=ledger, peer=chosen, version=version("readside"), told=status.update
            )
            report = acceptance.run()
    paths = _write(report, signer, out_folder)
    if as_json:
        print_json({"ok": report.passed, "report": report.as_json(), "files": [str(path) for path in paths]})
    else:
        _show(report, paths, device="" if signer is None else signer.id)
    if not report.passed:
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Add this command to the group that the command line has for provisioning."""
    app.command("accept")(accept)


def _peer(site: Config, name: str) -> Peer:
    reachable = [one for one in site.peers if one.reachable]
    chosen = [one for one in reachable if not name or one.name == name]
    if len(chosen) != 1:
        known = ", ".join(one.name for one in reachable) or "none has a host and a port"
        fail(f"say which PACS with --peer: {known}", code=BAD_USE)
    return chosen[0]


def _signer(site: Config) -> Signer | None:
    try:
        return identity_of(site)
    except Refusal as refusal:
        err.print(f"readside: the report is not signed: {refusal.sentence}", markup=False)
        return None


def _write(report: Report, signer: Signer | None, folder: Path) -> list[Path]:
    stem = f"acceptance-{as_datetime(report.at):%Y%m%dT%H%M%SZ}"
    device = "" if signer is None else signer.id
    contents = {f"{stem}.json": signed(report, signer), f"{stem}.pdf": printed(report, device)}
    try:
        for name, data in contents.items():
            write_file(make_folder(folder) / name, data)
    except (DiskFault, NoSpace) as error:
        fail(f"the report cannot be written to {folder} ({type(error).__name__})")
    return [folder / name for name in contents]


def _show(report: Report, paths: list[Path], *, device: str) -> None:
    marks = {Verdict.PASSED: "ok     ", Verdict.FAILED: "FAILED ", Verdict.NOT_TRIED: "not yet"}
    for step in report.steps:
        out.print(f"{marks[step.verdict]} {step.name}: {step.said}", markup=False)
    out.print("ACCEPTED" if report.passed else "NOT ACCEPTED")
    for path in paths:
        out.print(str(path), markup=False)
    if not device:
        out.print("This device was not enrolled: its report is not signed.")


def _verify(path: Path, *, as_json: bool) -> None:
    try:
        report, device = verified(path.read_bytes())
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    except NotSigned as fault:
        fail(f"{path}: {fault}")
    if as_json:
        print_json({"ok": True, "device": device, "passed": report["passed"]})
        return
    verdict = "accepted" if report["passed"] else "NOT accepted"
    out.print(f"{report['site']}, {report['at']}: {verdict}; signed by device {device}", markup=False)
