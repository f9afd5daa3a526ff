"""Ask a peer whether it is there (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.presentation import PresentationContext

from dicom_node.dial import dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.storage_classes import VERIFICATION
from dicom_node.syntaxes import NATIVE
from dicom_node.values import Peer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class EchoResult:
    """Whether a peer answered C-ECHO with success, the log word, and its status if it gave one."""

    ok: bool
    word: str
    status: int | None


def echo(peer: Peer, *, calling_ae: str, limits: Limits) -> EchoResult:
    """Verify the connection to `peer` by one C-ECHO on an association of its own."""
    result = _echo(peer, calling_ae, limits)
    (log.info if result.ok else log.warning)(result.word, peer=peer.name, status=result.status)
    return result


def answers(peer: Peer, *, calling_ae: str, limits: Limits) -> bool:
    """Associate with `peer`, ask nothing, and tell whether it offers Verification.

    Raises:
        NoAssociation: it did not associate; one that took no context did.
    """
    try:
        with dial(peer, calling_ae=calling_ae, contexts=_contexts(), limits=limits):
            return True
    except NoAssociation as failure:
        if failure.reason == "no_context":
            return False
        raise


def _contexts() -> list[PresentationContext]:
    return [build_context(VERIFICATION, list(NATIVE))]


def _echo(peer: Peer, calling_ae: str, limits: Limits) -> EchoResult:
    """Return what became of the question."""
    try:
        with dial(peer, calling_ae=calling_ae, contexts=_contexts(), limits=limits) as line:
            request = C_ECHO()
            request.AffectedSOPClassUID = VERIFICATION
            context_id = next(iter(line.contexts.values()), None)
            response = None if context_id is None else line.ask(request, context_id)
    except NoAssociation as failure:
        return EchoResult(ok=False, word=f"echo.{failure.reason}", status=None)
    if response is None or response.Status is None:
        return EchoResult(ok=False, word="echo.no_reply", status=None)
    ok = response.Status == 0x0000
    return EchoResult(ok=ok, word="echo.ok" if ok else "echo.refused", status=response.Status)
