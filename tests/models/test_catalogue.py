"""What ships is found, opens, and is honest about itself."""

from __future__ import annotations

import pytest

from models.catalogue import LIBRARY, find, shipped
from models.package import open_package

NETWORK_BYTES_MAX = 5_000_000
GOLDEN_BYTES_MAX = 300_000


def test_packages_are_found_by_name() -> None:
    assert [path.name for path in shipped()] == [
        "ct-phantom-lesion",
        "ct-tissue-bands",
        "dx-phantom-marker",
        "dx-phantom-nodule",
        "mr-phantom-compartments",
    ]
    assert find("ct-tissue-bands") == LIBRARY / "ct-tissue-bands"
    assert find("no-such-model") is None


@pytest.mark.parametrize("name", [path.name for path in shipped()])
def test_each_opens_is_small_and_has_a_card_for_its_version(name: str) -> None:
    package = open_package(LIBRARY / name)
    assert package.manifest.name == name
    assert package.digest.startswith("sha256:")
    assert package.onnx_path().stat().st_size <= NETWORK_BYTES_MAX
    assert package.golden_paths()
    assert all(path.stat().st_size < GOLDEN_BYTES_MAX for path in package.golden_paths())
    card = (package.root / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"{name} {package.manifest.version}" in card
    assert "not a medical device" in card.casefold()
