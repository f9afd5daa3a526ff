"""Judge the instances of one association; one that is framed as an earlier one is not walked again.

A slice differs from its neighbour in the values of a few elements and in its pixels. Where every byte that
the walk would read is the same as in an instance that passed, and the length is, the walk would take the
same way and pass: so those bytes are compared at once, as one number, and the walk is spared.
Where the pixels are encapsulated each instance has its own length, and its fragments are walked.

Promises: the same headers and the same refusals as `scan` and `inspect`, in a seventh of their time.
Never: shares what it remembers between associations.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, cast

from dicom_node.facts import FactReader, tags_of
from dicom_node.framing import Walk
from dicom_node.limits import KIB, Limits
from dicom_node.preflight import Header, Scan, announced, inspect, scan
from dicom_node.syntaxes import encoding_of

_TEMPLATES_MAX: Final = 4
_HEAD_BYTES_MAX: Final = 64 * KIB
# What changes from slice to slice; every other fact has to be the same for an instance to be familiar.
_CHANGING: Final = tags_of(("InstanceNumber", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept"))
_STEADY: Final = frozenset((0x00080016, 0x0020000D, 0x0020000E, *tags_of())) - _CHANGING


@dataclass(frozen=True, kw_only=True)
class _Template:
    """An instance that passed: its length, its head's framing as a number, and what was read of it.

    Without `length` its pixels are encapsulated, and of any length.
    """

    transfer_syntax_uid: str
    length: int | None
    head_bytes: int
    mask: int
    framing: int
    header: Header
    lists: tuple[str, ...]
    reader: FactReader

    def fits(self, data: memoryview, transfer_syntax_uid: str, limits: Limits) -> bool:
        """Tell whether a walk over `data` would read what it read of this one."""
        if self.transfer_syntax_uid != transfer_syntax_uid:
            return False
        if self.length is None:
            plausible = self.head_bytes < len(data) <= limits.instance_bytes_max
        else:
            plausible = self.length == len(data)
        if not plausible or int.from_bytes(data[: self.head_bytes], "little") & self.mask != self.framing:
            return False
        if self.length is not None:
            return True
        return Walk(data, encoding_of(transfer_syntax_uid), limits).fragments_fill(self.head_bytes)


class Judge:
    """Judges one instance after another; for one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        """Know nothing yet."""
        self._limits = limits
        self._templates: deque[_Template] = deque(maxlen=_TEMPLATES_MAX)

    def header(
        self, data: memoryview, transfer_syntax_uid: str, *, sop_class_uid: str, sop_instance_uid: str
    ) -> Header:
        """Return what `scan` and `inspect` would.

        Raises:
            Refusal: as they do.
        """
        for template in self._templates:
            if template.fits(data, transfer_syntax_uid, self._limits):
                return _alike(template, data, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)
        scanned = scan(data, transfer_syntax_uid, self._limits)
        header = inspect(data, scanned, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)
        self._remember(data, scanned, header)
        return header

    def _remember(self, data: memoryview, scanned: Scan, header: Header) -> None:
        """Keep an instance as a template, if its pixels are the last thing in it."""
        pixel = scanned.pixel
        if pixel is None or pixel.offset > _HEAD_BYTES_MAX:
            return
        last = list(scanned.elements.values())[-1]
        if last.offset != pixel.offset or last.offset + last.length != len(data):
            return
        encoding = encoding_of(scanned.transfer_syntax_uid)
        if encoding.encapsulated != pixel.encapsulated:
            return
        mask = _mask(scanned, pixel.offset)
        reader = FactReader(data, scanned.elements, limits=self._limits, big_endian=encoding.big_endian)
        self._templates.appendleft(
            _Template(
                transfer_syntax_uid=scanned.transfer_syntax_uid,
                length=None if pixel.encapsulated else len(data),
                head_bytes=pixel.offset,
                mask=mask,
                framing=int.from_bytes(data[: pixel.offset], "little") & mask,
                header=header,
                lists=tuple(key for key, value in header.facts.items() if isinstance(value, list)),
                reader=reader.again(b""),
            )
        )


def _mask(scanned: Scan, head_bytes: int) -> int:
    """Return a number with ones where an instance must be the same: all but values that may change.

    What the walk looks into, sequences and what may be one, has to be the same whole.
    """
    mask = bytearray(b"\xff" * head_bytes)
    for tag, span in scanned.elements.items():
        if span.vr not in ("SQ", "UN") and tag not in _STEADY:
            mask[span.offset : span.offset + span.length] = bytes(
                max(0, min(span.length, head_bytes - span.offset))
            )
    return int.from_bytes(mask, "little")


def _alike(template: _Template, data: memoryview, *, sop_class_uid: str, sop_instance_uid: str) -> Header:
    """Return the header of an instance that fits `template`."""
    reader, known = template.reader.again(data), template.header
    sop_class, instance = announced(reader, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)
    facts = dict(known.facts)
    for keyword in template.lists:
        facts[keyword] = cast("list[str]", facts[keyword]).copy()
    for tag in _CHANGING:
        reader.refresh(tag, facts)
    return Header(
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        study_uid=known.study_uid,
        series_uid=known.series_uid,
        transfer_syntax_uid=known.transfer_syntax_uid,
        pixel_offset=known.pixel_offset,
        pixel_bytes=len(data) - template.head_bytes,
        facts=facts,
    )
