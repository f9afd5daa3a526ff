"""Why an association that we asked for did not come about (PS3.8 7.1, 9.3.3, 9.3.4).

Promises: a peer that rejected is quoted, also where its end of the connection came with the rejection.
Never: ends an association; `dicom_node.dial` does.
"""

from __future__ import annotations

from typing import Final

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

# PS3.8 9.3.3.2: user rejection, abstract syntax or transfer syntax not supported. "No reason" may pass.
_REFUSED_FOR_GOOD: Final = frozenset({1, 3, 4})


def failure_of(association: Association, connected: bool) -> str:
    """Say why an association did not come about."""
    if not connected:
        return "unreachable"
    if association.is_rejected:
        return "rejected"
    if any(context.result in _REFUSED_FOR_GOOD for context in association.rejected_contexts):
        return "no_context"
    return "aborted"


def rejection_of(association: Association) -> tuple[int, int, int] | None:
    """Return the numbers of an A-ASSOCIATE-RJ (PS3.8 9.3.4); None when none came.

    Where it comes with the end of the connection the library may see the end first: then it lies unread.
    """
    heard = [association.acceptor.primitive, *association.dul.to_user_queue.queue]
    said = next((one for one in heard if isinstance(one, A_ASSOCIATE) and one.result), None)
    if said is None or said.result is None:
        return None
    return int(said.result), int(said.result_source or 0), int(said.diagnostic or 0)
