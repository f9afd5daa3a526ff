"""The two packages that ship, opened once, each with an engine."""

from __future__ import annotations

import pytest

from models.operations.patches import Infer
from models.package import Package, open_package
from tests.models import given


@pytest.fixture(scope="session")
def bands() -> Package:
    """ct-tissue-bands."""
    return open_package(given.BANDS)


@pytest.fixture(scope="session")
def bands_engine(bands: Package) -> Infer:
    """Its network in ONNX Runtime."""
    return given.engine(bands)


@pytest.fixture(scope="session")
def lesion() -> Package:
    """ct-phantom-lesion."""
    return open_package(given.LESION)


@pytest.fixture(scope="session")
def lesion_engine(lesion: Package) -> Infer:
    """Its network in ONNX Runtime."""
    return given.engine(lesion)
