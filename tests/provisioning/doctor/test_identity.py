"""What a box proves itself with: in order, ended, about to end, not its own, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import parse
from provisioning.doctor.checks import identity
from provisioning.doctor.site import Site
from tests.certificates import Authority


def site(tmp_path: Path) -> Site:
    registry = {"url": "https://fleet.example.org", "device": "box-1", "roots": str(tmp_path)}
    tree = {"site": {"name": "s"}, "storage": {"root": str(tmp_path)}, "registry": registry}
    return Site(read=parse(tree))


def named(tmp_path: Path) -> list[str]:
    found = list(identity.CHECK.look(site(tmp_path), ""))
    return [one.fault.id if one.fault else one.state.value for one in found]


@pytest.mark.parametrize(
    ("days", "said"), [(60, "sound"), (5, "identity.not-renewed"), (-1, "identity.expired")]
)
def test_how_long_its_certificate_holds(tmp_path: Path, days: int, said: str):
    pair = Authority(tmp_path / "ca").issue("box-1", days=days)
    pair.certificate.rename(tmp_path / "device.crt")
    pair.key.rename(tmp_path / "device.key")
    assert named(tmp_path) == [said]


def test_a_certificate_of_another_key(tmp_path: Path):
    authority = Authority(tmp_path / "ca")
    authority.issue("box-1").certificate.rename(tmp_path / "device.crt")
    authority.issue("box-2").key.rename(tmp_path / "device.key")
    assert named(tmp_path) == ["identity.unusable"]


def test_a_box_that_was_not_enrolled(tmp_path: Path):
    assert named(tmp_path) == ["unknown"]
