"""The worklist: its address, what it proves itself with, and whether it lets the box search (PS3.18 11.9).

Nothing of an answer is told or kept: it is about patients.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.assemble.assigned import searches
from appliance.services.wire import worklist_peer
from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.ups import UpsClient
from dicom_node.limits import Limits
from provisioning.doctor.check import Check
from provisioning.doctor.checks.tls_files import HANDED_OVER, is_handed_over
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.site import Site

UNREACHABLE = Fault(
    id="worklist.unreachable",
    cause="the worklist cannot be reached: no workitem is claimed, and those that are done are not ended",
    fix="compare `url` in `[worklist]`, and open the firewall from the box to it",
    who=Who.NETWORK,
)
UNPROVEN = Fault(
    id="worklist.unproven",
    cause="the worklist does not prove itself, or does not trust the box's certificate: it is asked nothing",
    fix="compare the issuers; put the right authority into `ca` of `[dicom.tls]`, or have one renewed",
    who=Who.TECHNICIAN,
)
UNAUTHORISED = Fault(
    id="worklist.unauthorised",
    cause="the worklist does not let the box in",
    fix="have a token issued for the box and put it into the file that `token` in `[worklist]` names",
    who=Who.PACS,
)
NOT_THERE = Fault(
    id="worklist.not-there",
    cause="there is no worklist at the address",
    fix="`url` in `[worklist]` is the service's root, which `/workitems` follows: ask for it",
    who=Who.TECHNICIAN,
)
NO_ANSWER = Fault(
    id="worklist.no-answer",
    cause="the worklist does not answer a search as PS3.18 has it",
    fix="send the ticket's line to whoever runs it: the box asks by state, station code and workitem code",
    who=Who.PACS,
)
_FAULT_OF = {
    "worklist.unreachable": UNREACHABLE,
    "worklist.no_reply": UNREACHABLE,
    "worklist.aborted": UNREACHABLE,
    "worklist.unauthorised": UNAUTHORISED,
    "worklist.token_file": UNAUTHORISED,
    "worklist.not_found": NOT_THERE,
    "worklist.redirected": NOT_THERE,
}


def _look(site: Site, _url: str) -> Iterator[Finding]:
    tls = site.config.dicom.tls
    if tls is not None and is_handed_over(tls.key):
        yield not_looked_at(HANDED_OVER)
        return
    seconds = site.limits.answer_seconds_max
    limits = Limits(connect_seconds_max=site.limits.connect_seconds_max, dimse_seconds_max=seconds)
    client = UpsClient(
        worklist_peer(site.config),
        requester=site.config.dicom.ae_title,
        limits=limits,
        web=WebLimits(ups_seconds_max=seconds),
    )
    for station, code in searches(site.config.worklist):
        if (word := client.search(station=station, code=code).word) is not None:
            fault = UNPROVEN if word.startswith("worklist.tls_") else _FAULT_OF.get(word, NO_ANSWER)
            yield wrong(fault, f"a search came to `{word}`")
            return
    yield sound("the worklist answers what the box asks")


def _each(site: Site) -> list[str]:
    return [site.config.worklist.url] if site.config.worklist.url is not None else []


CHECK = Check(
    id="worklist",
    about="the worklist",
    look=_look,
    faults=(UNREACHABLE, UNPROVEN, UNAUTHORISED, NOT_THERE, NO_ANSWER),
    needs=("configuration", "clock"),
    after=("tls-files",),
    each=_each,
    seconds_max=60.0,
)
