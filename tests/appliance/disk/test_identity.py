"""The box's own UID is made once and stays."""

from __future__ import annotations

import re

from appliance.disk.identity import device_uid


def test_the_uid_is_made_once(tmp_path):
    first = device_uid(tmp_path / "box")
    assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", first)
    assert device_uid(tmp_path / "box") == first
    assert device_uid(tmp_path / "other") != first
