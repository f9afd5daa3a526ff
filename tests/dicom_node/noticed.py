"""Notices as a PACS and a modality write them, and associations that send them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from dicom_node.notices import INSTANCE_AVAILABILITY, PERFORMED_STEP
from dicom_node.values import Peer
from tests.dicom_node.samples import CT, EXPLICIT

# Series Instance UID -> SOP Instance UIDs.
Series = Mapping[str, Sequence[str]]


def reference(uid: str, sop_class: str = CT) -> Dataset:
    """A reference to one instance."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def availability(study: str, series: Series, *, at: str = "ONLINE", sop_class: str = CT) -> Dataset:
    """The Attribute List of a notification (PS3.4 Table R.3.2-1)."""
    dataset = Dataset()
    dataset.ReferencedPerformedProcedureStepSequence = Items()
    dataset.StudyInstanceUID = study
    dataset.ReferencedSeriesSequence = Items()
    for series_uid, uids in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedSOPSequence = Items([reference(uid, sop_class) for uid in uids])
        for one in item.ReferencedSOPSequence:
            one.InstanceAvailability, one.RetrieveAETitle = at, "PACS"
        dataset.ReferencedSeriesSequence.append(item)
    return dataset


def begun(*studies: str, status: str = "IN PROGRESS") -> Dataset:
    """The Attribute List of a step that begins (PS3.4 Table F.7.2-1), with the patient that it always has."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = "Zwölf^Patient", "P-4711"
    dataset.ScheduledStepAttributesSequence = Items()
    for study in studies:
        item = Dataset()
        item.StudyInstanceUID, item.AccessionNumber = study, "A1"
        dataset.ScheduledStepAttributesSequence.append(item)
    dataset.PerformedProcedureStepID = "PPS1"
    dataset.PerformedStationAETitle = "CTSCAN"
    dataset.PerformedProcedureStepStartDate = "20240101"
    dataset.PerformedProcedureStepStatus = status
    dataset.Modality = "CT"
    dataset.PerformedSeriesSequence = Items()
    return dataset


def ended(
    series: Series | None = None, *, status: str = "COMPLETED", reason: str = "", others: Series | None = None
) -> Dataset:
    """The Modification List of a step that ends; `others` are objects that are no images."""
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepEndDate = "20240101"
    if reason:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = reason, "DCM", "said so"
        dataset.PerformedProcedureStepDiscontinuationReasonCodeSequence = Items([code])
    if series is None:
        return dataset
    dataset.PerformedSeriesSequence = Items()
    for series_uid, uids in series.items():
        item = Dataset()
        item.SeriesInstanceUID, item.ProtocolName = series_uid, "Head"
        item.ReferencedImageSequence = Items([reference(uid) for uid in uids])
        report = "1.2.840.10008.5.1.4.1.1.88.67"
        item.ReferencedNonImageCompositeSOPInstanceSequence = Items(
            [reference(uid, report) for uid in (others or {}).get(series_uid, ())]
        )
        dataset.PerformedSeriesSequence.append(item)
    return dataset


@contextmanager
def saying(
    box: Peer, *, title: str = "CTSCAN", called: str = "BOX", syntaxes: Sequence[str] = (EXPLICIT,)
) -> Iterator[Association]:
    """An association of who has something to say."""
    contexts = [build_context(uid, list(syntaxes)) for uid in (INSTANCE_AVAILABILITY, PERFORMED_STEP, CT)]
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    association = entity.associate("127.0.0.1", box.port, contexts=contexts, ae_title=called)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def say(association: Association, dataset: Dataset | None, uid: str, sop_class: str = PERFORMED_STEP) -> int:
    """N-CREATE; the status, or -1 when there is no answer."""
    status, _ = association.send_n_create(dataset, sop_class, uid)
    return int(status.Status) if "Status" in status else -1


def notify(association: Association, dataset: Dataset | None, uid: str) -> int:
    """N-CREATE of availability; the status, or -1 when there is no answer."""
    return say(association, dataset, uid, INSTANCE_AVAILABILITY)


def tell(association: Association, dataset: Dataset, uid: str, sop_class: str = PERFORMED_STEP) -> Dataset:
    """N-SET; the whole status."""
    status, _ = association.send_n_set(dataset, sop_class, uid)
    return status
