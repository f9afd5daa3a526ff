"""Encoded data sets to send, cut and twist, and the objects that receive them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.dsutils import encode

from dicom_node.limits import Limits
from dicom_node.memory import Held, MemoryIncoming
from dicom_node.server import Server
from dicom_node.values import Peer

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
LIMITS = Limits(
    acse_seconds_max=3.0,
    connect_seconds_max=3.0,
    dimse_seconds_max=3.0,
    network_seconds_max=5.0,
    abort_seconds_max=1.0,
)

# Objects shipped inside pydicom, one or more of each family of transfer syntaxes, all with sound UIDs.
REAL_FILES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "JPEG-lossy.dcm",
    "JPGExtended.dcm",
    "JPEG2000.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "693_J2KI.dcm",
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An encoded data set and what a command would say about it."""

    data: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def path_of(name: str) -> Path:
    """Where one of pydicom's own files lies; nothing is downloaded."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def real(name: str) -> Sample:
    """One of pydicom's own files, cut behind its file meta information."""
    return sample_of(path_of(name))


@contextmanager
def serving(entity: AE, *handlers: Any) -> Iterator[Peer]:
    """A peer of pynetdicom's own making, called PACS, on a free port."""
    server = Server(
        entity,
        ("127.0.0.1", 0),
        "PACS",
        entity.supported_contexts,
        evt_handlers=list(handlers),
        socket_seconds_max=5.0,
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=server.server_address[1])
    finally:
        server.shutdown()
        thread.join(5)
        for association in server.active_associations:
            association.abort()


def sample_of(path: Path) -> Sample:
    """The data set of a Part 10 file, byte for byte."""
    meta = read_file_meta_info(path)
    start = 128 + 4 + 12 + meta.FileMetaInformationGroupLength
    return Sample(
        data=path.read_bytes()[start:],
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
    )


def header(**changes: object) -> Dataset:
    """A small CT header with a nested sequence; None deletes an attribute."""
    item = Dataset()
    item.CodeValue = "T-A0100"
    item.CodingSchemeDesignator = "SRT"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = Sequence([item])
    outer.ReferencedSOPClassUID = CT
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = "2.25.101"
    dataset.StudyInstanceUID = "2.25.102"
    dataset.SeriesInstanceUID = "2.25.103"
    dataset.Modality = "CT"
    dataset.PatientID = "P1"
    dataset.SourceImageSequence = Sequence([outer, Dataset()])
    dataset.ImagePositionPatient = ["-1.5", "2", "3e1"]
    dataset.InstanceNumber = 7
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 2, 2, 16
    dataset.PixelRepresentation = 0
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset, transfer_syntax_uid: str = EXPLICIT, *, undefined: bool = False) -> bytes:
    """Encode a data set; `undefined` writes its sequences and items with delimiters."""
    if undefined:
        for element in dataset:
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
    result = encode(dataset, transfer_syntax_uid == IMPLICIT, transfer_syntax_uid != BIG)
    assert result is not None
    return result


def sample(transfer_syntax_uid: str = EXPLICIT, **changes: object) -> Sample:
    """A small CT instance with native pixels."""
    dataset = header(**changes)
    dataset.PixelData = b"\1\0\2\0\3\0\4\0"
    dataset["PixelData"].VR = "OW"
    return Sample(
        data=encoded(dataset, transfer_syntax_uid),
        transfer_syntax_uid=transfer_syntax_uid,
        sop_class_uid=CT,
        sop_instance_uid=str(dataset.get("SOPInstanceUID", "2.25.101")),
    )


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """One Explicit VR Little Endian element that may lie about its length."""
    claimed = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC"):
        return head + struct.pack("<HL", 0, claimed) + value
    return head + struct.pack("<H", claimed) + value


def item(value: bytes, *, length: int | None = None, tag: int = 0xFFFEE000) -> bytes:
    """One item, or with another tag a delimiter."""
    claimed = len(value) if length is None else length
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, claimed) + value


UNDEFINED = 0xFFFFFFFF
ITEM_END = item(b"", tag=0xFFFEE00D)
SEQUENCE_END = item(b"", tag=0xFFFEE0DD)
FIRST = element(0x00080005, b"CS", b"ISO_IR 100")


def nested(depth: int) -> bytes:
    """A data set of sequences in sequences, with delimiters."""
    opening = element(0x00081140, b"SQ", b"", length=UNDEFINED) + item(b"", length=UNDEFINED)
    return FIRST + opening * depth + (ITEM_END + SEQUENCE_END) * depth


@dataclass
class Shelf:
    """An intake that keeps in memory and can be told to fail."""

    arrivals: list[Held] = field(default_factory=list)
    before: Callable[[Held], None] = lambda _arrival: None
    threads: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> MemoryIncoming:
        return MemoryIncoming(self.keep)

    def keep(self, arrival: Held) -> None:
        self.before(arrival)
        with self._lock:
            self.arrivals.append(arrival)
            self.threads.add(threading.current_thread().name)
