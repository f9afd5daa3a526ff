"""Who made a result, from what, and under which UIDs it goes out.

Promises: the same evidence, model, route and run give the same UIDs (P4), whoever asks and whenever.
Never: reads a clock, a disk or the ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

NoticeKind = Literal["not eligible", "failed", "not run"]

# Fixed for ever: another namespace would give every result of every site another UID.
_NAMESPACE = uuid.UUID("6f1f3a1e-5d0b-5c53-9d1c-8a3b7f0e2c46")


def derive_uid(*parts: str) -> str:
    """Derive a UID from texts: a UUIDv5 under 2.25 (PS3.5 B.2). Equal parts give equal UIDs."""
    # A length in front of each part keeps ("ab", "c") and ("a", "bc") apart.
    name = "".join(f"{len(part)}:{part}" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Name the product, the model, the engine and the box that made a result (P7).

    Attributes:
        device_uid: UID of this box.
        stepped_down: one sentence when a slower engine than the preferred one ran; None otherwise.
    """

    product: str
    product_version: str
    manufacturer: str
    model_name: str
    model_version: str
    model_digest: str
    engine: str
    device_uid: str
    site_name: str
    intended_use: str
    regulatory_status: str
    stepped_down: str | None

    @property
    def model_device_uid(self) -> str:
        """Give the Device UID of this model on this box; it changes with the model (IHE AIR 6.5.3.1)."""
        return derive_uid("device", self.device_uid, self.model_digest)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Point at one stored object (PS3.3 10.8 with its series and study).

    Attributes:
        output: which kind of output it was made as; None when nobody knows any more.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    output: str | None = None


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the same model said of an earlier study of the patient.

    Attributes:
        day: its Study Date.
        report: the report that the numbers are quoted from.
        same_version: whether the very same model made both.
        values: by label (None for the whole series), full name and unit.
    """

    study_uid: str
    day: date
    report: Reference
    model_version: str
    same_version: bool
    values: Mapping[tuple[str | None, str, str], float]


@dataclass(frozen=True, kw_only=True)
class ResultContext:
    """Hold what every object of one result shares.

    Attributes:
        content_digest: digest of the evidence, the instances the model saw.
        run: 1 for the first result of this study and route; late instances count it up.
        at: when the result was decided, aware; the only time that gets into the objects.
        supersedes: the objects of the result that this one replaces.
        superseded_at: when that result was decided, aware; None when nobody knows any more.
        stands_in: output -> the output that some destination asked for and does not take; the object made
            in its place says so.
        refers_to: which of several segmentations the report refers to; None for the first that is made.
        remarks: sentences that every object of the result says, such as what was asked for and cannot be
            made of these findings.
        earlier: what it is compared with, the newest study first; with another comparison it is another
            result, under other UIDs.
    """

    provenance: Provenance
    route: str
    study_uid: str
    content_digest: str
    run: int
    at: datetime
    supersedes: Sequence[Reference] = ()
    superseded_at: datetime | None = None
    stands_in: Mapping[str, str] = field(default_factory=dict)
    refers_to: str | None = None
    remarks: Sequence[str] = ()
    earlier: Sequence[Earlier] = ()

    def __post_init__(self) -> None:
        for at in (self.at, self.superseded_at):
            assert at is None or at.tzinfo is not None, "the time of a result is aware"

    def uid(self, *kind: str) -> str:
        """Derive the UID of one thing in this result, named by its kind and index ("sr", "0")."""
        model = self.provenance.model_digest
        whole = (self.study_uid, self.content_digest, model, self.route, str(self.run))
        quoted = [one.report.sop_instance_uid for one in self.earlier]
        return derive_uid(*whole, *(["earlier", *quoted] if quoted else []), *kind)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Say why there is no inference result: never a negative (P8).

    Attributes:
        reason: one plain sentence, no patient data.
        what_to_do: one plain sentence for the reader.
    """

    kind: NoticeKind
    reason: str
    what_to_do: str


@dataclass(frozen=True, kw_only=True)
class EncodedObject:
    """Hold one finished object: frozen bytes and what a sender and a console must know of it.

    Attributes:
        output: one of `appliance.core.outputs.OUTPUTS`.
        data: the encoded data set, without preamble and file meta information (PS3.5 7).
        preview_png: the picture of a Secondary Capture; on the first object of a result without one, the
            picture that would have been sent, for the console only.
    """

    output: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    transfer_syntax_uid: str
    series_description: str
    modality: str
    data: bytes
    preview_png: bytes | None = None
