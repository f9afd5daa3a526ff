"""The window a model looks through, where its manifest names one in Hounsfield units; else nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from appliance.core.config import Config
from appliance.core.packages import installed_folder
from models.catalogue import shipped
from models.manifest import Manifest, ManifestError, load
from models.operations.intensity import Clip, Scale, Window


def model_window(config: Config, *, name: str, version: str, digest: str) -> tuple[float, float] | None:
    """Return centre and width in HU of what a model distinguishes; darker and brighter is all one to it.

    Only manifests are read, no network and no digest: this is a way to look at images, not a claim.
    """
    for folder in _folders(config, digest):
        try:
            manifest = load(folder / "manifest.toml")
        except ManifestError:
            continue
        if (manifest.name, manifest.version) == (name, version):
            return _window(manifest)
    return None


def _folders(config: Config, digest: str) -> Iterator[Path]:
    yield installed_folder(config.storage.root, digest)
    for folder in config.models.folders:
        yield from sorted(path.parent for path in folder.glob("*/manifest.toml"))
    yield from shipped()


def _window(manifest: Manifest) -> tuple[float, float] | None:
    if manifest.input.units != "HU":
        return None
    for step in manifest.prepare:
        if isinstance(step, Window):
            return step.centre, step.width
        if isinstance(step, Clip | Scale) and step.high > step.low:
            return (step.low + step.high) / 2, step.high - step.low
    return None
