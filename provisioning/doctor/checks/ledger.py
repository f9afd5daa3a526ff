"""The ledger: there, and opened as a service would open it."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.ledger.engine import LedgerRefused, open_ledger
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.site import Site

MISSING = Fault(
    id="ledger.missing",
    cause="the ledger is not there yet",
    fix="start the box once: `readside run`; opening makes it, and that is for the user the box runs as",
    who=Who.TECHNICIAN,
)
REFUSED = Fault(
    id="ledger.refused",
    cause="the ledger cannot be opened",
    fix="do what the sentence says; images are not lost with a ledger, their rows are made again from files",
    who=Who.TECHNICIAN,
)


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    config = site.config
    if not config.ledger.url and not (site.root / "ledger.sqlite3").is_file():
        yield wrong(MISSING, "no ledger.sqlite3 lies in the storage root")
        return
    try:
        ledger = open_ledger(config.ledger_url)
    except LedgerRefused as error:
        yield wrong(REFUSED, str(error))
        return
    dialect = ledger.dialect
    ledger.close()
    yield sound(f"opens ({dialect})")


CHECK = Check(
    id="ledger",
    about="the ledger",
    look=_look,
    faults=(MISSING, REFUSED),
    needs=("writable",),
    # A ledger of another version is brought to this one first.
    seconds_max=60.0,
)
