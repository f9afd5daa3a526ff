"""Evidence names exactly the bytes used, and does not depend on the order they were met in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from appliance.worker.evidence import evidence_of
from tests.appliance.worker.given import content, ct, ramp


def test_evidence_is_the_list_and_its_digest(tmp_path: Path):
    instances = content(tmp_path, *(ct(ramp(), z_mm=float(z)) for z in range(3))).instances
    evidence = evidence_of(instances)
    assert dict(evidence.instances) == {one.sop_instance_uid: one.digest for one in instances}
    assert evidence.digest.startswith("sha256:")
    assert evidence == evidence_of(reversed(instances))
    assert evidence.digest != evidence_of(instances[:2]).digest
    changed = replace(instances[0], digest="sha256:00")
    assert evidence.digest != evidence_of([changed, *instances[1:]]).digest
