"""Signatures that the real tool of OpenSSF Model Signing made hold here; nothing that differs does."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.sync.dsse import key_of, to_sign
from appliance.sync.provenance import differences, hold, keys_in, signed_by, statement_of
from appliance.sync.refusal import Refusal, Word
from tests.appliance.sync import maker

VECTORS = Path(__file__).with_name("oms")
CURVES = ("prime256v1", "secp384r1", "secp521r1")


def keys(*curves: str) -> list[Any]:
    return keys_in([VECTORS / f"{curve}.pub.pem" for curve in curves])


def vector(curve: str = CURVES[0]) -> bytes:
    return (VECTORS / f"{curve}.sig.json").read_bytes()


def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A real signature's file, changed outside of what was signed."""
    said = json.loads(vector())
    change(said)
    return json.dumps(said).encode()


def payload_changed(change: Callable[[dict[str, Any]], None], folder: Path) -> bytes:
    """What a key that may would sign of a statement that is changed."""
    said = maker.statement(VECTORS / "package")
    change(said)
    return maker.signature(said, maker.key(folder / "own.pub.pem"))


@pytest.mark.parametrize("curve", CURVES)
def test_what_the_real_tool_signed_holds(curve: str):
    signed = signed_by(vector(curve), keys(*CURVES))
    hold(signed, VECTORS / "package")
    assert sorted(signed.files) == ["golden/one.npz", "manifest.toml", "model.onnx"]
    assert len(signed.hint) == 64


def test_our_own_signatures_in_tests_are_of_the_real_ones_form():
    real = statement_of(vector())
    own = maker.statement(VECTORS / "package")
    said = json.loads(real.envelope.payload)
    del (
        said["predicate"]["serialization"]["ignore_paths"],
        said["predicate"]["serialization"]["allow_symlinks"],
    )
    assert said == own


def test_another_key_does_not_do():
    with pytest.raises(Refusal, match="nobody") as refused:
        signed_by(vector(), keys("secp384r1", "secp521r1"))
    assert refused.value.word is Word.PROVENANCE


@pytest.mark.parametrize("part", ["payload", "payloadType", "sig"])
def test_one_byte_of_what_was_signed_turned_does_not_hold(part: str):
    def turn(said: dict[str, Any]) -> None:
        envelope = said["dsseEnvelope"]
        if part == "payloadType":
            envelope[part] += "x"
            return
        place = envelope if part == "payload" else envelope["signatures"][0]
        data = bytearray(base64.b64decode(place[part]))
        data[len(data) // 2] ^= 1
        place[part] = base64.b64encode(data).decode()

    with pytest.raises(Refusal) as refused:
        signed_by(changed(turn), keys(*CURVES))
    assert refused.value.word is Word.PROVENANCE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 50_000,
        changed(lambda said: said.update(mediaType="text/plain")),
        changed(lambda said: said["dsseEnvelope"].update(signatures=None)),
        changed(lambda said: said["dsseEnvelope"].update(signatures=[{}] * 17)),
        changed(lambda said: said["dsseEnvelope"].update(payload="?")),
        changed(lambda said: said.pop("verificationMaterial")),
    ],
)
def test_what_is_no_signature_is_told_so(data: bytes):
    with pytest.raises(Refusal, match="cannot be read") as refused:
        signed_by(data, keys(*CURVES))
    assert refused.value.word is Word.PROVENANCE


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(predicateType="https://example.org/other"),
        lambda said: said["predicate"].update(resources=[]),
        lambda said: said["predicate"]["resources"][0].update(algorithm="sha1"),
        lambda said: said["predicate"]["resources"][0].update(digest="00"),
        lambda said: said["predicate"]["resources"].append(said["predicate"]["resources"][0]),
        lambda said: said["subject"][0]["digest"].update(sha256="0" * 64),
        lambda said: said.update(subject=[]),
    ],
)
def test_a_statement_of_another_form_does_not_hold_whoever_signed_it(change: Any, tmp_path: Path):
    data = payload_changed(change, tmp_path)
    with pytest.raises(Refusal, match="cannot be read"):
        signed_by(data, keys_in([tmp_path / "own.pub.pem"]))


def test_files_that_were_changed_added_or_taken_away_are_named(tmp_path: Path):
    package = Path(shutil.copytree(VECTORS / "package", tmp_path / "package"))
    signed = statement_of(vector())
    assert differences(signed, package) == []
    (package / "model.onnx").write_bytes(b"another")
    (package / "golden" / "two.npz").write_bytes(b"")
    (package / "manifest.toml").unlink()
    (package / "link.txt").symlink_to("model.onnx")
    assert differences(signed, package) == ["golden/two.npz", "link.txt", "manifest.toml", "model.onnx"]
    with pytest.raises(Refusal, match=r"golden/two\.npz") as refused:
        hold(signed, package)
    assert refused.value.word is Word.PROVENANCE


def test_a_key_that_cannot_be_used_is_said_and_not_passed_over(tmp_path: Path):
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "other.pem").write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name in ("other.pem", "away.pem"):
        with pytest.raises(Refusal, match=name) as refused:
            keys_in([VECTORS / "prime256v1.pub.pem", tmp_path / name])
        assert refused.value.word is Word.BOX_REFUSED


def test_what_is_signed_is_the_protocols_example():
    assert to_sign("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert key_of((VECTORS / "prime256v1.pub.pem").read_bytes()).curve.name == "secp256r1"
