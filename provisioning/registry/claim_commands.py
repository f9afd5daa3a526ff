"""The registry's commands on devices: invite, answer, approve, revoke, and the authority behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, out, print_json, saying
from appliance.core import log
from appliance.core.clock import as_text
from appliance.disk.durable import write_file
from provisioning.identity import code as codes
from provisioning.identity.enrol import EnrolFault
from provisioning.identity.stick import answer_text, read_request, read_small
from provisioning.registry import ca, enrolment
from provisioning.registry.book import Book
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import open_database, url_of
from provisioning.registry.database.words import DeviceState
from provisioning.registry.enrolment import CODE_DAYS, DAY_SECONDS, NotLetIn, Office
from provisioning.registry.faults import RegistryFault
from provisioning.registry.operator import operator
from provisioning.registry.server.commands import DatabaseOption

FolderOption = Annotated[Path, typer.Option("--registry", help="The registry's folder.")]
DeviceArgument = Annotated[str, typer.Argument(help="The device's id, or its first 8 digits or more.")]
_ID_CHARACTERS_MIN = 8
_FAULTS = (RegistryFault, EnrolFault, NotLetIn, ca.RequestFault)


def invite(
    slot: Annotated[str, typer.Argument(help="The position that the device takes, as in its assignments.")],
    registry: FolderOption,
    url: Annotated[str, typer.Option(help="The registry's address, as the device reaches it.")],
    site: Annotated[str, typer.Option(help="Short word for the site, of a new slot.")] = "",
    gpu: Annotated[str, typer.Option(help="Short word for the GPU, of a new slot.")] = "",
    vendor: Annotated[str, typer.Option(help="Short word for the scanners, of a new slot.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="It may take the slot over from the device that has it.")
    ] = False,
    days: Annotated[float, typer.Option(min=0.01, max=90, help="How long the code is good.")] = CODE_DAYS,
    qr: Annotated[bool, typer.Option("--qr", help="Print it as a QR code too.")] = False,
    database: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Invite a device into a slot: print a claim code that works once. It is shown now and never again."""
    with _office(registry, database) as office:
        place = Slot(name=slot, site=site, gpu=gpu, vendor=vendor)
        made = enrolment.invite(office, place, url=url, who=operator(), replaces=replace, days=days)
        ends_at = office.now() + days * DAY_SECONDS
    text = codes.invitation_text(made)
    if as_json:
        said = {"slot": slot, "code": made.code, "invitation": text, "ends_at": as_text(ends_at)}
        print_json({"ok": True, **said})
        return
    out.print(
        f"Slot {slot}, claim code {codes.shown(made.code)}, good until {as_text(ends_at)}.", markup=False
    )
    out.print(text, markup=False)
    if qr:
        from provisioning.identity.qr import qr_text

        typer.echo(qr_text(text))


def answer(
    request: Annotated[Path, typer.Argument(help="The request of a box without a network.")],
    registry: FolderOption,
    out_file: Annotated[Path, typer.Option("--out", help="File for the answer.")],
    database: DatabaseOption = "",
) -> None:
    """Answer the request of a box without a network: its certificate, and what it is given to believe."""
    with _office(registry, database) as office:
        asked = read_request(read_small(request))
        made = enrolment.enrol(office, asked.slot, asked.code, ca.request_of(asked.request))
        text = answer_text(made.pem, dict(enrolment.welcome(office, asked.slot)))
        write_file(out_file, text.encode())
    out.print(f"Take {out_file} to the box: `readside provision enrol --offline-answer`.", markup=False)


def devices(registry: FolderOption, database: DatabaseOption = "", as_json: JsonOption = False) -> None:
    """List every slot in use: its device, when that was heard last, and until when its certificate holds."""
    with _office(registry, database) as office:
        found = list(enrolment.standing(office))
    if as_json:
        print_json({"devices": [{**asdict(line), "certificate_ends_at": ends} for line, ends in found]})
        return
    table = Table("slot", "site", "device", "hardware", "heard", "certificate until", box=None)
    for line, ends in found:
        table.add_row(
            line.slot,
            line.site,
            (line.device or "")[:16],
            line.serial or "",
            "" if line.last_seen_at is None else as_text(line.last_seen_at),
            "" if ends is None else as_text(ends),
        )
    out.print(table)


def returns(registry: FolderOption, database: DatabaseOption = "", as_json: JsonOption = False) -> None:
    """List the devices whose certificate ended and that ask to come back."""
    with _office(registry, database) as office:
        found = enrolment.asking(office)
    if as_json:
        rows = [
            {"device": one.device, "slot": slot, "asked_at": one.asked_at, "approved_at": one.approved_at}
            for one, slot in found
        ]
        print_json({"returns": rows})
        return
    table = Table("slot", "device", "asks since", "let back", box=None)
    for one, slot in found:
        let = "" if one.approved_at is None else as_text(one.approved_at)
        table.add_row(slot, one.device[:16], as_text(one.asked_at), let)
    out.print(table)


def approve(
    device: DeviceArgument,
    registry: FolderOption,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    database: DatabaseOption = "",
) -> None:
    """Let a device come back whose certificate ended; it gets another when it asks next."""
    with _office(registry, database) as office:
        whole = _whole(device, [one.device for one, _ in enrolment.asking(office)])
        enrolment.approve(office, whole, who=operator(), why=reason)
    out.print(f"Device {whole[:16]} may come back.", markup=False)


def revoke(
    device: DeviceArgument,
    registry: FolderOption,
    reason: Annotated[str, typer.Option(help="Why.")],
    database: DatabaseOption = "",
) -> None:
    """End a device for good: its key is let in nowhere; its slot and assignment wait for another."""
    with _office(registry, database) as office:
        whole = _whole(device, enrolment.enrolled(office))
        ended = enrolment.end(office, whole, DeviceState.REVOKED, who=operator(), why=reason)
    out.print(f"Device {whole[:16]} is revoked; the slot {ended.slot} is free.", markup=False)


def authority(
    registry: FolderOption,
    new: Annotated[
        bool, typer.Option("--new", help="Make another that follows; the old one holds on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the authorities that make the certificates of devices, or make the next one."""
    with saying(*_FAULTS):
        book = Book(folder=registry)
        with book.alone():
            folder, now = book.layout.authority, book.clock.now()
            ca.authorities(folder, now=now)
            if new:
                ca.add(folder, now=now)
            found = ca.authorities(folder, now=now)
    rows = [(one.name, as_text(one.certificate.not_valid_after_utc.timestamp())) for one in found]
    if as_json:
        print_json({"authorities": [{"name": name, "ends_at": ends} for name, ends in rows]})
        return
    for name, ends in rows:
        out.print(f"{name}, until {ends}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group that the command line has for the registry."""
    for command in (devices, invite, answer, returns, approve, revoke, authority):
        app.command(command.__name__)(command)


@contextmanager
def _office(folder: Path, url: str) -> Iterator[Office]:
    log.silence()
    with saying(*_FAULTS):
        book = Book(folder=folder)
        if not book.layout.public.is_dir():
            raise RegistryFault(f"{folder}: is no registry; make one with `readside registry init`")
        with closing(open_database(url_of(folder, url))) as database:
            yield Office(book=book, database=database)


def _whole(start: str, known: list[str]) -> str:
    """Return the one id that begins so."""
    found = [one for one in known if one.startswith(start)] if len(start) >= _ID_CHARACTERS_MIN else []
    if len(found) != 1:
        raise RegistryFault(f"{len(found)} devices have an id that begins with {start!r}; give more of it")
    return found[0]
