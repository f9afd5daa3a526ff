"""Take one N-EVENT-REPORT of the Push Model to a status (PS3.4 J.3.3), on whichever association it came.

Promises: success is answered after the report was taken; a report of a request that was never made of this
peer changes nothing (F55).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import structlog
from pynetdicom import evt

from dicom_node.commitment import (
    ALL_COMMITTED,
    FAILURES_EXIST,
    PUSH_MODEL_INSTANCE,
    Report,
    Status,
    Unsound,
    read_report,
)
from dicom_node.limits import Limits
from dicom_node.values import Peer, short

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import N_EVENT_REPORT

log = structlog.get_logger(__name__)


def take_report(event: evt.Event, peer: Peer, on_report: Callable[[Report], bool], limits: Limits) -> int:
    """Judge a report, hand it on, and return the status to answer."""
    try:
        report = _read(event, limits)
        if not on_report(report):
            raise Unsound(Status.INVALID_ARGUMENT, "confirm.unknown_transaction")
    except Unsound as fault:
        log.warning(fault.word, peer=peer.name, status=f"{fault.status:04X}")
        return fault.status.value
    # The loop of an association: what nobody foresaw must answer the peer, which reports again.
    except Exception as fault:  # noqa: BLE001
        log.error("confirm.our_fault", peer=peer.name, error=type(fault).__name__)
        return Status.PROCESSING_FAILURE.value
    log.info(
        "confirm.reported",
        peer=peer.name,
        transaction=short(report.transaction_uid),
        committed=len(report.committed),
        failed=len(report.failed),
    )
    return Status.TAKEN.value


def _read(event: evt.Event, limits: Limits) -> Report:
    request = cast("N_EVENT_REPORT", event.request)
    if str(request.AffectedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
        raise Unsound(Status.NO_SUCH_INSTANCE, "confirm.wrong_instance")
    if request.EventTypeID not in (ALL_COMMITTED, FAILURES_EXIST):
        raise Unsound(Status.NO_SUCH_EVENT, "confirm.wrong_event")
    return read_report(request.EventInformation, str(event.context.transfer_syntax), limits)
