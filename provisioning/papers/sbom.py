"""The software bill of materials of an installation, as CycloneDX 1.6 in JSON (ECMA-424).

Promises: one component for each Python package that is installed, with its version and what it says of its
licence; the same installation gives the same bytes.
Never: lists what the operating system brings; its own tools do that.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions
from typing import Any
from uuid import NAMESPACE_URL, uuid5

_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_NAME_CHARACTERS_MAX = 100


def bill_of_materials(name: str, version: str) -> dict[str, Any]:
    """Return the bill of the installed packages."""
    listed = {_normal(one.metadata["Name"]): one for one in distributions()}
    parts = [_component(key, one) for key, one in sorted(listed.items()) if key != name]
    own = {"type": "application", "bom-ref": f"pkg:pypi/{name}@{version}", "name": name, "version": version}
    depends = [
        {"ref": own["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
        *({"ref": part["bom-ref"]} for part in parts),
    ]
    serial = uuid5(NAMESPACE_URL, "\n".join(entry["ref"] for entry in depends))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": parts,
        "dependencies": depends,
    }


def _component(key: str, one: Distribution) -> dict[str, Any]:
    reference = f"pkg:pypi/{key}@{one.version}"
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": key,
        "version": one.version,
        "purl": reference,
    }
    licences = _licences(one)
    return {**made, "licenses": licences} if licences else made


def _licences(one: Distribution) -> list[dict[str, Any]]:
    """Return what a package says of its licence: an expression of SPDX, a classifier, or words of its own."""
    expression = _field(one, "License-Expression")
    if expression and _EXPRESSION.fullmatch(expression.replace("(", "").replace(")", "")):
        return [{"expression": expression}]
    classifiers = [str(value) for value in one.metadata.get_all("Classifier") or ()]
    named = [value.rsplit(" :: ", 1)[-1] for value in classifiers if value.startswith("License ::")]
    words = _field(one, "License").split("\n")[0][:_NAME_CHARACTERS_MAX]
    return [{"license": {"name": name}} for name in dict.fromkeys(named or ([words] if words else []))]


def _field(one: Distribution, name: str) -> str:
    return str(one.metadata[name] or "").strip() if name in one.metadata else ""


def _normal(name: str) -> str:
    """Return a package's name as indexes write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
