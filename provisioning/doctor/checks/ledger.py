"""The ledger: there, and opened as a service would open it."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.ledger import soundness
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
DAMAGED = Fault(
    id="ledger.damaged",
    cause="the ledger's file is damaged: a failing disk or memory, or a copy taken while it was open",
    fix="stop the box, keep a copy of the file and its -wal, and restore the ledger from a backup; or move it"
    " away: the rows of images are made again from files, and the studies are judged again",
    who=Who.TECHNICIAN,
)
_SECONDS_MAX = 60.0


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
    # Half of the time is for opening it.
    found = soundness.look(config.ledger_url, seconds_max=_SECONDS_MAX / 2)
    if found.faults:
        yield wrong(DAMAGED, f"SQLite says: {found.faults[0]}")
        return
    yield sound(
        f"opens ({dialect})" if found.is_whole else f"opens ({dialect}); too large to look through now"
    )


CHECK = Check(
    id="ledger",
    about="the ledger",
    look=_look,
    faults=(MISSING, REFUSED, DAMAGED),
    needs=("writable",),
    # A ledger of another version is brought to this one first.
    seconds_max=_SECONDS_MAX,
)
