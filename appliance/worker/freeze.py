"""Freeze a result: its objects' bytes to the spool, and away again if the ledger did not take it."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.crash import crash_here
from appliance.disk.durable import remove_file
from appliance.ledger.results import ResultObject
from appliance.results.context import EncodedObject
from appliance.spool.record import Record, digest_of
from appliance.spool.store import Spool


def freeze(spool: Spool, made: Sequence[EncodedObject], *, ae_title: str, at: float) -> list[ResultObject]:
    """Write every object's bytes; durable on return, meaningless until the ledger names them.

    Raises:
        NoSpace, DiskFault: see `appliance.disk.durable`.
    """
    return [_freeze_one(spool, item, ae_title, at) for item in made]


def _freeze_one(spool: Spool, item: EncodedObject, ae_title: str, at: float) -> ResultObject:
    digest = digest_of(item.data)
    record = Record(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        calling_ae=ae_title,
        received_at=at,
        length=len(item.data),
        digest=digest,
    )
    with spool.begin() as writing:
        writing.write(item.data)
        location = writing.commit(record)
    crash_here("frozen-one")
    return ResultObject(
        output=item.output,
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        series_uid=item.series_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
        series_description=item.series_description,
        modality=item.modality,
        digest=digest,
        location=location,
        preview_file=None if item.preview_png is None else spool.keep_beside(item.preview_png, ".png"),
    )


def thaw(spool: Spool, frozen: Sequence[ResultObject]) -> None:
    """Remove what was frozen for a result that the ledger did not take."""
    for item in frozen:
        spool.remove(item.location)
        if item.preview_file is not None:
            remove_file(spool.root / item.preview_file)
