"""What no honest sender does: a C-STORE whose data set is announced and empty."""

from __future__ import annotations

import queue
from io import BytesIO
from typing import Any

from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from appliance.demo.box import BOX_AE
from dicom_node.send import Outgoing
from tests.system.dcmtk import MODALITY_AE

_LAST_FRAGMENT_OF_DATA_SET = b"\x02"
_ANSWER_SECONDS_MAX = 20.0


def store_nothing(port: int, item: Outgoing) -> int:
    """Announce an image and send not one byte of it; return the status that comes back."""
    answers: queue.Queue[int] = queue.Queue()

    def heard(event: evt.Event) -> None:
        answers.put(int(event.message.command_set.Status))

    association = AE(ae_title=MODALITY_AE).associate(
        "127.0.0.1",
        port,
        contexts=[build_context(item.sop_class_uid, item.transfer_syntax_uid)],
        ae_title=BOX_AE,
        evt_handlers=[(evt.EVT_DIMSE_RECV, heard)],
    )
    assert association.is_established
    try:
        for part in _parts(item):
            association.dul.send_pdu(part)
        return answers.get(timeout=_ANSWER_SECONDS_MAX)
    finally:
        association.abort()


def _parts(item: Outgoing) -> list[P_DATA]:
    """Encode the command, and the data set as one last fragment without a byte (PS3.8 9.3.5.1)."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID = item.sop_class_uid
    request.AffectedSOPInstanceUID = item.sop_instance_uid
    request.DataSet = BytesIO(b"")
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    nothing = P_DATA()
    fragments: list[Any] = [[1, _LAST_FRAGMENT_OF_DATA_SET]]
    nothing.presentation_data_value_list = fragments
    return [*message.encode_msg(1, 16384), nothing]
