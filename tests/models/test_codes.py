"""Every code we write is one the dictionaries know, with a meaning they give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from models import codes
from models.catalogue import shipped
from models.findings import Code
from models.labels import codes_of
from models.manifest import load


def used() -> list[Code]:
    steps = [code for code in vars(codes).values() if isinstance(code, Code)]
    manifests = [load(path / "manifest.toml") for path in shipped()]
    return steps + [code for manifest in manifests for _, code in codes_of(manifest)]


@pytest.mark.parametrize("code", used(), ids=lambda code: f"{code.scheme}-{code.value}")
def test_code_is_real(code: Code) -> None:
    if code == codes.MILLILITRE:
        pytest.skip("UCUM's mL is not among the units pydicom lists; the SR validators check it")
    entries: Mapping[str, Any] = concepts[code.scheme]
    known = [entry[code.value][0] for entry in entries.values() if code.value in entry]
    assert code.meaning.casefold() in {meaning.casefold() for meaning in known}
