"""The papers hold what is so: what an association offers, what listens, what is installed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil
import pytest
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.presentation import PresentationContext

from appliance.core.config import Config
from appliance.core.outputs import SOP_CLASSES, Output
from dicom_node.commitment import PUSH_MODEL
from dicom_node.find import find_contexts
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.notices import INSTANCE_AVAILABILITY, PERFORMED_STEP
from dicom_node.notices import Status as NoticeStatus
from dicom_node.send import Outgoing, send
from dicom_node.status import Status
from dicom_node.storage_classes import STORAGE_CLASSES, VERIFICATION
from dicom_node.syntaxes import OFFERED
from dicom_node.values import Peer
from provisioning.papers.commands import papers_of
from provisioning.papers.conformance import MEANINGS, NOTICE_MEANINGS, conformance_statement
from provisioning.papers.hazards import hazards
from provisioning.papers.sbom import bill_of_materials
from tests.dicom_node.samples import LIMITS, Shelf, serving
from tests.provisioning.host.test_flows import config
from tests.system.boxes import make_box, running

ROOT = Path(__file__).resolve().parents[3]
Pairs = set[tuple[str, str]]
_UID = re.compile(r"\d+(?:\.\d+)+")
_CONTEXTS_MAX = 128
_SENT: tuple[Output, ...] = ("sr", "seg", "pdf")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"(?m)^#+ (.+)$", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def pairs(section: str) -> Pairs:
    """Return the SOP class and the transfer syntax of each line of a table of contexts."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line
    ]
    return {(row[1], row[3]) for row in rows if len(row) == 5 and _UID.fullmatch(row[1])}


def taken(text: str) -> Pairs:
    return pairs(sections(text)["4.2.3 Association acceptance: presentation contexts accepted"])


def given(text: str) -> Pairs:
    return pairs(sections(text)["4.2.2 Association initiation: presentation contexts proposed"])


def everything() -> Iterator[tuple[str, str]]:
    """Propose more than anybody speaks: every storage class and service, in every syntax there is."""
    services = [
        PUSH_MODEL,
        INSTANCE_AVAILABILITY,
        PERFORMED_STEP,
        "1.2.840.10008.3.1.2.3.4",
        VERIFICATION,
        str(find_contexts()[0].abstract_syntax),
        "1.2.840.10008.5.1.4.31",
        "1.2.3.4",
    ]
    known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    for sop_class in sorted({*services, *known, *STORAGE_CLASSES}):
        for syntax in (*ALL_TRANSFER_SYNTAXES, *OFFERED, "1.2.840.10008.1.2.1.99", "1.2.3.5"):
            yield sop_class, str(syntax)


def accepted_by(port: int, calling_ae: str, called_ae: str) -> Pairs:
    found: Pairs = set()
    proposals = list(dict.fromkeys(everything()))
    entity = AE(calling_ae)
    entity.acse_timeout = 30
    for start in range(0, len(proposals), _CONTEXTS_MAX):
        contexts = [build_context(*pair) for pair in proposals[start : start + _CONTEXTS_MAX]]
        association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called_ae)
        assert association.is_established or association.rejected_contexts
        found |= {
            (str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts
        }
        association.release() if association.is_established else association.abort()
    return found


@pytest.mark.parametrize(("commit", "notify"), [(False, False), (True, True)])
def test_the_statement_lists_what_an_association_accepts(commit: bool, notify: bool) -> None:
    may = ["store", "notify"] if notify else ["store"]
    site = config(
        dicom={"ae_title": "BOX", "commit": commit},
        peers=[{"name": "ct", "ae_title": "CT1", "may": may}],
    )
    steward: Any = object() if commit else None
    clerk: Any = object() if notify else None
    listener = Listener(
        ae_title="BOX",
        host="127.0.0.1",
        port=0,
        peers=[Peer(name="ct", ae_title="CT1", host="", port=0, may=frozenset({"store"}))],
        intake=Shelf(),
        limits=LIMITS,
        steward=steward,
        clerk=clerk,
    )
    port = listener.start()
    try:
        found = accepted_by(port, "CT1", "BOX")
    finally:
        listener.stop()
    assert taken(conformance_statement(site, "0")) == found


def test_the_statement_lists_what_is_proposed_with_results() -> None:
    peers = [{"name": "pacs", "ae_title": "PACS", "host": "10.0.0.2", "port": 104, "outputs": list(_SENT)}]
    stated = given(conformance_statement(config(peers=peers), "0"))
    asked: Pairs = set()

    def requested(event: evt.Event) -> None:
        contexts: Sequence[PresentationContext] = event.assoc.requestor.requested_contexts
        asked.update((str(one.abstract_syntax), str(uid)) for one in contexts for uid in one.transfer_syntax)

    entity = AE("PACS")
    entity.supported_contexts = [build_context(uid) for uid in set(SOP_CLASSES.values())]
    objects = [
        Outgoing(
            sop_class_uid=SOP_CLASSES[output],
            sop_instance_uid=f"2.25.{number}",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            data=b"",
        )
        for number, output in enumerate(_SENT)
    ]
    with serving(entity, (evt.EVT_REQUESTED, requested)) as peer:
        list(send(peer, calling_ae="BOX", objects=objects, limits=LIMITS))
    assert asked == {pair for pair in stated if pair[0] in SOP_CLASSES.values()}


def test_who_may_be_asked_is_proposed_a_query() -> None:
    peer = {"name": "pacs", "ae_title": "PACS", "host": "10.0.0.2", "port": 104}
    query = str(find_contexts()[0].abstract_syntax)
    assert query not in {uid for uid, _ in given(conformance_statement(config(peers=[peer]), "0"))}
    may = peer | {"may": ["store", "query"]}
    stated = {uid for uid, _ in given(conformance_statement(config(peers=[may]), "0"))}
    assert query in stated
    assert "1.2.840.10008.5.1.4.1.2.2.2" in stated
    by_get = conformance_statement(config(peers=[may | {"retrieve": "get"}]), "0")
    assert "1.2.840.10008.5.1.4.1.2.2.3" in {uid for uid, _ in given(by_get)}
    assert "as an SCP (PS3.4 C.4.3)" in by_get


def test_each_status_is_explained_and_each_class_named() -> None:
    assert set(MEANINGS) == set(Status)
    assert set(NOTICE_MEANINGS) == set(NoticeStatus)
    text = conformance_statement(config(), "0")
    assert str(Limits().pdu_bytes_max) in text
    overview = sections(text)["1 Conformance statement overview"]
    unnamed = [line for line in overview.splitlines() if re.match(r"\| [\d.]+ \|", line)]
    assert unnamed == []
    assert "| CT Image Storage | 1.2.840.10008.5.1.4.1.1.2 | no | yes |" in overview


def test_the_port_list_is_what_listens(tmp_path: Path) -> None:
    with running(make_box(tmp_path, pacs_port=1)) as box:
        listed = papers_of(box.config, "0")["ports.md"]
        own = [psutil.Process(pid) for pid in box.service_pids().values() if pid is not None]
        listening = {
            one.laddr.port
            for process in own
            for each in (process, *process.children(recursive=True))
            for one in each.net_connections(kind="inet")
            if one.status == psutil.CONN_LISTEN
        }
    inwards = [line for line in listed.splitlines() if "| inwards |" in line]
    assert {int(line.split("|")[4]) for line in inwards} == listening


def test_what_goes_to_the_network_team_leaves_out_loopback() -> None:
    text = papers_of(config(console={"port": 8042}), "0")["firewall-request.md"]
    assert "8042" not in text
    assert "| ward | pacs (10.0.0.2) | TCP 104 |" in text
    assert "| any | ward | TCP 11112 |" in text


def test_the_bill_names_every_package_once() -> None:
    bill = bill_of_materials("readside", version("readside"))
    assert bill["bomFormat"] == "CycloneDX"
    names = [part["name"] for part in bill["components"]]
    assert len(names) == len(set(names))
    installed = {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower() for one in distributions()}
    assert set(names) == installed - {"readside"}
    assert {part["version"] for part in bill["components"] if part["name"] == "pydicom"} == {
        version("pydicom")
    }
    references = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {entry["ref"] for entry in bill["dependencies"]} == references
    assert bill == bill_of_materials("readside", version("readside"))
    licensed = sum("licenses" in part for part in bill["components"])
    assert licensed > len(names) * 0.9
    json.dumps(bill)


def test_each_measure_is_shown_by_a_test_that_is_there() -> None:
    found = hazards()
    assert len({one.id for one in found}) == len(found)
    assert [one.test for one in found if not (ROOT / one.test).exists()] == []


def test_answers_follow_the_configuration() -> None:
    files = dict.fromkeys(("certificate", "key", "ca"), "/etc/readside/x.pem")
    peers = [{"name": "pacs", "ae_title": "PACS", "host": "10.0.0.2", "port": 104, "tls": True}]
    plain = papers_of(config(), "0")["mds2.md"]
    secured = papers_of(config(dicom={"tls": files}, peers=peers), "0")["mds2.md"]
    assert "0 of 2 peers show a certificate" in plain
    assert "1 of 1 peers show a certificate" in secured
    assert "for 7 days" in plain


def test_nothing_breaks_a_table() -> None:
    site: Config = config(site={"name": "a | b"})
    for name, text in papers_of(site, "0").items():
        for line in text.splitlines() if name.endswith(".md") else ():
            if line.startswith("|"):
                assert line.endswith("|")


def test_the_statement_says_whether_a_worklist_is_spoken_with():
    peers = [{"name": "pacs", "ae_title": "PACS", "host": "10.0.0.2", "port": 104, "may": ["store", "query"]}]
    worklist = {"url": "https://worklist.example/web", "station": "BOX"}
    told = sections(conformance_statement(config(worklist=worklist, peers=peers), "1"))[
        "8.4 Worklist (UPS-RS)"
    ]
    assert "| Search for Workitems | 11.9 |" in told
    assert "polls" in told
    assert sections(conformance_statement(config(), "1"))["8.4 Worklist (UPS-RS)"].strip() == "Not spoken."
