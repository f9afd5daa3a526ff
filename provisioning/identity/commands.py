"""The commands on a box's identity: enrol, renew, back up, restore, decommission."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.terms import (
    DEFAULT_CONFIG,
    FAILED,
    ConfigOption,
    JsonOption,
    fail,
    out,
    print_json,
    read_config,
    saying,
)
from appliance.core import log
from appliance.core.clock import SYSTEM, as_text
from appliance.disk.durable import write_file
from appliance.sync.refusal import Refusal
from appliance.sync.renewal import Renewed, renew_if_due
from provisioning.identity import backup as backups
from provisioning.identity import erasure, stick
from provisioning.identity.backup import BackupFault
from provisioning.identity.code import CodeFault, Invitation, read, read_invitation
from provisioning.identity.enrol import Claimed, EnrolFault, Home
from provisioning.identity.enrol import enrol as claim
from provisioning.identity.erasure import ErasureFault

PASSPHRASE = "READSIDE_RECOVERY_PASSPHRASE"
_FAULTS = (EnrolFault, CodeFault, BackupFault, ErasureFault, Refusal)
_NOTHING_DONE = {
    Renewed.NONE: "This box was never enrolled: `readside provision enrol`.",
    Renewed.HOLDS: "The certificate holds; nothing to do yet. --now renews it all the same.",
    Renewed.WAITS: "The certificate ended. An approver of the registry must let this box come back"
    " (`readside registry approve`); it asks again by itself.",
}


def enrol(
    config: ConfigOption = DEFAULT_CONFIG,
    invitation: Annotated[
        str, typer.Option(help="The invitation in one line, as it stands in the QR code.")
    ] = "",
    url: Annotated[str, typer.Option(help="The registry's address; registry.url if empty.")] = "",
    slot: Annotated[str, typer.Option(help="The slot; registry.device if empty.")] = "",
    code: Annotated[str, typer.Option(help="The claim code; asked for if empty.")] = "",
    key: Annotated[
        Home,
        typer.Option(help="Where the key is born: in the TPM, in a file, or in the TPM if there is one."),
    ] = Home.AUTO,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Forget the key of this box and make another.")
    ] = False,
    serial: Annotated[str, typer.Option(help="The hardware's number, for the registry's list.")] = "",
    offline_request: Annotated[
        Path | None, typer.Option(help="Write a request to this file instead of asking a registry.")
    ] = None,
    offline_answer: Annotated[Path | None, typer.Option(help="Take the answer to such a request.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the request as a QR code too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Claim this box: its key is made here, and the registry makes its certificate for a claim code."""
    log.silence()
    if offline_request is not None and offline_answer is not None:
        fail("give --offline-request or --offline-answer, and not both", code=2)
    read_in = read_config(config).registry
    with saying(*_FAULTS):
        if offline_answer is not None:
            _claimed(stick.take(read_in.roots, stick.read_small(offline_answer)), as_json=as_json)
            return
        invited = _invitation(invitation, url or read_in.url, slot or (read_in.device or ""), code)
        if offline_request is not None:
            text = stick.ask(read_in.roots, invited, home=key, new_key=new_key, serial=serial)
            write_file(offline_request, text.encode())
            _asked(text, offline_request, qr=qr, as_json=as_json)
            return
        _claimed(claim(read_in.roots, invited, home=key, new_key=new_key, serial=serial), as_json=as_json)


def renew(
    config: ConfigOption = DEFAULT_CONFIG,
    now: Annotated[bool, typer.Option("--now", help="Although it is not time yet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Renew this box's certificate, if it is time; the sync service does the same by itself."""
    log.silence()
    with saying(*_FAULTS):
        done = renew_if_due(read_config(config), force=now)
    ok = done in (Renewed.RENEWED, Renewed.HOLDS)
    if as_json:
        print_json({"ok": ok, "certificate": done.value.partition(".")[2]})
    else:
        out.print(_NOTHING_DONE.get(done, "The certificate was renewed, tried and put in place."))
    raise typer.Exit(0 if ok else FAILED)


def backup(
    out_file: Annotated[Path, typer.Option("--out", help="File for the backup.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Back up configuration, roots and floors, never keys, under the site's recovery passphrase."""
    with saying(*_FAULTS):
        sealed = backups.backup(config, read_config(config), _passphrase(new=True), now=SYSTEM.now())
        write_file(out_file, sealed)
    out.print(f"{out_file} opens with the recovery passphrase alone: keep both, apart.", markup=False)


def restore(
    backup_file: Annotated[Path, typer.Argument(help="The backup.")],
    config: ConfigOption = DEFAULT_CONFIG,
    over: Annotated[bool, typer.Option("--over", help="Write over a configuration that is there.")] = False,
) -> None:
    """Put a backup in place on new hardware; then enrol it with an invitation that says replace."""
    with saying(*_FAULTS):
        data = backups.read_backup(backup_file)
        done = backups.restore(data, _passphrase(new=False), config, over=over)
    out.print(f"Restored {done.slot} as it was at {done.made_at}: {', '.join(done.files)}.", markup=False)
    out.print("It has no key: `readside provision enrol` with an invitation that says replace.")


def decommission(
    out_file: Annotated[Path, typer.Option("--out", help="File for the certificate of erasure.")],
    config: ConfigOption = DEFAULT_CONFIG,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; it cannot be undone.")] = False,
    luks: Annotated[
        list[Path] | None, typer.Option(help="Encrypted disk whose keys are destroyed; may be given often.")
    ] = None,
    remove_data: Annotated[
        bool, typer.Option("--remove-data", help="Remove the files below storage.root too.")
    ] = False,
    reason: Annotated[str, typer.Option(help="A line for the certificate; no name of a person.")] = "",
    alone: Annotated[bool, typer.Option("--alone", help="Although the registry cannot be told.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let this box go: tell the registry, destroy keys, and write a signed certificate of erasure."""
    log.silence()
    read_in = read_config(config)
    if not yes:
        typer.confirm(f"Erase the keys of {read_in.registry.device} for ever?", abort=True)
    leave = erasure.Leave(luks=tuple(luks or ()), remove_data=remove_data, reason=reason, alone=alone)
    with saying(*_FAULTS):
        statement = erasure.decommission(read_in, leave, out_file)
    if as_json:
        print_json({"ok": True, **statement})
        return
    for one in statement["erased"]:
        out.print(f"{one['what']}: {one['how']}.", markup=False)
    out.print(f"Registry: {statement['registry']}. The certificate of erasure is {out_file}.", markup=False)


def check_erasure(
    paper: Annotated[Path, typer.Argument(help="A certificate of erasure.")],
    authorities: Annotated[Path, typer.Option(help="The registry's authorities in PEM: `authorities.pem`.")],
    as_json: JsonOption = False,
) -> None:
    """Verify a certificate of erasure, and say what it says."""
    with saying(*_FAULTS):
        known = erasure.split_pem(stick.read_small(authorities))
        statement = erasure.verify_paper(stick.read_small(paper), known)
    if as_json:
        print_json({"ok": True, **statement})
        return
    out.print(
        f"Signed by {statement['slot']}, device {statement['device'][:16]}, at {statement['at']}.",
        markup=False,
    )
    for one in statement["erased"]:
        out.print(f"{one['what']}: {one['how']}.", markup=False)


def add_to(group: typer.Typer) -> None:
    """Hang these commands into the group of the command line."""
    for command in (enrol, renew, backup, restore, decommission):
        group.command(command.__name__)(command)
    group.command("check-erasure")(check_erasure)


def _passphrase(*, new: bool) -> str:
    given = os.environ.get(PASSPHRASE)
    if given:
        return given
    asked: str = typer.prompt("Recovery passphrase of the site", hide_input=True, confirmation_prompt=new)
    return asked


def _invitation(text: str, url: str, slot: str, code: str) -> Invitation:
    try:
        if text:
            return read_invitation(text)
        if not url or not slot:
            fail("give --invitation, or --url and --slot with --code", code=2)
        asked = code or typer.prompt("Claim code", hide_input=True)
        return Invitation(url=url, slot=slot, code=read(asked))
    except CodeFault as fault:
        fail(str(fault))


def _claimed(claimed: Claimed, *, as_json: bool) -> None:
    ends = as_text(claimed.certificate.ends_at)
    if as_json:
        said = {"slot": claimed.slot, "device": claimed.device, "key": claimed.home.value, "ends_at": ends}
        print_json({"ok": True, **said})
        return
    out.print(f"This box is {claimed.slot}; its certificate holds until {ends}.", markup=False)
    out.print(f"Its key is in {'the TPM' if claimed.home is Home.TPM else 'a file'}.", markup=False)
    out.print(f'The configuration must say: [registry] device = "{claimed.slot}".', markup=False)


def _asked(text: str, path: Path, *, qr: bool, as_json: bool) -> None:
    from provisioning.identity.qr import fits, qr_text

    if as_json:
        print_json({"ok": True, "request": str(path)})
        return
    out.print(f"Take {path} to the registry: `readside registry answer`.", markup=False)
    if qr and fits(text):
        typer.echo(qr_text(text))
    elif qr:
        out.print("The request is too long for a QR code: use the file.")
