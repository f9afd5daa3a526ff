"""The backup: how old it is, by the mark that whoever makes it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.clock import SYSTEM, as_text
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.site import Site

OLD = Fault(
    id="backup.old",
    cause="the last backup of the ledger and the results is old",
    fix="look why the backup does not run; it touches `backup.done` in the storage root when it ended well",
    who=Who.TECHNICIAN,
)
MARK = "backup.done"
_DAY_SECONDS = 86_400.0


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    try:
        made_at = (site.root / MARK).stat().st_mtime
    except OSError:
        yield unknown(f"nobody marks its end: let the backup touch {MARK} in the storage root")
        return
    days = (SYSTEM.now() - made_at) / _DAY_SECONDS
    said = f"the last ended at {as_text(made_at)}, {days:.1f} days ago"
    yield wrong(OLD, said) if days > site.limits.backup_days_max else sound(said)


CHECK = Check(
    id="backup", about="the age of the backup", look=_look, faults=(OLD,), needs=("storage", "clock")
)
