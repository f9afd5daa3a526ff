"""Exactly which stored bytes a result was made from (P7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.core.instance import Instance


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The instances used, each as (SOP Instance UID, digest of the stored data set), and the digest of all.

    The digest does not depend on the order in which instances arrived or were read.
    """

    instances: tuple[tuple[str, str], ...]
    digest: str


def evidence_of(instances: Iterable[Instance]) -> Evidence:
    """List the instances and name the list by its SHA-256 ("sha256:<hex>")."""
    used = tuple(sorted((instance.sop_instance_uid, instance.digest) for instance in instances))
    text = "readside-evidence-1\n" + "".join(f"{uid} {digest}\n" for uid, digest in used)
    return Evidence(instances=used, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")
