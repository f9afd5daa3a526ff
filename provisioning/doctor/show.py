"""What an examination came to, for a terminal, for a ticket and for a machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from appliance.cli.terms import BAD_USE, err, fail, out, print_json
from appliance.core import log
from appliance.core.clock import SYSTEM, as_text
from provisioning.doctor.check import Check
from provisioning.doctor.checks import CHECKS
from provisioning.doctor.examine import Examination
from provisioning.doctor.finding import Finding, State
from provisioning.doctor.site import Site

_MARKS: Final = {
    State.SOUND: "ok     ",
    State.ADVICE: "LOOK   ",
    State.FAULT: "WRONG  ",
    State.UNKNOWN: "unknown",
    State.NOT_LOOKED_AT: "-      ",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody asks the doctor for.

    Attributes:
        full: whether a marked object is stored in each destination and fetched back.
        only: checks to run, with those that they stand on; empty: all.
        ntp: the time server to compare the clock with.
    """

    config: Path | None = None
    full: bool = False
    only: Sequence[str] = ()
    ntp: str = ""
    as_json: bool = False


def doctor(asked: Asked) -> bool:
    """Examine an installation and tell of it; return whether nothing is wrong."""
    log.silence()
    site = Site.of(asked.config, ntp=asked.ntp)
    checks = chosen(asked, site)
    found = _watched(site, checks, as_json=asked.as_json)
    order = {check.id: number for number, check in enumerate(checks)}
    found.sort(key=lambda one: order[one.check])
    faults = [one for one in found if one.state is State.FAULT]
    if asked.as_json:
        print_json({"ok": not faults, "checks": [as_dict(one, site) for one in found]})
    else:
        _sum_up(found, site)
    return not faults


def chosen(asked: Asked, site: Site) -> list[Check]:
    """Return the checks that are to run: those asked for with all that they stand on, in their order."""
    known = {check.id: check for check in CHECKS}
    if strange := sorted(set(asked.only) - set(known)):
        fail(f"no check is called {', '.join(strange)}; there are: {', '.join(known)}", code=BAD_USE)
    wanted = set(asked.only) or {check.id for check in CHECKS if asked.full or not check.asked}
    while more := {need for name in wanted for need in known[name].needs} - wanted:
        wanted |= more
    has_site = site.path is not None
    return [check for check in CHECKS if check.id in wanted and (has_site or not check.of_site)]


def _watched(site: Site, checks: Sequence[Check], *, as_json: bool) -> list[Finding]:
    """Run the checks; at a terminal each line is shown as it comes, below them what is being looked at."""
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    found: list[Finding] = []
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("looking")
        examination = Examination(
            site=site, checks=checks, on_begin=lambda what: progress.update(task, description=what)
        )
        progress.update(task, total=examination.size)
        for some in examination.run():
            found += some
            progress.advance(task)
            for one in () if as_json else some:
                out.print(f"{_MARKS[one.state]}  {one.what}: {one.text}", markup=False)
    return found


def _sum_up(found: Sequence[Finding], site: Site) -> None:
    told = [one for one in found if one.fault is not None]
    for one in sorted(told, key=lambda each: each.state is State.ADVICE):
        assert one.fault is not None
        out.print(f"\n{_MARKS[one.state].strip()}  {one.fault.id} {one.subject}".rstrip(), style="bold")
        out.print(f"  found   {one.text}", markup=False)
        out.print(f"  means   {one.fault.cause}", markup=False)
        out.print(f"  to do   {one.fault.fix}", markup=False)
        out.print(f"  who     {one.fault.who}", markup=False)
        if one.state is State.FAULT:
            out.print(f"  ticket  {ticket_of(one, site)}", markup=False)
    counts = Counter(one.state for one in found)
    if not counts[State.FAULT]:
        out.print("\nNothing that was looked at is wrong.")
    said = ", ".join(f"{counts[state]} {state}" for state in State if counts[state])
    out.print(f"{len(found)} looks: {said}.", markup=False)


def ticket_of(finding: Finding, site: Site) -> str:
    """Return one line that tells whoever has to act what to do, without our pages."""
    assert finding.fault is not None
    box = "no configuration" if site.read is None else f"{site.read.site.name}, AE {site.read.dicom.ae_title}"
    about = f"{finding.fault.id} {finding.subject}".rstrip()
    return (
        f"[readside {about}] {finding.fault.cause}. Found: {finding.text}. Please: {finding.fault.fix}. "
        f"(For: {finding.fault.who}; box: {box}; {as_text(SYSTEM.now())}; readside {version('readside')})"
    )


def as_dict(finding: Finding, site: Site) -> dict[str, Any]:
    """Return a finding as JSON values."""
    fault = finding.fault
    return {
        "check": finding.check,
        "subject": finding.subject,
        "state": finding.state.value,
        "text": finding.text,
        "fault": None if fault is None else fault.id,
        "cause": "" if fault is None else fault.cause,
        "fix": "" if fault is None else fault.fix,
        "who": "" if fault is None else fault.who.value,
        "because": finding.because,
        "facts": dict(finding.facts),
        "ticket": "" if fault is None else ticket_of(finding, site),
    }
