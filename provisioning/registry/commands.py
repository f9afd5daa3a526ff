"""The registry's commands for publisher and operator: init, publish, promote, recall and the rest."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, err, fail, out, print_json, saying
from appliance.core.clock import as_text
from appliance.sync.release import DIRECTOR, IMAGE, Release
from provisioning.registry import claim_commands
from provisioning.registry import promote as director
from provisioning.registry import publish as publisher
from provisioning.registry.book import Book
from provisioning.registry.faults import RegistryFault
from provisioning.registry.rollout import commands as rollout
from provisioning.registry.server import commands as server

PASSPHRASE = "READSIDE_KEY_PASSPHRASE"
FolderArgument = Annotated[Path, typer.Argument(help="The registry's folder.")]
FolderOption = Annotated[Path, typer.Option("--registry", help="The registry's folder.")]
KeysOption = Annotated[
    list[Path], typer.Option("--keys", help="Folder with offline keys; may be given for each holder's.")
]
NameArgument = Annotated[str, typer.Argument(help="The model's name.")]
VersionArgument = Annotated[str, typer.Argument(help="Its version.")]


def init(
    folder: FolderArgument,
    keys: Annotated[Path, typer.Option("--keys", help="New folder for the offline keys, not on the server.")],
    plain: Annotated[bool, typer.Option("--plain", help="Leave the offline keys unencrypted.")] = False,
) -> None:
    """Make a registry: its keys, and the first signed lists of both repositories."""
    passphrase = None if plain else _passphrase(new=True)
    with saying(RegistryFault):
        Book(folder=folder, passphrase=passphrase).create(keys)
    if plain:
        err.print(f"readside: the keys in {keys} lie there PLAIN: who copies two of each can sign releases")
    out.print(f"The registry is in {folder}; its public tree is {folder / 'public'}.", markup=False)
    out.print(
        f"Offline keys, any two of three of each role sign: {keys}. Give them to three people.", markup=False
    )


def publish(
    package: Annotated[Path, typer.Argument(help="A package: a folder or a zip of it.")],
    registry: FolderOption,
    keys: KeysOption,
    needs_readside: Annotated[
        str, typer.Option(help="First version of Readside that can use it, like 0.2.0.")
    ] = "0.0.0",
    engine: Annotated[
        list[str] | None, typer.Option(help="A site must have one of these engines; may be given often.")
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(help="Signature of who made the model (OpenSSF Model Signing, with a key).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a package whole, sign it on this machine and put it into the registry."""
    with saying(RegistryFault):
        book = signing(registry, keys)
        release = publisher.publish(
            book, package, keys, readside=needs_readside, engines=engine or (), made_by=provenance
        )
        visible = book.may_stamp(IMAGE)
    _release(release, "is published", visible=visible, as_json=as_json)


def recall(
    name: NameArgument,
    version: VersionArgument,
    registry: FolderOption,
    keys: KeysOption,
    reason: Annotated[str, typer.Option(help="Why; devices show it.")],
    as_json: JsonOption = False,
) -> None:
    """Sign that a release must not be used any more: no device takes it, those that have it say so."""
    with saying(RegistryFault):
        book = signing(registry, keys)
        release = publisher.recall(book, name, version, keys, reason=reason)
        visible = book.may_stamp(IMAGE)
    _release(release, "is recalled", visible=visible, as_json=as_json)


def promote(
    name: NameArgument,
    version: VersionArgument,
    registry: FolderOption,
    device: Annotated[list[str] | None, typer.Option(help="A device; may be given often.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every device that was claimed.")] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Beside the one that serves; nothing of it is released.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Assign a release to devices, signed with the server's own keys."""
    with saying(RegistryFault):
        book = Book(folder=registry)
        devices = _devices(book, device, every=every)
        release = director.promote(book, name, version, devices, shadow=shadow)
    if as_json:
        said = {"ok": True, "name": name, "version": version, "shadow": shadow, "devices": devices}
        print_json(said)
        return
    what = "is a shadow on" if shadow else "is assigned to"
    out.print(f"{release.name} {release.version} {what} {len(devices)} devices.", markup=False)


def end_shadow(
    name: NameArgument,
    registry: FolderOption,
    device: Annotated[list[str] | None, typer.Option(help="A device; may be given often.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every device that was claimed.")] = False,
) -> None:
    """Take the shadow of a model off devices; what they compared stays with them."""
    with saying(RegistryFault):
        book = Book(folder=registry)
        devices = _devices(book, device, every=every)
        director.end_shadow(book, name, devices)
    out.print(f"No version of {name} is a shadow on these {len(devices)} devices.", markup=False)


def claim(
    device: Annotated[str, typer.Argument(help="The device's name.")],
    registry: FolderOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for what the device must be given.")],
) -> None:
    """Make a device known, and write what it is given: both roots, and the floors it begins with."""
    with saying(RegistryFault):
        director.claim(Book(folder=registry), device, out_folder)
    out.print(f"Put the files of {out_folder} into registry.roots of {device}.", markup=False)


def stamp(registry: FolderArgument) -> None:
    """Sign with the server's keys that the newest lists are the newest, for another seven days."""
    with saying(RegistryFault):
        book = Book(folder=registry)
        with book.alone():
            book.stamp_all()
    out.print("Both repositories are stamped.")


def renew(registry: FolderArgument, keys: KeysOption) -> None:
    """Sign what the offline keys signed once more, for another year."""
    with saying(RegistryFault):
        book = signing(registry, keys)
        with book.alone():
            book.renew(keys)
    out.print("What was signed offline holds for another year.")


def rotate(
    registry: FolderArgument,
    keys: KeysOption,
    repository: Annotated[str, typer.Option(help="image or director: whose server keys were stolen.")],
) -> None:
    """Give a repository other server keys; devices drop what the former ones signed."""
    if repository not in (IMAGE, DIRECTOR):
        fail(f"--repository is {IMAGE} or {DIRECTOR}", code=2)
    with saying(RegistryFault):
        book = signing(registry, keys)
        with book.alone():
            book.rotate(repository, keys)
    out.print(f"The {repository} repository has other server keys.", markup=False)


def releases(registry: FolderArgument, as_json: JsonOption = False) -> None:
    """List every release and which devices are assigned what."""
    with saying(RegistryFault):
        book = Book(folder=registry)
        listed, assigned = publisher.releases(book), director.assignments(book)
        makers = [publisher.made_by(book, one) for one in listed]
    if as_json:
        lines = {device: [asdict(one) for one in lines] for device, lines in assigned.items()}
        said = [{**asdict(one), "provenance": maker} for one, maker in zip(listed, makers, strict=True)]
        print_json({"releases": said, "devices": lines})
        return
    table = Table("name", "version", "counter", "published", "recalled", "made by key", "devices", box=None)
    for one, maker in zip(listed, makers, strict=True):
        count = sum(
            (line.name, line.version) == (one.name, one.version) for own in assigned.values() for line in own
        )
        row = (one.name, one.version, one.counter, as_text(one.published_at), one.recalled, maker[:12], count)
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group that the command line has for the registry."""
    server.add_to(app)
    claim_commands.add_to(app)
    rollout.add_to(app)
    for command in (init, publish, recall, promote, claim, stamp, renew, rotate, releases):
        app.command(command.__name__)(command)
    app.command("end-shadow")(end_shadow)


def _devices(book: Book, named: list[str] | None, *, every: bool) -> list[str]:
    if bool(named) == every:
        fail("name devices with --device, or take --all", code=2)
    return sorted(director.assignments(book)) if every else list(named or ())


def signing(registry: Path, folders: list[Path]) -> Book:
    """Open a registry for who signs offline; the passphrase is asked for where a key needs one."""
    paths = [path for folder in folders if folder.is_dir() for path in folder.glob("*.pem")]
    sealed = any(b"ENCRYPTED" in path.read_bytes() for path in paths)
    return Book(folder=registry, passphrase=_passphrase(new=False) if sealed else None)


def _passphrase(*, new: bool) -> str:
    given = os.environ.get(PASSPHRASE)
    if given:
        return given
    asked: str = typer.prompt("Passphrase of the offline keys", hide_input=True, confirmation_prompt=new)
    return asked


def _release(release: Release, what: str, *, visible: bool, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "visible": visible, **asdict(release)})
        return
    out.print(f"{release.name} {release.version} {what}, release {release.counter}.", markup=False)
    if not visible:
        out.print(
            "Copy the folder to the server and run `readside registry stamp` there; then devices see it."
        )
