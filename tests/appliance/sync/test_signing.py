"""A device's request: what was signed is taken, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from appliance.sync import softkey
from appliance.sync.signing import (
    SKEW_SECONDS_MAX,
    SignatureFault,
    content_digest,
    device_id,
    keyid,
    sign,
    verify,
)
from appliance.sync.softkey import KeyFault, SoftwareKey

NOW = 1_800_000_000.5
PATH = "/api/device/v1/batch"
BODY = b'{"seq": 1}'


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SoftwareKey:
    return softkey.make(tmp_path_factory.mktemp("key") / "device.key")


def signed(key: SoftwareKey, *, at: float = NOW) -> dict[str, str]:
    return sign(key, method="POST", path=PATH, body=BODY, at=at)


def held(key: SoftwareKey, headers: dict[str, str], **changed: object) -> None:
    said: dict[str, object] = {"method": "POST", "path": PATH, "body": BODY, "now": NOW, **changed}
    verify(key.public_pem, headers=headers, **said)  # type: ignore[arg-type]


def word(key: SoftwareKey, headers: dict[str, str], **changed: object) -> str:
    with pytest.raises(SignatureFault) as fault:
        held(key, headers, **changed)
    return fault.value.word


def test_what_was_signed_is_taken(key):
    headers = signed(key)
    held(key, headers)
    assert keyid(headers) == key.id == device_id(key.public_pem.decode())
    held(key, {name.lower(): value for name, value in headers.items()} | {"host": "registry.example"})


def test_another_tool_agrees(key, tmp_path: Path):
    """The signature base of RFC 9421 section 2.5, written out here and verified by openssl."""
    headers = signed(key)
    parameters = headers["Signature-Input"].removeprefix("device=")
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    base = (
        f'"@method": POST\n"@path": {PATH}\n"content-digest": sha-256=:{digest}:\n'
        f'"@signature-params": {parameters}'
    )
    raw = base64.b64decode(headers["Signature"].removeprefix("device=:").removesuffix(":"))
    assert len(raw) == 64
    config = "asn1=SEQUENCE:s\n[s]\n" + "".join(
        f"{name}=INTEGER:0x{half.hex()}\n" for name, half in (("r", raw[:32]), ("s", raw[32:]))
    )
    for name, data in (("base", base.encode()), ("key.pem", key.public_pem), ("asn1", config.encode())):
        (tmp_path / name).write_bytes(data)
    for command in (
        "openssl asn1parse -genconf asn1 -noout -out signature",
        "openssl dgst -sha256 -verify key.pem -signature signature base",
    ):
        subprocess.run(command.split(), cwd=tmp_path, check=True, timeout=30, capture_output=True)


@given(data=some.data())
def test_any_changed_byte_is_refused(key, data):
    headers = signed(key)
    parts = {"method": b"POST", "path": PATH.encode(), "body": BODY}
    parts |= {name: value.encode() for name, value in headers.items()}
    name = data.draw(some.sampled_from(sorted(parts)))
    at = data.draw(some.integers(0, len(parts[name]) - 1))
    other = data.draw(some.integers(0, 255).filter(lambda value: value != parts[name][at]))
    parts[name] = parts[name][:at] + bytes([other]) + parts[name][at + 1 :]
    text = {each: value.decode("latin-1") for each, value in parts.items()}
    with pytest.raises(SignatureFault):
        held(
            key,
            {each: text[each] for each in headers},
            method=text["method"],
            path=text["path"],
            body=parts["body"],
        )


@given(body=some.binary(max_size=500), at=some.integers(0, 10**11))
def test_any_body_at_any_time_is_taken(key, body, at):
    held(key, sign(key, method="POST", path=PATH, body=body, at=at), body=body, now=float(at))


@pytest.mark.parametrize(
    ("after_seconds", "taken"),
    [(0, True), (SKEW_SECONDS_MAX - 1, True), (1 - SKEW_SECONDS_MAX, True), (301, False), (-301, False)],
)
def test_a_request_is_good_for_300_seconds(key, after_seconds, taken):
    headers = signed(key, at=int(NOW))
    if taken:
        held(key, headers, now=int(NOW) + after_seconds)
    else:
        assert word(key, headers, now=int(NOW) + after_seconds) == "clock"


def test_another_key_is_refused(key, tmp_path):
    other = softkey.make(tmp_path / "other.key")
    headers = signed(key)
    assert word(other, headers) == "key"
    # Whoever names another device's key and signs with his own is no further.
    forged = signed(other)
    forged["Signature-Input"] = forged["Signature-Input"].replace(other.id, key.id)
    assert word(key, forged) == "signature"


def test_each_fault_has_its_word(key):
    headers = signed(key)
    assert word(key, {}) == "missing"
    assert word(key, headers, body=b"another") == "digest"
    assert word(key, headers, method="PUT") == "signature"
    assert word(key, headers, path="/api/device/v1/other") == "signature"
    assert word(key, headers | {"signature": headers["Signature"]}) == "form"
    assert word(key, headers | {"Signature-Input": "device=();" + "x" * 500}) == "form"
    assert word(key, headers | {"Content-Digest": content_digest(b"")}) == "digest"
    for zero in ("A" * 86 + "==", "/" * 86 + "=="):
        assert word(key, headers | {"Signature": f"device=:{zero}:"}) in ("form", "signature")


def test_a_key_file_is_its_owners_and_is_not_written_over(tmp_path):
    path = tmp_path / "roots" / "device.key"
    made = softkey.make(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert softkey.load(path).id == made.id
    assert "PRIVATE" not in repr(made)
    with pytest.raises(KeyFault, match="never written over"):
        softkey.make(path)
    path.chmod(0o644)
    with pytest.raises(KeyFault, match="others may read it"):
        softkey.load(path)
    path.chmod(0o600)
    path.write_bytes(b"no key")
    with pytest.raises(KeyFault, match="no private key"):
        softkey.load(path)
    with pytest.raises(KeyFault, match="cannot be read"):
        softkey.load(tmp_path / "none")


def test_a_key_of_another_kind_is_none(tmp_path):
    path = tmp_path / "device.key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)],
        check=True,
        timeout=30,
        capture_output=True,
    )
    path.chmod(0o600)
    with pytest.raises(KeyFault, match="P-256"):
        softkey.load(path)
