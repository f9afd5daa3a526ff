"""Commands that make and check a configuration: init, check-config, password, token."""

from __future__ import annotations

import grp
import hashlib
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from argon2 import PasswordHasher

from appliance.cli import certificates
from appliance.cli.template import TEMPLATE
from appliance.cli.terms import BAD_USE, JsonOption, err, fail, out, print_json
from appliance.core.config import ConfigError, load
from appliance.routes.table import compile_routes

_PASSWORD_BYTES = 12
_TOKEN_BYTES = 32
# Whom the package runs the services as (systemd/sysusers.d).
_GROUP = "readside"


def init(
    file: Annotated[Path, typer.Argument(help="Where to write the configuration.")],
    user: Annotated[str, typer.Option(help="The first person who may log in to the console.")] = "admin",
    root: Annotated[Path, typer.Option(help="Where images, results and the ledger lie.")] = Path(
        "/var/lib/readside"
    ),
) -> None:
    """Write a commented configuration and make the first console user; the password is shown once."""
    word = secrets.token_urlsafe(_PASSWORD_BYTES)
    text = TEMPLATE.format(user=user, password_hash=PasswordHasher().hash(word), root=root.absolute())
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{file} is there already; move it away or choose another name", code=BAD_USE)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    let_services_read(file)
    edit = "Edit [site], [[peers]] and [[routes]], then: readside check-config"
    out.print(f"{file} is written. {edit} {file}", markup=False)
    out.print(f"Console user: {user}", markup=False)
    out.print(f"Password, shown only now: {word}", markup=False)


def let_services_read(file: Path) -> None:
    """Let the services of an installed box read what root writes for them; they may not change it."""
    try:
        group = grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return
    if os.geteuid() == 0:
        os.chown(file, 0, group)
        file.chmod(0o640)


def check_config(
    file: Annotated[Path, typer.Argument(help="The configuration to check.")], as_json: JsonOption = False
) -> None:
    """Report every fault of a configuration, its routes, models and certificates at once.

    What works today and will not for long is a warning: with nothing else, the exit code is 0.
    """
    faults: list[str] = []
    warnings: list[str] = []
    try:
        config = load(file)
        faults = certificates.faults(config)
        warnings = [] if faults else certificates.warnings(config)
        compile_routes(config)
    except ConfigError as error:
        faults += error.faults
    if as_json:
        print_json({"ok": not faults, "faults": faults, "warnings": warnings})
    elif faults:
        for fault in faults:
            err.print(f"{file.name}: {fault}", markup=False)
    else:
        out.print(f"{file} is sound.", markup=False)
    for warning in [] if as_json else warnings:
        err.print(f"{file.name}: warning: {warning}", markup=False)
    if faults:
        raise typer.Exit(BAD_USE)


def password() -> None:
    """Make a password for a console user and print the hash that goes into the configuration."""
    word = secrets.token_urlsafe(_PASSWORD_BYTES)
    out.print(f"Password, shown only now: {word}", markup=False)
    out.print(f'password_hash = "{PasswordHasher().hash(word)}"', markup=False)


def token() -> None:
    """Make a token for a client of [dicomweb] and print the digest that goes into the configuration."""
    word = secrets.token_urlsafe(_TOKEN_BYTES)
    out.print(f"Token, shown only now: {word}", markup=False)
    out.print(f'token_sha256 = "{hashlib.sha256(word.encode()).hexdigest()}"', markup=False)
