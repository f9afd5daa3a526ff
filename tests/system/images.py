"""Studies to send: made-up ones, files of them, and the data set inside a DICOM file."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from appliance.demo.study import MadeStudy, encoded
from dicom_node.send import Outgoing

_numbers = count(1)
_IMPLEMENTATION = UID("2.25.3306131517.9")


def made_up(shape: tuple[int, int, int] = (6, 48, 48), *, number: int | None = None) -> MadeStudy:
    """Make a small CT study of noise over every band, with a UID that no other study of this run has."""
    number = next(_numbers) if number is None else number
    hu = np.random.default_rng(number).integers(-1000, 1200, size=shape, dtype=np.int16)
    return MadeStudy(hu=hu, spacing_mm=(3.0, 0.9, 0.8), number=number)


def changed(study: MadeStudy, **values: Any) -> list[Outgoing]:
    """Encode a made-up study with other values in every image."""
    return [rewritten(item, **values) for item in study.instances()]


def rewritten(item: Outgoing, **values: Any) -> Outgoing:
    """Encode one image anew with other values; a value of None takes the element out."""
    dataset = decoded(item)
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return Outgoing(
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        transfer_syntax_uid=item.transfer_syntax_uid,
        data=encoded(dataset),
    )


def decoded(item: Outgoing) -> Dataset:
    """Read an encoded image in Explicit VR Little Endian."""
    return pydicom.dcmread(BytesIO(part10(item)))


def part10(item: Outgoing) -> bytes:
    """Return a DICOM file (PS3.10 7.1) around a data set, which stays as it is."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(item.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(item.sop_instance_uid)
    meta.TransferSyntaxUID = UID(item.transfer_syntax_uid)
    meta.ImplementationClassUID = _IMPLEMENTATION
    head = DicomBytesIO()
    write_file_meta_info(head, meta)
    return bytes(128) + b"DICM" + head.getvalue() + item.data


def files(items: Iterable[Outgoing], folder: Path) -> list[Path]:
    """Write images as DICOM files; return their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, item in enumerate(items):
        path = folder / f"{number:04}.dcm"
        path.write_bytes(part10(item))
        paths.append(path)
    return paths


def outgoing(path: Path) -> Outgoing:
    """Read a DICOM file as something to send, its data set byte for byte."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return Outgoing(
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        data=data_set_of(path),
    )


def data_set_of(path: Path) -> bytes:
    """Return the bytes behind a file's meta information, found by its group length alone (PS3.10 7.1)."""
    whole = path.read_bytes()
    assert whole[128:132] == b"DICM", path
    group, element, vr, size, length = struct.unpack_from("<HH2sHI", whole, 132)
    assert (group, element, vr, size) == (2, 0, b"UL", 4), path
    return whole[144 + length :]


def shipped(*names: str) -> list[Path]:
    """Return files that come with pydicom itself; nothing is fetched from anywhere."""
    root = Path(pydicom.data.__file__).parent / "test_files"
    paths = [root / name for name in names]
    assert all(path.is_file() for path in paths), names
    return paths
