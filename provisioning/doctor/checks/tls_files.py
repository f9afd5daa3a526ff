"""The box's own certificates: files that go together, and are valid today and for some time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from appliance.cli.certificates import files_by_table
from appliance.core.clock import SYSTEM
from appliance.core.config import Config
from appliance.core.credential import FOLDER
from dicom_node.tls import Files, expiries, faults_of
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.site import Site

UNUSABLE = Fault(
    id="tls-files.unusable",
    cause="a certificate, a key or a token is missing, unreadable, or does not go with the others",
    fix='put the right file in place; see "TLS" in docs/pacs.md. New files need no restart',
    who=Who.TECHNICIAN,
)
EXPIRED = Fault(
    id="tls-files.expired",
    cause="the box's own certificate, or the authority that it trusts, has expired",
    fix="have the hospital's certificate authority issue a new one and put it in place; it needs no restart",
    who=Who.TECHNICIAN,
)
SOON = Fault(
    id="tls-files.expires-soon",
    cause="the box's own certificate, or the authority that it trusts, expires within a month",
    fix="have the hospital's certificate authority issue a new one and put it in place; it needs no restart",
    who=Who.TECHNICIAN,
    grave=False,
)
CLEAR = Fault(
    id="tls-files.token-in-the-clear",
    cause="a token and the results cross the network in the clear",
    fix="use https in the peer's `dicomweb`",
    who=Who.TECHNICIAN,
    grave=False,
)
HANDED_OVER = "systemd hands it to the services alone; docs/technician.md says how doctor gets it too"
_DAY_SECONDS = 86_400.0


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    tables = files_by_table(site.config)
    found = list(_of_tokens(site.config))
    for where, files in tables.items():
        if is_handed_over(files.key):
            found += [unknown(f"{where}.key: {HANDED_OVER}"), *_dated(site, where, files)]
            continue
        faults = faults_of(files)
        about = [wrong(UNUSABLE, f"{where}.{fault}") for fault in faults] or list(_dated(site, where, files))
        grave = [one.fault.id for one in about if one.fault is not None and one.fault.grave]
        # Whoever would use these files is told of it: their peers are not to blame.
        site.notes["tls-files", where] = grave[0] if grave else ""
        found += about
    yield from found or [sound(f"{', '.join(tables) or 'no table'} with TLS; all of it is in order")]


def is_handed_over(path: Path) -> bool:
    """Say whether a secret is root's, and handed to services alone: this user is not meant to read it."""
    return path.is_relative_to(FOLDER) and os.geteuid() != 0 and not os.access(path, os.R_OK)


def _dated(site: Site, where: str, files: Files) -> Iterator[Finding]:
    for name, until in expiries(files):
        left_days = (until.timestamp() - SYSTEM.now()) / _DAY_SECONDS
        said = f"{where}.{name}: valid until {until:%Y-%m-%d %H:%M} UTC"
        if left_days < 0:
            yield wrong(EXPIRED, said, days=round(left_days))
        elif left_days < site.limits.expiry_days_min:
            yield wrong(SOON, said, days=round(left_days))


def _of_tokens(config: Config) -> Iterator[Finding]:
    for peer in config.peers:
        if peer.dicomweb_token is None:
            continue
        if is_handed_over(peer.dicomweb_token):
            yield unknown(f"peers.{peer.name}.dicomweb_token: {HANDED_OVER}")
        elif not os.access(peer.dicomweb_token, os.R_OK):
            yield wrong(UNUSABLE, f"peers.{peer.name}.dicomweb_token: cannot be read")
        elif (peer.dicomweb or "").startswith("http://"):
            yield wrong(CLEAR, f"peers.{peer.name}.dicomweb")


CHECK = Check(
    id="tls-files",
    about="the box's own certificates",
    look=_look,
    faults=(UNUSABLE, EXPIRED, SOON, CLEAR),
    needs=("configuration", "clock"),
)
