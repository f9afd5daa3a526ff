"""The audit trail: its chain of hashes and its signed checkpoints, from the first row to the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from appliance.audit.checkpoint import KeyFault, folder_of, public_key_path, read_public_key
from appliance.audit.verify import verify
from appliance.ledger.engine import open_ledger
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.site import Site

BROKEN = Fault(
    id="audit.broken",
    cause="the audit trail was changed, or a part of it is missing",
    fix="keep the ledger as it is and tell who answers for data protection; see `readside audit verify`",
    who=Who.US,
)
KEY = Fault(
    id="audit.key",
    cause="the key that the audit trail is proven with cannot be read",
    fix="put `audit/key.pub.pem` back from where it was kept; without it the trail proves nothing",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    folder = folder_of(site.root)
    public = public_key_path(folder)
    if not folder.is_dir():
        yield not_looked_at("there is no trail yet: the audit service has not run")
        return
    try:
        key = read_public_key(public)
    except KeyFault as error:
        yield wrong(KEY, str(error))
        return
    with closing(open_ledger(site.config.ledger_url)) as ledger:
        report = verify(ledger, key, folder=folder)
    if report.ok:
        yield sound(f"{report.rows} rows hold, {report.checkpoints} checkpoints", rows=report.rows)
    else:
        yield wrong(BROKEN, report.fault, rows=report.rows)


CHECK = Check(
    id="audit",
    about="the audit trail",
    look=_look,
    faults=(BROKEN, KEY),
    needs=("ledger",),
    # Some hundred thousand rows.
    seconds_max=60.0,
)
