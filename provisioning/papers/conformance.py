"""The DICOM Conformance Statement of a box, in the form of PS3.2, from the code and its configuration.

Promises: the SOP classes and transfer syntaxes in it are those of `services`, which reads what negotiates.
Never: says of a service that it is there because it is planned.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.config import Config
from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.services.promising import is_spoken as speaks_commitment
from dicom_node.limits import Limits
from dicom_node.notices import Status as NoticeStatus
from dicom_node.status import Status
from dicom_node.storage_classes import name_of
from dicom_node.values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from provisioning.papers.page import page
from provisioning.papers.services import (
    Offer,
    accepted,
    proposed,
    retrieves_by_get,
)

# PS3.4 B.2.3, PS3.7 Annex C: what each status of a C-STORE means to its sender.
MEANINGS = {
    Status.KEPT: "the bytes are durable on this device",
    Status.OUR_FAULT: "a fault of this device; the comment carries a number for the log",
    Status.CLASS_NOT_SUPPORTED: "the SOP class is not stored here",
    Status.NOT_AUTHORISED: "this peer may not store here",
    Status.NO_SPACE: "the disk has no room above its floor; send again later",
    Status.STORAGE_FAULT: "the disk failed; send again later",
    Status.DRAINING: "the device is being stopped; send again later",
    Status.CLASS_MISMATCH: "command and data set name different SOP classes",
    Status.NOT_READABLE: "the data set is truncated, wrongly framed, or in another transfer syntax",
    Status.UID_INVALID: "a UID is missing or malformed",
    Status.UID_MISMATCH: "command and data set name different instances",
    Status.BOUND_EXCEEDED: "the data set is nested deeper or is wider than this device reads",
}
# PS3.7 Annex C, PS3.4 F.7.2: the same of an N-CREATE or N-SET that says what belongs to a study.
NOTICE_MEANINGS = {
    NoticeStatus.TAKEN: "the notice is durable on this device",
    NoticeStatus.INVALID_VALUE: "not readable, a malformed UID or status, or a new step not in progress",
    NoticeStatus.PROCESSING_FAILURE: "with Error ID A506: the step has ended; else a fault of this device",
    NoticeStatus.DUPLICATE_INSTANCE: "a notice of this peer has this UID already; nothing changed",
    NoticeStatus.NO_SUCH_INSTANCE: "this peer created no such step",
    NoticeStatus.INVALID_INSTANCE: "the SOP Instance UID is missing or malformed",
    NoticeStatus.NO_SUCH_CLASS: "the SOP class is not that of the presentation context",
    NoticeStatus.MISSING_ATTRIBUTE: "a study, a series or an instance is not named",
    NoticeStatus.MISSING_VALUE: "a sequence that has to name something is empty",
    NoticeStatus.NOT_AUTHORISED: "this peer may not notify",
    NoticeStatus.RESOURCE_LIMITATION: "more is named than this device takes, in one notice or in all",
}
_CREATED = {
    "sr": "Comprehensive 3D SR, TID 1500 Measurement Report: findings, measurements, regions",
    "sr-cornerstone": "the same report as viewers built on Cornerstone draw it",
    "seg": "Segmentation, BINARY: a segment for each finding's region",
    "seg-fractional": "Segmentation, FRACTIONAL",
    "seg-labelmap": "Label Map Segmentation",
    "gsps": "Grayscale Softcopy Presentation State: outlines over the images",
    "sc": "Secondary Capture: pictures with outlines",
    "text-sr": "Enhanced SR, TID 2000 Basic Diagnostic Imaging Report: sentences",
    "pdf": "Encapsulated PDF",
    "pmap": "Parametric Map",
    "kos": "Key Object Selection of the images with findings",
    "iocm": "Key Object Selection, a rejection note for a result that was replaced (IHE IOCM)",
}


def conformance_statement(config: Config, version: str) -> str:
    """Return the statement as Markdown."""
    ins, outs = accepted(config), proposed(config)
    return page(
        "conformance",
        version=version,
        title=config.dicom.ae_title,
        overview=_overview(ins, outs),
        policies=_policies(config),
        initiates=_contexts(outs),
        takes=_contexts(ins),
        by_get=retrieves_by_get(config),
        statuses=[(f"{status:04X}", MEANINGS[status]) for status in Status],
        ports=_ports(config),
        peers=_peers(config),
        tls=config.dicom.tls is not None,
        audit_host=config.audit.host,
        created=_created(config),
        commits=config.dicom.commit,
        commitment=speaks_commitment(config),
        notifiers=[peer.ae_title for peer in config.peers if "notify" in peer.may],
        notice_statuses=[(f"{status:04X}", NOTICE_MEANINGS[status]) for status in NoticeStatus],
        worklist=config.worklist.url is not None,
    )


def _overview(ins: Sequence[Offer], outs: Sequence[Offer]) -> list[tuple[str, str, str, str]]:
    """Return each SOP class once, with whether the device is its SCU and its SCP."""
    as_scp, as_scu = ({offer.sop_class for offer in offers} for offers in (ins, outs))
    names = {offer.sop_class: offer.name for offer in (*ins, *outs)}
    return [(name, uid, _said(uid in as_scu), _said(uid in as_scp)) for uid, name in names.items()]


def _policies(config: Config) -> list[tuple[str, object]]:
    limits, at_once = Limits(), config.dicom.max_associations
    return [
        ("Application context", "1.2.840.10008.3.1.1.1"),
        ("Implementation class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation version name", IMPLEMENTATION_VERSION_NAME),
        ("Maximum PDU size, received and sent", f"{limits.pdu_bytes_max} bytes"),
        ("Associations accepted at once, each port", at_once),
        ("Connections accepted from one address", max(limits.connections_per_address_max, at_once)),
        ("Asynchronous operations window", "not negotiated: one operation at a time"),
        ("User identity negotiation, as acceptor", _users(config, "shows_user")),
        ("User identity negotiation, as requestor", _users(config, "user")),
        ("ARTIM", f"{limits.acse_seconds_max:g} s"),
        ("Silence before an association is aborted", f"{limits.network_seconds_max:g} s"),
        ("Largest instance", f"{limits.instance_bytes_max // 2**20} MiB"),
    ]


def _users(config: Config, key: str) -> str:
    """Say which peers a user is shown to, or by (PS3.7 D.3.3.7)."""
    kinds = {
        peer.name: "user name" if getattr(peer, f"{key}_passcode") is None else "user name and passcode"
        for peer in config.peers
        if getattr(peer, key) is not None
    }
    if not kinds:
        return "ignored when it comes" if key == "shows_user" else "not used"
    said = "; ".join(f"{name}: {kind}" for name, kind in sorted(kinds.items()))
    return f"{said}; no answer is {'given' if key == 'shows_user' else 'asked for'}"


def _contexts(offers: Sequence[Offer]) -> list[tuple[str, str, str, str, str]]:
    return [
        (offer.name, offer.sop_class, name_of(syntax), syntax, offer.role)
        for offer in offers
        for syntax in offer.syntaxes
    ]


def _ports(config: Config) -> list[str]:
    tls = config.dicom.tls
    plain = [f"{config.dicom.port}, without TLS"] if tls is None or tls.plain else []
    return plain if tls is None else [*plain, f"{tls.port}, TLS"]


def _peers(config: Config) -> list[tuple[object, ...]]:
    return [
        (peer.ae_title, peer.host or "any", peer.port or "", ", ".join(peer.may), _said(peer.tls))
        for peer in config.peers
    ]


def _created(config: Config) -> list[tuple[str, str, str, str]]:
    wanted = {output for peer in config.peers for output in peer.outputs}
    return [(output, _CREATED[output], SOP_CLASSES[output], _said(output in wanted)) for output in OUTPUTS]


def _said(yes: bool) -> str:
    return "yes" if yes else "no"
