"""The commands of the registry's server: serve, its accounts, its audit trail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, fail, out, print_json, saying
from appliance.core.clock import SYSTEM, as_text
from provisioning.registry.database import accounts, audit
from provisioning.registry.database.engine import Database, open_database, url_of
from provisioning.registry.database.words import Role
from provisioning.registry.faults import RegistryFault
from provisioning.registry.layout import Layout
from provisioning.registry.operator import operator

DATABASE = "READSIDE_REGISTRY_DATABASE"
PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 12, 1_024
FolderArgument = Annotated[Path, typer.Argument(help="The registry's folder.")]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database", envvar=DATABASE, help="Address of the database; a file in the folder if empty."
    ),
]
NameArgument = Annotated[str, typer.Argument(help="The person's name.")]

account_app = typer.Typer(help="People who may log in to the registry.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit trail of the registry.", no_args_is_help=True)


def serve(
    registry: FolderArgument,
    database: DatabaseOption = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8043,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes on one address.")] = 1,
    secure: Annotated[bool, typer.Option("--secure", help="People come over TLS, by a proxy.")] = False,
    webhook: Annotated[str, typer.Option(help="Address that alerts are posted to, as JSON.")] = "",
    mail_relay: Annotated[str, typer.Option(help="HOST:PORT of a relay that alerts are mailed by.")] = "",
    mail_from: Annotated[str, typer.Option(help="Whom mails come from.")] = "",
    mail_to: Annotated[str, typer.Option(help="Whom mails go to.")] = "",
    mail_tls: Annotated[bool, typer.Option("--mail-tls", help="The relay must speak STARTTLS.")] = False,
) -> None:
    """Serve the signed tree, the devices and the people; put a proxy with TLS before it."""
    from appliance.core import log
    from provisioning.registry.server.run import serve as run
    from provisioning.registry.server.setting import Setting, Ways

    if mail_relay and not (mail_from and mail_to and mail_relay.rpartition(":")[2].isdigit()):
        fail("--mail-relay is HOST:PORT, and takes --mail-from and --mail-to", code=2)
    if webhook and not webhook.startswith(("http://", "https://")):
        fail("--webhook is an address that begins with http:// or https://", code=2)
    ways = Ways(
        webhook=webhook, mail_relay=mail_relay, mail_from=mail_from, mail_to=mail_to, mail_tls=mail_tls
    )
    setting = Setting(folder=registry, database=database, secure=secure, ways=ways)
    log.configure("registry")
    try:
        run(setting, host=host, port=port, processes=processes)
    except RegistryFault as fault:
        fail(str(fault))
    except OSError as error:
        fail(f"{host} port {port} cannot be listened on: {error.strerror or type(error).__name__}")


@account_app.command("add")
def add_account(
    name: NameArgument,
    registry: FolderArgument,
    role: Annotated[Role, typer.Option(help="What the person may do.")],
    database: DatabaseOption = "",
    again: Annotated[
        bool, typer.Option("--again", help="Give an account that is there a new password and this role.")
    ] = False,
) -> None:
    """Let a person log in; the password is asked for, or read from a pipe."""
    if not 1 <= len(name) <= 64 or not name.isascii() or not name.isprintable() or ":" in name:
        fail("a name is 1 to 64 printable ASCII characters without a colon", code=2)
    hashed = _hashed()
    with opened_database(registry, database) as opened, opened.write() as tx:
        now, former = SYSTEM.now(), accounts.find(tx, name)
        if former is not None and not again:
            fail(f"there is an account {name} already; --again gives it a new password and role")
        if former is None:
            accounts.add(tx, name, hashed, role, at=now)
        else:
            accounts.change(tx, name, password_hash=hashed, role=role)
        audit.note(
            tx,
            at=now,
            who=operator(),
            act="account.add",
            subject=name,
            before=former.role.value if former is not None else "",
            after=role.value,
        )
    out.print(f"{name} may log in, as {role.value}.", markup=False)


@account_app.command("list")
def list_accounts(
    registry: FolderArgument, database: DatabaseOption = "", as_json: JsonOption = False
) -> None:
    """List every account, its role, and since when it is disabled."""
    with opened_database(registry, database) as opened, opened.read() as tx:
        found = accounts.every(tx)
    if as_json:
        keys = ("name", "role", "created_at", "disabled_at")
        print_json({"accounts": [{key: asdict(one)[key] for key in keys} for one in found]})
        return
    table = Table("name", "role", "made", "disabled", box=None)
    for one in found:
        gone = "" if one.disabled_at is None else as_text(one.disabled_at)
        table.add_row(one.name, one.role.value, as_text(one.created_at), gone)
    out.print(table)


@account_app.command("disable")
def disable_account(name: NameArgument, registry: FolderArgument, database: DatabaseOption = "") -> None:
    """Let a person in no more, from now on; the name stays taken."""
    with opened_database(registry, database) as opened, opened.write() as tx:
        now = SYSTEM.now()
        if not accounts.disable(tx, name, at=now):
            fail(f"{name} is no account here, or is disabled already")
        audit.note(tx, at=now, who=operator(), act="account.disable", subject=name)
    out.print(f"{name} is let in no more.", markup=False)


@audit_app.command("verify")
def verify_audit(
    registry: FolderArgument,
    database: DatabaseOption = "",
    known: Annotated[
        str, typer.Option("--known", help="What an earlier look said, `NUMBER:HASH`: that row must be there.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Verify that no row of the audit trail was changed, put in or taken out."""
    with opened_database(registry, database) as opened:
        verdict = audit.verify(opened)
        number, _, hashed = known.partition(":")
        kept = not known or (number.isdigit() and audit.hash_of(opened, int(number)) == hashed)
    ok = verdict.broken_at is None and kept
    if as_json:
        print_json({"ok": ok, "known_row_kept": kept, **asdict(verdict)})
    elif verdict.broken_at is not None:
        out.print(f"Row {verdict.broken_at} does not follow from the {verdict.rows} before it.", markup=False)
    elif not kept:
        out.print("The rows follow each other, but the known one is not among them: the trail was cut.")
    else:
        out.print(f"{verdict.rows} rows follow each other. Keep elsewhere: {verdict.rows}:{verdict.hash}")
    raise typer.Exit(0 if ok else 1)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group that the command line has for the registry."""
    app.command("serve")(serve)
    app.add_typer(account_app, name="account")
    app.add_typer(audit_app, name="audit")


@contextmanager
def opened_database(folder: Path, url: str) -> Iterator[Database]:
    """Open the database of a registry, and say a fault in one sentence."""
    if not Layout(folder=folder).public.is_dir():
        fail(f"{folder}: is no registry; make one with `readside registry init`")
    with saying(RegistryFault), closing(open_database(url_of(folder, url))) as opened:
        yield opened


def _hashed() -> str:
    from argon2 import PasswordHasher

    if sys.stdin.isatty():
        given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        given = sys.stdin.readline(PASSWORD_CHARACTERS_MAX + 1).rstrip("\n")
    if len(given) < PASSWORD_CHARACTERS_MIN:
        fail(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters", code=2)
    return PasswordHasher().hash(given)
