"""Manifests of every task, small ones, and packages around them whose network is a function."""

from __future__ import annotations

from pathlib import Path

from models.manifest import Manifest, parse
from models.package import Package

HEAD = """
format = 1
name = "small-model"
version = "1.0.0"
intended_use = "Tests."
regulatory_status = "Not a medical device."
licence = "Apache-2.0"
[resources]
memory_mib = 1
"""
ANY = '[accepts]\nwhen = "true"\ngeometry = "any"\n'
REGULAR = '[accepts]\nwhen = "true"\ngeometry = "regular"\n'
_INPUT = '[input]\ntensor = "x"\norientation = "source"\nunits = "HU"\nlayout = '
SLICE = f'{_INPUT}"slice"\n'
IMAGE = f'{_INPUT}"image"\nsize = [8, 12]\nbatch = 2\n'
PATCH = f'{_INPUT}"patch"\npatch = [4, 8, 8]\nbatch = 2\n'.replace("source", "LPS")
VOLUME = f'{_INPUT}"volume"\n'
LESION = '{ value = "52988006", scheme = "SCT", meaning = "Lesion" }'
CATEGORY = '{ value = "49755003", scheme = "SCT", meaning = "Morphologically Abnormal Structure" }'


def labels(*names: str, first: int = 0, within: str = "output") -> str:
    """Labels with everything a segment needs, numbered from `first`."""
    return "".join(
        f'[[{within}.labels]]\nname = "{name}"\nvalue = {value}\ntitle = "{name}"\n'
        f"category = {CATEGORY}\ntype = {LESION}\ncolour_rgb = [1, 2, 3]\n"
        for value, name in enumerate(names, start=first)
    )


def output(kind: str, extra: str = "", dtype: str = "float32") -> str:
    """One output, called y."""
    return f'[output]\ntensor = "y"\nkind = "{kind}"\ndtype = "{dtype}"\n{extra}'


def step(name: str, extra: str = "") -> str:
    """One interpreting step."""
    return f'[[interpret]]\nstep = "{name}"\n{extra}\n'


def manifest(task: str, *sections: str) -> Manifest:
    """Read a manifest made of sections."""
    return parse(f'task = "{task}"\n{HEAD}' + "".join(sections))


def package(task: str, *sections: str) -> Package:
    """A package of a manifest alone: enough for a network that is a function."""
    return Package(root=Path("nowhere"), manifest=manifest(task, *sections), digest="sha256:0")
