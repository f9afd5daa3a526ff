"""Whatever a registry answers: a certificate that is this device's, or a refusal."""

from __future__ import annotations

import base64
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from appliance.sync import softkey
from appliance.sync.csr import request_for
from appliance.sync.est import answer_of, hold, issued_by, welcome_of
from appliance.sync.refusal import Refusal, Word
from appliance.sync.softkey import SoftwareKey
from provisioning.registry import ca
from provisioning.registry.ca import Authority, RequestFault

SLOT = "box-1"
NOW = float(int(time.time()))


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> SoftwareKey:
    return softkey.make(tmp_path_factory.mktemp("key") / "device.key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return ca.add(tmp_path_factory.mktemp("ca"), now=NOW)


@pytest.fixture(scope="module")
def bag(key, authority) -> bytes:
    made = authority.issue(ca.request_of(request_for(key, SLOT)), SLOT, now=NOW)
    return ca.bag([made.certificate, authority.certificate])


def changed(data: bytes, draw: Callable[..., Any]) -> bytes:
    at: int = draw(some.integers(0, len(data) - 1))
    new: bytes = draw(some.binary(min_size=1, max_size=4))
    return data[:at] + new + data[at + draw(some.integers(0, 4)) :]


def test_a_good_answer_is_taken(key, bag):
    answer = answer_of(base64.encodebytes(bag))
    hold(answer, key.id, SLOT, now=NOW)
    assert len(answer.authorities) == 1


@given(data=some.data())
def test_a_changed_answer_is_refused_or_says_the_same(key, authority, bag, data):
    """What stands beside the signatures may change and mean nothing; what is signed may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = answer_of(base64.b64encode(changed(bag, data.draw)))
            hold(answer, key.id, SLOT, now=NOW)
        except Refusal:
            return
    assert answer.certificate.device == key.id
    assert answer.certificate.ends_at <= NOW + 91 * 86_400


@pytest.fixture(scope="module")
def request_bytes(key) -> bytes:
    return request_for(key, SLOT)


@given(data=some.data())
def test_a_changed_request_is_refused_or_asks_the_same(key, request_bytes, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            asked = ca.request_of(changed(request_bytes, data.draw))
        except RequestFault:
            return
    assert asked.public_pem == key.public_pem


@pytest.mark.parametrize("data", [b"", b"!", b"AAAA", b"{}", b"\xff", base64.b64encode(b"\x30\x80" * 999)])
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(Refusal):
        answer_of(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"files": 1, "slot": "a", "authorities": [], "now": 1}',
        b'{"files": {"a": 1}, "slot": "a", "authorities": [], "now": 1}',
        b'{"files": {}, "slot": "a", "authorities": 1, "now": 1}',
        b'{"files": {}, "slot": "a", "authorities": [], "now": "x"}',
        b'{"files": {"a": "\\ud800"}, "slot": "a", "authorities": [], "now": 1}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_welcome_is_refused(data):
    with pytest.raises(Refusal):
        welcome_of(data)


def test_a_certificate_of_another_key_slot_time_or_authority_is_refused(key, authority, bag, tmp_path):
    answer = answer_of(base64.b64encode(bag))
    strange = ca.add(tmp_path / "ca", now=NOW)
    for device, slot, now, word in (
        ("0" * 64, SLOT, NOW, Word.WRONG_KEY),
        (key.id, "box-2", NOW, Word.WRONG_KEY),
        (key.id, SLOT, NOW - 86_400, Word.CLOCK_BEHIND),
        (key.id, SLOT, NOW + 91 * 86_400, Word.CLOCK_AHEAD),
    ):
        with pytest.raises(Refusal) as refused:
            hold(answer, device, slot, now=now)
        assert refused.value.word is word
    foreign = answer_of(
        base64.b64encode(
            ca.bag(
                [
                    strange.issue(ca.request_of(request_for(key, SLOT)), SLOT, now=NOW).certificate,
                    authority.certificate,
                ]
            )
        )
    )
    with pytest.raises(Refusal) as refused:
        hold(foreign, key.id, SLOT, now=NOW)
    assert refused.value.word is Word.WRONG_KEY
    assert not issued_by(answer.certificate.pem, ["no certificate", ""])
