"""A MONAI bundle's metadata.json and inference.json, read into parts of a manifest.

Property names are those of MONAI's bundle specification (`network_data_format`, `preprocessing`, `inferer`,
`postprocessing`). Promises: every transform, the inferer included, ends up imported, imported with a stated
difference, or listed as missing with its parameters.
Never: runs Python of the bundle, or loads its weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.importing.limits import ImportLimits
from models.importing.monai_answer import ANSWER, read_inferer
from models.importing.monai_config import BundleError, Component, Configuration, Python, read_json
from models.importing.monai_prepare import HOUSEKEEPING, PREPARE, Read
from models.importing.reading import NotExpressed, Parameters, Reading

METADATA, INFERENCE, MODELS = "configs/metadata.json", "configs/inference.json", "models"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Hold what a bundle says.

    Attributes:
        name, version, description, intended_use, copyright: words of its metadata; empty where it has none.
        modality: of its image, as DICOM writes it; empty where it does not say.
        format: what its input's values are ("hounsfield", "magnitude", ...).
        answer: what its output's values are ("segmentation", "labels", "probability", ...).
        channels: names of the output's channels by number; the background among them.
        reading: what its pipeline does, as far as the package format can say it.
        network: its ONNX file; None where it holds none.
    """

    name: str
    version: str
    description: str
    intended_use: str
    copyright: str
    modality: str
    format: str
    answer: str
    channels: Mapping[int, str]
    reading: Reading
    network: Path | None


def read_bundle(folder: Path, *, network: Path | None = None, limits: ImportLimits | None = None) -> Bundle:
    """Read the bundle in `folder`; `network` names its ONNX file where it lies elsewhere.

    Raises:
        BundleError: a configuration is missing or unreadable, or there is no one ONNX file.
    """
    limits = limits or ImportLimits()
    if not folder.is_dir():
        raise BundleError([f"{folder.name}: there is no such folder"])
    if not (folder / INFERENCE).is_file() and _yaml(folder):
        raise BundleError([f"{INFERENCE} is needed; YAML is not read. Write {_yaml(folder)} as JSON first"])
    metadata = read_json(folder / METADATA, limits)
    inference = Configuration(raw=read_json(folder / INFERENCE, limits), limits=limits)
    given, answer = _tensor(metadata, "inputs"), _tensor(metadata, "outputs")
    return Bundle(
        name=str(metadata.get("name") or folder.resolve().name),
        version=str(metadata.get("version") or ""),
        description=str(metadata.get("description") or metadata.get("task") or ""),
        intended_use=str(metadata.get("intended_use") or ""),
        copyright=str(metadata.get("copyright") or ""),
        modality=_modality(given),
        format=str(given.get("format") or ""),
        answer=str(answer.get("format") or answer.get("type") or ""),
        channels=_channels(answer),
        reading=read_pipeline(inference, _image_key(metadata)),
        network=network or _network(folder),
    )


def read_pipeline(inference: Configuration, image_key: str) -> Reading:
    """Read preprocessing, inferer and postprocessing of an inference configuration."""
    reading = Reading()
    before = inference.components("preprocessing")
    if not before:
        reading.leave_out(
            "preprocessing", {}, "inference.json names none, so what the network is fed is unknown"
        )
    for component in before:
        _read_transform(component, PREPARE, reading, image_key)
    inferers = inference.components("inferer")
    for component in inferers:
        read_inferer(component, reading)
    if not inferers:
        reading.leave_out(
            "inferer", {}, "inference.json names none, so how the network is applied is unknown"
        )
    for component in inference.components("postprocessing"):
        _read_transform(component, ANSWER, reading, "pred")
    return reading


def _read_transform(component: Component, known: Mapping[str, Read], reading: Reading, key: str) -> None:
    """Take in one transform; what it was called stays what it is called in every list."""
    read = known.get(plain_name(component.name))
    given = Parameters(component)
    try:
        if read is None:
            raise NotExpressed("the package format has no step for it")
        _check_keys(component, key)
        given.held_to_floats()
        said = read(given, reading)
        given.pass_over(*HOUSEKEEPING)
        given.done()
    except NotExpressed as reason:
        reading.leave_out(component.name, component.parameters, str(reason))
        return
    reading.imported.append(f"{component.name}: {said}")


def plain_name(name: str) -> str:
    """Take the dictionary ending off: Spacingd, SpacingD and SpacingDict are Spacing."""
    for ending in ("Dict", "d", "D"):
        if name.endswith(ending) and name not in PREPARE and name not in ANSWER:
            return name.removesuffix(ending)
    return name


def _check_keys(component: Component, key: str) -> None:
    """Demand that a transform works on the one image (or answer) and nothing else."""
    keys = component.parameters.get("keys", key)
    listed = [str(one) for one in keys] if isinstance(keys, list) else [str(keys)]
    others = [one for one in listed if one not in (key, "label")]
    if isinstance(keys, Python) or key not in listed or others:
        raise NotExpressed(f"it works on {', '.join(listed)}; this importer follows {key!r} alone")


def _tensor(metadata: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    """Give network_data_format's description of the one input or output."""
    described = _dict(_dict(metadata.get("network_data_format")).get(side))
    if not described:
        raise BundleError([f"{METADATA}: network_data_format.{side} is missing"])
    if len(described) > 1 and side == "inputs":
        names = ", ".join(described)
        raise BundleError([f"{METADATA}: the network has the inputs {names}; the package format feeds one"])
    return _dict(next(iter(described.values())))


def _image_key(metadata: Mapping[str, Any]) -> str:
    return str(next(iter(_dict(_dict(metadata.get("network_data_format")).get("inputs")))))


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


_MODALITIES = {
    "CT": "CT",
    "MR": "MR",
    "MRI": "MR",
    "CR": "CR",
    "DX": "DX",
    "XRAY": "DX",
    "X-RAY": "DX",
    "MG": "MG",
    "MAMMOGRAM": "MG",
    "US": "US",
    "PT": "PT",
    "PET": "PT",
}


def _modality(given: Mapping[str, Any]) -> str:
    return _MODALITIES.get(str(given.get("modality") or "").upper(), "")


def _channels(answer: Mapping[str, Any]) -> Mapping[int, str]:
    named = _dict(answer.get("channel_def"))
    return {int(key): str(value) for key, value in named.items() if str(key).isdigit() and value}


def _network(folder: Path) -> Path | None:
    """Find the bundle's one ONNX file."""
    found: Sequence[Path] = sorted((folder / MODELS).glob("*.onnx"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BundleError([f"{MODELS}/ holds {names}; say which with --onnx"])
    return found[0] if found else None


def _yaml(folder: Path) -> str | None:
    found = [*(folder / "configs").glob("inference.y*ml")]
    return f"configs/{found[0].name}" if found else None
