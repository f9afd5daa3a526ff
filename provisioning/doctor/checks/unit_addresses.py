"""The addresses that the units and the firewall let through: those of the configuration as it stands now.

The doctor runs beside the units, so a peer may answer it that no service may speak with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, unknown, wrong
from provisioning.doctor.site import Site
from provisioning.host.commands import DROP_IN, TABLE
from provisioning.host.firewall import UnknownName, firewall_of, nameservers_of
from provisioning.host.flows import flows_of

OUTDATED = Fault(
    id="unit-addresses.outdated",
    cause="the units or the firewall let other addresses through than the configuration names: a peer may "
    "answer here and not the box",
    fix="`readside provision firewall --out /` as root, then restart the target",
    who=Who.TECHNICIAN,
)
_PLACES: Final = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    machine = site.machine
    if not any(machine.path(f"{place}/readside-.service.d").is_dir() for place in _PLACES):
        yield unknown("the units of this version are not installed here")
        return
    config = site.config
    try:
        made = firewall_of(
            flows_of(config),
            storage_root=str(config.storage.root),
            nameservers=nameservers_of(machine.text("etc/resolv.conf")),
        )
    except UnknownName as error:
        yield not_looked_at(f"the host {error} has no address")
        return
    wanted = {DROP_IN.format(name): text for name, text in made.units.items()}
    # Not every site keeps our table; one that is there has to be the right one.
    wanted |= {str(TABLE): made.table} if machine.path(str(TABLE)).is_file() else {}
    others = [path for path, text in wanted.items() if machine.text(path) != text]
    if others:
        yield wrong(OUTDATED, f"{len(others)} of {len(wanted)} files differ, first /{others[0]}")
    else:
        yield sound(f"{len(wanted)} files are those of the configuration")


CHECK = Check(
    id="unit-addresses",
    about="what the units let through",
    look=_look,
    faults=(OUTDATED,),
    needs=("configuration",),
    seconds_max=30.0,
)
