"""Make an instance's row again from its bytes and the record beside them.

Promises: a row says of bytes what their receipt would have said.
Never: believes a record whose bytes are others.
"""

from __future__ import annotations

from appliance.core.instance import Location
from appliance.spool.keeper import Row, instance_of
from appliance.spool.record import Record, RecordFault, digest_of
from dicom_node.limits import Limits
from dicom_node.preflight import inspect, scan


def row_of(data: memoryview, record: Record, location: Location, wire: Limits) -> Row:
    """Return the row of an instance; a record without a digest was checked by who read it.

    Raises:
        RecordFault: the bytes are not those that were kept.
        Refusal: the bytes are no instance; they never were, or the record lies.
    """
    digest = digest_of(data)
    if len(data) != record.length or record.digest not in ("", digest):
        raise RecordFault("the bytes are not those that were kept")
    header = inspect(
        data,
        scan(data, record.transfer_syntax_uid, wire),
        sop_class_uid=record.sop_class_uid,
        sop_instance_uid=record.sop_instance_uid,
    )
    instance = instance_of(header, location, digest)
    return Row(instance=instance, calling_ae=record.calling_ae, received_at=record.received_at)
