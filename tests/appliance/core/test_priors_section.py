"""`priors` of a route: only what can ever be there in time, from peers that may be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, ConfigError, parse
from appliance.core.priors_section import asked_for_priors


def site(
    tmp_path: Path, priors: dict[str, Any], assembly: dict[str, Any] | None = None, **peer: Any
) -> Config:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.1", "port": 104, "may": ["store", "query"]}
    return parse(
        {
            "site": {"name": "A"},
            "storage": {"root": str(tmp_path)},
            "peers": [pacs | peer, {"name": "ct", "ae_title": "CT"}],
            "assembly": assembly or {},
            "routes": [{"name": "bands", "when": "true", "model": "m", "priors": priors}],
        }
    )


def test_all_who_may_be_asked_are_asked_unless_some_are_named(tmp_path: Path):
    config = site(tmp_path, {})
    rule = config.routes[0].priors
    assert rule is not None
    assert (rule.count, rule.within_days, rule.wait_seconds, rule.send) == (1, 1095, 300.0, False)
    assert [peer.name for peer in asked_for_priors(rule, config.peers)] == ["pacs"]
    named = site(tmp_path, {"ask": ["pacs"]}).routes[0].priors
    assert named is not None
    assert [peer.name for peer in asked_for_priors(named, config.peers)] == ["pacs"]


@pytest.mark.parametrize(
    ("priors", "peer", "fault"),
    [
        ({"ask": ["nobody"]}, {}, "ask: no peer is called 'nobody'"),
        ({"ask": ["ct"]}, {}, "ask: peer 'ct' needs host, port"),
        ({}, {"may": ["store"]}, "ask: no peer may be asked"),
        ({"wait_seconds": 60}, {}, "wait_seconds: must be longer than assembly.quiet_seconds"),
    ],
)
def test_a_rule_that_never_finds_anything_is_a_fault(tmp_path: Path, priors, peer, fault: str):
    with pytest.raises(ConfigError) as raised:
        site(tmp_path, priors, **peer)
    assert raised.value.faults[0].startswith(f"routes.bands.priors.{fault}")


def test_a_confirming_peer_says_sooner_that_a_study_is_complete(tmp_path: Path):
    assert site(tmp_path, {"wait_seconds": 30}, {"confirm_with": "pacs"}).routes[0].priors is not None


@pytest.mark.parametrize(
    "beyond", [{"count": 0}, {"count": 5}, {"within_days": 0}, {"wait_seconds": 3601}, {"until": 3}]
)
def test_it_is_bounded(tmp_path: Path, beyond: dict[str, Any]):
    with pytest.raises(ConfigError, match=f"routes.bands.priors.{next(iter(beyond))}"):
        site(tmp_path, beyond)
