"""The table [reconcile]: only a peer that can be asked, and may send, is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, ConfigError, parse


def site(tmp_path: Path, reconcile: dict[str, Any], **peer: Any) -> Config:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["store", "query"]}
    return parse(
        {
            "site": {"name": "Here"},
            "storage": {"root": str(tmp_path)},
            "peers": [pacs | peer],
            "reconcile": reconcile,
        }
    )


def test_nobody_is_asked_unless_named(tmp_path: Path) -> None:
    assert site(tmp_path, {}, may=["store"]).reconcile.peers == ()
    assert site(tmp_path, {"peers": ["pacs"], "modalities": ["CT"]}).reconcile.modalities == ("CT",)


@pytest.mark.parametrize(
    ("peer", "fault"),
    [
        ({"may": ["store"]}, """peer 'pacs' needs "query" in its `may`"""),
        ({"may": ["query"]}, """peer 'pacs' needs "store" in its `may`"""),
        ({"host": ""}, "peer 'pacs' needs host and port to be asked"),
        ({"name": "archive"}, "no peer is called 'pacs'"),
    ],
)
def test_a_peer_that_cannot_be_asked_is_a_fault(tmp_path: Path, peer: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        site(tmp_path, {"peers": ["pacs"]}, **peer)
    assert raised.value.faults == [f"reconcile.peers: {fault}"]
