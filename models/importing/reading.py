"""What was understood of a pipeline that was written for other software, and what was not.

Promises: every part of the pipeline ends in exactly one list: imported, imported with a difference that is
stated, or not imported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.importing.monai_config import Component, Python


class NotExpressed(Exception):
    """The package format has nothing that does this; the text says why, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Hold one part that was not imported: its name, its parameters as the bundle writes them, and why."""

    name: str
    parameters: Mapping[str, Any]
    reason: str

    def written(self) -> str:
        """Write the parameters on one line."""
        return ", ".join(f"{key}={_short(value)}" for key, value in self.parameters.items())


@dataclass(kw_only=True)
class Reading:
    """Collect the manifest's parts while a pipeline is read.

    Attributes:
        input: keys of `[input]`.
        output: keys of the one `[[outputs]]`.
        prepare: steps of `[[prepare]]`, in order.
        copies: channels that are all fed the same image; 1 unless the pipeline repeats it.
        reversed_axes: whether the network takes (x, y, z) where the package format gives (z, y, x).
        threshold: from which probability something counts, where the pipeline says so.
        imported: sentences, one per part that was understood.
        differences: sentences, one per part that does nearly the same here.
        missing: the parts that were not imported.
    """

    input: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    prepare: list[dict[str, Any]] = field(default_factory=list)
    copies: int = 1
    reversed_axes: bool = True
    threshold: float | None = None
    imported: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def leave_out(self, name: str, parameters: Mapping[str, Any], reason: str) -> None:
        """Name a part that is not imported."""
        self.missing.append(Missing(name=name, parameters=dict(parameters), reason=reason))


class Parameters:
    """Give the parameters of one component, and know which were never asked for."""

    def __init__(self, component: Component) -> None:
        """Begin with all of them unread."""
        self._all = dict(component.parameters)
        self._unread = set(self._all)

    def take(self, name: str, default: Any = None) -> Any:
        """Give a value.

        Raises:
            NotExpressed: it is Python, which is never run.
        """
        self._unread.discard(name)
        value = self._all.get(name, default)
        if any(isinstance(one, Python) for one in _leaves(value)):
            raise NotExpressed(f"{name} is Python, which is not run")
        return value

    def __contains__(self, name: str) -> bool:
        """Say whether a parameter is given."""
        return name in self._all

    def number(self, name: str, default: float | None = None) -> float | None:
        """Give a number, or None.

        Raises:
            NotExpressed: it is something else.
        """
        value = self.take(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NotExpressed(f"{name} is {_short(value)}, not one number")
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """Give a yes or no; a list counts by its first entry."""
        value = self.take(name, default)
        return bool(value[0] if isinstance(value, list) and value else value)

    def held_to(self, **wanted: Any) -> None:
        """Demand values this importer reads; a missing parameter has its default.

        Raises:
            NotExpressed: another value is given.
        """
        for name, allowed in wanted.items():
            if name not in self._all:
                continue
            value = self.take(name)
            if value not in (allowed if isinstance(allowed, tuple) else (allowed,)):
                raise NotExpressed(f"{name} is {_short(value)}")

    def held_to_floats(self) -> None:
        """Demand that numbers stay floating point.

        Raises:
            NotExpressed: `dtype` names another type.
        """
        value = self._all.get("dtype")
        self._unread.discard("dtype")
        listed = value if isinstance(value, list) else [value]
        for one in listed:
            if one is not None and not str(one).rpartition(".")[2].lstrip("$").startswith("float"):
                raise NotExpressed(f"dtype is {one}")

    def pass_over(self, *names: str) -> None:
        """Name parameters that change no number."""
        self._unread.difference_update(names)

    def done(self) -> None:
        """Demand that nothing is left.

        Raises:
            NotExpressed: a parameter was never asked for.
        """
        if self._unread:
            raise NotExpressed(f"this importer does not know its parameter {', '.join(sorted(self._unread))}")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def _short(value: Any) -> str:
    if isinstance(value, Component):
        return f"{value.name}(...)"
    text = str(value) if isinstance(value, Python) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
