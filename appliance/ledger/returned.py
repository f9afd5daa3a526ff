"""What arrives and is no reason to judge a study anew: own results, and late objects without images.

Promises: an object that the box made itself is known by its SOP Instance UID, and by its digest whether
someone changed it on the way; each result that comes back is one line of the timeline.
Never: lets such an arrival reopen a study; loses one (the row of the instance is there already).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Instance
from appliance.core.words import StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import instances, objects, results, series, studies

# PS3.4 B.5: presentation states, waveforms, assessments and stacks, reports and key object selections, raw
# data, segmentations, surfaces and registrations, real world values, encapsulated documents. And those of
# radiotherapy, of which RT Image alone is an image.
_FAMILIES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{family}."
    for family in ("9", "11", "66", "67", "68", "79", "80", "88", "90", "104", "481")
)
_PARAMETRIC_MAP, _RAW_DATA = "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.66"
_REAL_WORLD_VALUES, _RT_IMAGE = "1.2.840.10008.5.1.4.1.1.67", "1.2.840.10008.5.1.4.1.1.481.1"
_SINGLE = frozenset((_PARAMETRIC_MAP, _RAW_DATA, _REAL_WORLD_VALUES))
_DECIDED = (StudyState.DECIDED, StudyState.CLOSED)


def is_derived(sop_class_uid: str) -> bool:
    """Say whether a SOP class says something of images and is none that a model could be given."""
    named = sop_class_uid in _SINGLE or sop_class_uid.startswith(_FAMILIES)
    return named and sop_class_uid != _RT_IMAGE


def stands_aside(tx: Tx, instance: Instance, *, at: float) -> bool:
    """Say whether an instance, whose row is there, leaves its study as it stands; note that it came."""
    state = tx.execute(
        sa.select(studies.c.state).where(studies.c.study_uid == instance.study_uid)
    ).scalar_one_or_none()
    if state is None:
        return False
    own = tx.execute(
        sa.select(objects).where(objects.c.sop_instance_uid == instance.sop_instance_uid)
    ).one_or_none()
    if own is not None:
        _came_home(tx, instance, own, at)
        return True
    if state not in _DECIDED or not is_derived(instance.sop_class_uid):
        return False
    _beside(tx, instance, at)
    return True


def came_home(instance_uid: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Write the condition that an instance is an object that the box made."""
    return sa.exists().where(objects.c.sop_instance_uid == instance_uid)


def count(tx: Tx) -> int:
    """Count the kept instances that are the box's own results."""
    query = sa.select(sa.func.count()).select_from(instances)
    return int(tx.execute(query.where(came_home(instances.c.sop_instance_uid))).scalar_one())


def _came_home(tx: Tx, instance: Instance, own: Any, at: float) -> None:
    """Note once for each result that it came back, and each object that was changed on the way."""
    detail = {"result": own.result_id, "output": own.output}
    if instance.digest != own.digest:
        events.add(tx, "result.returned_changed", at=at, study_uid=instance.study_uid, **detail)
    elif not _others_came(tx, instance, own.result_id):
        route = tx.execute(sa.select(results.c.route).where(results.c.id == own.result_id)).scalar_one()
        events.add(
            tx, "result.returned", at=at, study_uid=instance.study_uid, result=own.result_id, route=route
        )


def _others_came(tx: Tx, instance: Instance, result_id: int) -> bool:
    query = (
        sa.select(instances.c.id)
        .join(objects, objects.c.sop_instance_uid == instances.c.sop_instance_uid)
        .where(instances.c.study_uid == instance.study_uid, objects.c.result_id == result_id)
        .where(instances.c.sop_instance_uid != instance.sop_instance_uid)
        .limit(1)
    )
    return tx.execute(query).first() is not None


def _beside(tx: Tx, instance: Instance, at: float) -> None:
    """Give a late object's series a row, complete as it is: it is measured when images reopen the study."""
    key = {"study_uid": instance.study_uid, "series_uid": instance.series_uid}
    times = {"first_at": at, "last_at": at, "complete_at": at}
    if insert_unless_there(tx, series, key | times):
        modality = str(instance.facts.get("Modality") or "")[:16]
        events.add(tx, "assemble.beside", at=at, study_uid=instance.study_uid, modality=modality)
