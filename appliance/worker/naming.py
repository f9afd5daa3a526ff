"""Whose images a notice is about: headers that name patient, study and series when there is no answer.

A notice may be due exactly because bytes are damaged, so it never takes a name from bytes that no longer
fit their digest: one flipped bit can be another patient. Then the ledger speaks, which read the header
when the image was received.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydicom import Dataset, config

from appliance.core.instance import Instance
from appliance.worker.faults import DecodeError
from appliance.worker.reading import Reader, read_header
from dicom_node.facts import IDENTITY_KEYWORDS

_SERIES_KEYWORDS = ("Modality", "SeriesNumber", "SeriesDescription", "FrameOfReferenceUID")
_UTF_8 = "ISO_IR 192"


def name_images(instances: Sequence[Instance], reader: Reader) -> list[Dataset]:
    """Return a header for each instance; only the first is whole, the others say which images are meant.

    It is that of the first image whose bytes are sound, else what the ledger knows of the first.
    """
    assert instances, "a job works on images"
    for at, instance in enumerate(instances):
        header = _sound_header(instance, reader)
        if header is not None:
            return [header, *map(_known, [*instances[:at], *instances[at + 1 :]])]
    return list(map(_known, instances))


def _sound_header(instance: Instance, reader: Reader) -> Dataset | None:
    try:
        data = reader.read(instance.location)
        sound = f"sha256:{hashlib.sha256(data).hexdigest()}" == instance.digest
        return read_header(instance, reader) if sound else None
    except (OSError, DecodeError):
        return None


def _known(instance: Instance) -> Dataset:
    """Make a header of what was read of an image when it was received."""
    header = Dataset()
    header.SpecificCharacterSet = _UTF_8
    header.SOPClassUID, header.SOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
    header.StudyInstanceUID, header.SeriesInstanceUID = instance.study_uid, instance.series_uid
    with config.disable_value_validation():
        for keyword in (*IDENTITY_KEYWORDS, *_SERIES_KEYWORDS):
            if keyword in instance.facts:
                setattr(header, keyword, instance.facts[keyword])
    return header
