"""The configuration of a MONAI bundle, read as data.

A bundle's JSON refers to its own values ("@inferer#roi_size") and holds Python after a "$".
Promises: references are followed, literals behind a "$" are read; any other Python stays text and is known to
be Python, so that whoever needs its value can say that it was not read.
Never: runs a line of it.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.importing.limits import ImportLimits

_REFERENCE, _PYTHON = "@", "$"


class BundleError(ValueError):
    """The bundle cannot be read; `faults` lists every reason."""

    def __init__(self, faults: list[str]) -> None:
        """Take every fault at once."""
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Python:
    """Hold a value that only running Python would give."""

    text: str

    def __str__(self) -> str:
        """Write it as the bundle does."""
        return f"${self.text}"


@dataclass(frozen=True, kw_only=True)
class Component:
    """Hold an object a bundle would make: the last part of its class's name, and its parameters."""

    name: str
    parameters: Mapping[str, Any]


def read_json(path: Path, limits: ImportLimits) -> Mapping[str, Any]:
    """Read one configuration file.

    Raises:
        BundleError: missing, too large, not JSON, or not an object.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        if path.stat().st_size > limits.config_bytes_max:
            raise BundleError([f"{where}: more than {limits.config_bytes_max} bytes"])
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError([f"{where}: is missing; a bundle has it"]) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError([f"{where}: cannot be read as JSON ({type(error).__name__})"]) from error
    if not isinstance(value, dict):
        raise BundleError([f"{where}: is not a JSON object"])
    return value


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Hold one file and follow its references."""

    raw: Mapping[str, Any]
    limits: ImportLimits

    def components(self, key: str) -> list[Component]:
        """Give the parts of a Compose, or the one component, that `key` names; none when it is absent."""
        whole = self.value(self.raw.get(key))
        if isinstance(whole, Component) and whole.name == "Compose":
            whole = whole.parameters.get("transforms", [])
        listed = whole if isinstance(whole, list) else [whole]
        return [_as_component(one) for one in listed if one is not None]

    def value(self, value: Any, *, depth: int = 0) -> Any:
        """Read a value: references followed, literals read, `_target_` objects as components."""
        if depth > self.limits.references_max:
            return Python(text="a reference that leads in a circle")
        if isinstance(value, str):
            return self._text(value, depth)
        if isinstance(value, list):
            return [one for one in (self.value(item, depth=depth + 1) for item in value) if one is not None]
        if isinstance(value, dict):
            return self._object(value, depth)
        return value

    def _object(self, value: Mapping[str, Any], depth: int) -> Any:
        if self.value(value.get("_disabled_"), depth=depth + 1) in (True, "true"):
            return None
        parameters = {
            key: self.value(one, depth=depth + 1) for key, one in value.items() if not key.startswith("_")
        }
        target = value.get("_target_")
        return Component(name=str(target).rpartition(".")[2], parameters=parameters) if target else parameters

    def _text(self, text: str, depth: int) -> Any:
        if text.startswith(_REFERENCE):
            return self._follow(text, depth)
        if not text.startswith(_PYTHON):
            return text
        code = text[1:].strip()
        if code.startswith(_REFERENCE) and all(part.isidentifier() or part.isdigit() for part in _path(code)):
            return self._follow(code, depth)
        try:
            return ast.literal_eval(code)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return Python(text=code)

    def _follow(self, reference: str, depth: int) -> Any:
        found: Any = self.raw
        for part in _path(reference):
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
                found = found[int(part)]
            else:
                return Python(text=f"{reference} (names nothing)")
        return self.value(found, depth=depth + 1)


def _path(reference: str) -> list[str]:
    """Split "@a#b" or "@a::b"."""
    return reference.removeprefix(_REFERENCE).replace("::", "#").split("#")


def _as_component(value: Any) -> Component:
    if isinstance(value, Component):
        return value
    return Component(name=str(value)[:80], parameters={})
