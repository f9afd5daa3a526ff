"""A notice names the patient from sound bytes or from the ledger, never from bytes that rotted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from appliance.core.instance import Instance
from appliance.demo.study import encoded
from appliance.spool.keeper import instance_of
from appliance.spool.record import Record
from appliance.spool.store import Spool
from appliance.worker.naming import name_images
from dicom_node.limits import Limits
from dicom_node.preflight import inspect, scan
from tests.appliance import making


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


def kept(spool: Spool) -> Instance:
    """Keep one slice of a patient with a name outside ASCII."""
    made = making.data_set(
        SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Grün", PatientID="P-1", InstitutionName="East"
    )
    data = encoded(made)
    uids = {"sop_class_uid": str(made.SOPClassUID), "sop_instance_uid": str(made.SOPInstanceUID)}
    header = inspect(data, scan(data, making.EXPLICIT_LE, Limits()), **uids)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    record = Record(
        **uids,
        transfer_syntax_uid=making.EXPLICIT_LE,
        calling_ae="PACS",
        received_at=0.0,
        length=len(data),
        digest=digest,
    )
    with spool.begin() as writing:
        writing.write(data)
        return instance_of(header, writing.commit(record), digest)


def rot(spool: Spool, instance: Instance) -> None:
    """Turn the patient's identity into another's, at its full length."""
    path = spool.path(instance.location)
    data = path.read_bytes()
    assert b"P-1" in data
    path.write_bytes(data.replace(b"P-1", b"P-7"))


def named(header: Dataset) -> tuple[str, str]:
    return str(header.PatientName), str(header.PatientID)


def test_every_image_is_named_and_the_first_is_whole(spool: Spool):
    instances = [kept(spool) for _ in range(3)]
    headers = name_images(instances, spool)
    assert [header.SOPInstanceUID for header in headers] == [i.sop_instance_uid for i in instances]
    assert {(h.StudyInstanceUID, h.SeriesInstanceUID) for h in headers} == {("1.2.3.0.1", "1.2.3.0.1.1")}
    assert headers[0].InstitutionName == "East"
    assert {named(header) for header in headers} == {("Müller^Grün", "P-1")}


def test_a_sound_image_speaks_for_a_rotten_one(spool: Spool):
    instances = [kept(spool) for _ in range(3)]
    rot(spool, instances[0])
    headers = name_images(instances, spool)
    assert headers[0].SOPInstanceUID == instances[1].sop_instance_uid
    assert headers[0].InstitutionName == "East"
    assert {header.SOPInstanceUID for header in headers} == {i.sop_instance_uid for i in instances}
    assert {named(header) for header in headers} == {("Müller^Grün", "P-1")}


@pytest.mark.parametrize("lost", [True, False])
def test_the_ledger_speaks_when_no_bytes_are_sound(spool: Spool, lost: bool):
    instances = [kept(spool) for _ in range(2)]
    for instance in instances:
        if lost:
            spool.remove(instance.location)
        else:
            rot(spool, instance)
    headers = name_images(instances, spool)
    assert [named(header) for header in headers] == [("Müller^Grün", "P-1")] * 2
    assert headers[0].Modality == "CT"
