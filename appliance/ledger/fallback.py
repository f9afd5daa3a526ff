"""What goes to a destination in the place of an object that it turned out not to take.

Promises: the refused delivery ends in the transaction that gives its stand-in one, so nothing is in between;
a refusal is remembered, so that the next result is made for what the peer takes.
Never: makes an object; what stands in was frozen with the result.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.core.outputs import INSTEAD
from appliance.core.words import DeliveryState
from appliance.ledger import acceptances, deliveries, results
from appliance.ledger.deliveries import Parcel
from appliance.ledger.engine import Tx
from appliance.ledger.results import ResultObject
from appliance.ledger.tables import deliveries as rows


def no_context(tx: Tx, parcel: Parcel, *, at: float) -> bool:
    """Record that a peer took no context for an object, and send what stands in for it.

    Returns false, with the delivery as it was, when nothing does.
    """
    pair = (parcel.item.sop_class_uid, parcel.item.transfer_syntax_uid)
    acceptances.refused(tx, parcel.peer, pair, at=at)
    stand_ins = _stand_ins(tx, parcel)
    if not stand_ins:
        return False
    wanted = parcel.instead_of or parcel.item.output
    if deliveries.stood_in(tx, parcel, output=stand_ins[0].output, wanted=wanted, at=at):
        for item in stand_ins:
            _address(tx, item, parcel.peer, wanted=wanted, at=at)
    return True


def _stand_ins(tx: Tx, parcel: Parcel) -> list[ResultObject]:
    """Return the first objects along the chain that the peer may take and did not refuse."""
    answer = acceptances.answer_of(tx, parcel.peer)
    made = results.objects_of(tx, parcel.item.result_id)
    output = INSTEAD.get(parcel.item.output)  # type: ignore[call-overload]  # the ledger's outputs are text
    while output is not None:
        found = [item for item in made if item.output == output]
        if found and answer.takes_output(output) is not False and not _refused(tx, found, parcel.peer):
            return found
        output = INSTEAD.get(output)
    return []


def _refused(tx: Tx, items: list[ResultObject], peer: str) -> bool:
    """Say whether one of several objects ended at a peer without having been accepted."""
    ended = rows.c.state.in_([DeliveryState.DEAD, DeliveryState.SETTLED])
    query = sa.select(rows.c.id).where(rows.c.peer == peer, ended)
    return tx.execute(query.where(rows.c.object_id.in_([item.id for item in items]))).first() is not None


def _address(tx: Tx, item: ResultObject, peer: str, *, wanted: str, at: float) -> None:
    """Give an object a delivery, or note on the one that it has what else it is there for."""
    mine = (rows.c.object_id == item.id, rows.c.peer == peer)
    if tx.execute(sa.select(rows.c.id).where(*mine)).first() is None:
        tx.execute(rows.insert().values(**results.new_delivery(item.id, peer, at=at, instead_of=wanted)))
    else:
        tx.execute(sa.update(rows).where(*mine, rows.c.instead_of.is_(None)).values(instead_of=wanted))
