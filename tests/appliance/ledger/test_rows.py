"""The verbs' small pieces: inserting unless there, and instances as rows and back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from appliance.ledger import arrivals, studies
from appliance.ledger.rows import insert_unless_there, instance_values
from appliance.ledger.tables import instances, services
from tests.appliance.ledger import given

ROW = {"name": "worker", "pid": 1, "started_at": 1.0, "beat_at": 1.0, "detail": {}}


def test_an_insert_says_whether_it_happened(ledger):
    with ledger.write() as tx:
        assert insert_unless_there(tx, services, ROW)
        assert not insert_unless_there(tx, services, ROW | {"pid": 2})
        assert tx.execute(sa.select(services.c.pid)).scalars().all() == [1]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"PatientName": "Müller^Jörg=山田^太郎", "ImageType": ["ORIGINAL", "PRIMARY"], "Rows": 512},
        {"ImagePositionPatient": [-125.0, 1e-7, -1234.5678901234567], "SeriesNumber": 2**31},
        {"SeriesDescription": "a\\b'c\"d;--\n"},
    ],
)
def test_an_instance_comes_back_as_it_was(ledger, facts):
    slice_ = given.instance(facts=facts or {"Modality": "OT"})
    with ledger.write() as tx:
        arrivals.add(tx, slice_, calling_ae="CT1", at=given.NOW)
        assert studies.instances_of(tx, given.STUDY) == [slice_]


def test_every_field_of_an_instance_has_its_column():
    assert set(instance_values(given.instance())) <= {column.name for column in instances.columns}


def test_offsets_beyond_four_gigabytes_are_kept(ledger):
    with ledger.write() as tx:
        arrivals.add(tx, given.instance(), calling_ae="CT1", at=given.NOW)
        tx.execute(sa.update(instances).values(offset=2**40, length=2**41))
        (found,) = studies.instances_of(tx, given.STUDY)
    assert (found.location.offset, found.location.length) == (2**40, 2**41)
