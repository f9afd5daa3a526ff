"""The manifest of a model package: what the model is for, what it takes, what it answers.

Promises: a manifest that loads is complete and agrees with itself; one that does not load lists every fault
at once, each with the key it belongs to, in words a model developer understands.
Never: looks at the network or at patients' data; the acceptance expression is kept as text.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from models.labels import Text
from models.manifest_draft import Draft, candidates
from models.manifest_faults import in_words
from models.manifest_outputs import Output
from models.manifest_rules import disagreements
from models.manifest_sections import (
    Accepts,
    Channel,
    Input,
    InterpretStep,
    PrepareStep,
    Resources,
    Tolerances,
    Variant,
)
from models.operations.strict import Strict

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$")]
MANIFEST_BYTES_MAX = 1_000_000
_ABOUT_NETWORK = ("network", "input", "channels", "output", "format")


class Manifest(Strict):
    """Hold a whole manifest. One of `output` and `outputs` is given; `answers` is whichever it is."""

    format: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$")]
    task: Literal["classification", "detection", "segmentation", "measurement"]
    intended_use: Text
    regulatory_status: Text
    licence: Text
    network: FileName = "model.onnx"
    accepts: Accepts
    input: Input
    prepare: tuple[PrepareStep, ...] = ()
    channels: tuple[Channel, ...] = ()
    output: Output | None = None
    outputs: tuple[Output, ...] = ()
    interpret: Annotated[tuple[InterpretStep, ...], Field(min_length=1)]
    tolerances: Tolerances = Tolerances()
    resources: Resources
    variant: Variant | None = None

    @property
    def answers(self) -> tuple[Output, ...]:
        """Give every output of the network that is read."""
        return self.outputs if self.output is None else (self.output,)

    @property
    def steps(self) -> frozenset[str]:
        """Give the interpreting steps' names, for those who ask whether the model segments."""
        return frozenset(step.step for step in self.interpret)

    def read_by(self, step: InterpretStep) -> Output:
        """Give the output that an interpreting step reads."""
        return candidates(step, self.answers)[0]


class ManifestError(ValueError):
    """The manifest cannot be used; `faults` lists every reason.

    `about_network` holds only what a network's file is held against, where the manifest says that without
    fault: the file's name, `input`, `channels`, and `output` or `outputs`. Nothing else may be read of it.
    """

    def __init__(self, faults: list[str], about_network: Manifest | None = None) -> None:
        """Take every fault at once."""
        super().__init__("; ".join(faults))
        self.faults, self.about_network = faults, about_network


def load(path: Path) -> Manifest:
    """Read manifest.toml (UTF-8, TOML 1.0).

    Raises:
        ManifestError: the file is missing, too large, not TOML, or not a manifest that agrees with itself.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MANIFEST_BYTES_MAX else None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError([f"{path.name}: cannot be read ({type(error).__name__})"]) from error
    if text is None:
        raise ManifestError([f"{path.name}: {size} bytes, more than {MANIFEST_BYTES_MAX}"])
    return parse(text)


def parse(text: str) -> Manifest:
    """Read a manifest from TOML text.

    Raises:
        ManifestError: as `load`.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError([f"not TOML: {error}"]) from error
    draft = _draft(raw)
    faults = _faults(raw, draft)
    if faults:
        raise ManifestError(faults, _about_network(raw, draft, faults))
    return Manifest.model_validate(raw)


def _faults(raw: Mapping[str, Any], draft: Draft) -> list[str]:
    """List what is wrong in each section, then what does not agree among the sections that are right."""
    faults: list[str] = []
    try:
        Manifest.model_validate(raw)
    except ValidationError as error:
        faults += in_words(error)
    return faults + disagreements(draft)


def _draft(raw: Mapping[str, Any]) -> Draft:
    single = _section(Output, raw, "output")
    several = _section(tuple[Output, ...], raw, "outputs")
    return Draft(
        task=raw.get("task") if isinstance(raw.get("task"), str) else None,
        accepts=_section(Accepts, raw, "accepts"),
        input=_section(Input, raw, "input"),
        prepare=_section(tuple[PrepareStep, ...], raw, "prepare", ()),
        channels=_section(tuple[Channel, ...], raw, "channels", ()),
        outputs=several if single is None else (single,),
        interpret=_section(tuple[InterpretStep, ...], raw, "interpret"),
        given=tuple(key for key in ("output", "outputs") if key in raw),
    )


def _about_network(raw: Mapping[str, Any], draft: Draft, faults: Sequence[str]) -> Manifest | None:
    """Give what the network is held against, so that its faults are told with those of other sections."""
    if any(fault.startswith(_ABOUT_NETWORK) for fault in faults):
        return None
    if draft.input is None or draft.channels is None or not draft.outputs:
        return None
    network = raw.get("network", Manifest.model_fields["network"].default)
    said = {"network": network, "input": draft.input, "channels": draft.channels}
    return Manifest.model_construct(**said, output=None, outputs=draft.outputs)


def _section(kind: Any, raw: Mapping[str, Any], key: str, missing: Any = None) -> Any:
    """Read one section by itself; None when it has faults of its own."""
    if key not in raw:
        return missing
    try:
        return TypeAdapter(kind).validate_python(raw[key])
    except ValidationError:
        return None
