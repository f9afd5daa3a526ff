"""A manifest that is being judged: its sections as far as they are right by themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.manifest_outputs import Output
from models.manifest_sections import Accepts, Channel, Input, InterpretStep, PrepareStep


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Hold the sections of a manifest that is being judged; None: that section has faults of its own.

    `given` says which of "output" and "outputs" the manifest has.
    """

    task: str | None
    accepts: Accepts | None
    input: Input | None
    prepare: tuple[PrepareStep, ...] | None
    channels: tuple[Channel, ...] | None
    outputs: tuple[Output, ...] | None
    interpret: tuple[InterpretStep, ...] | None
    given: tuple[str, ...] = ("output",)

    def each_output(self) -> Iterator[tuple[str, Output]]:
        """Give every output with its key."""
        for number, output in enumerate(self.outputs or (), start=1):
            yield ("output" if "output" in self.given else f"outputs[{number}]"), output

    def each_step(self) -> Iterator[tuple[str, InterpretStep]]:
        """Give every interpreting step with its key."""
        for number, step in enumerate(self.interpret or (), start=1):
            yield f"interpret[{number}]", step


def candidates(step: InterpretStep, outputs: Sequence[Output]) -> list[Output]:
    """Give the outputs a step could mean: the one it names, else every one of a kind it reads."""
    if step.output is not None:
        return [output for output in outputs if output.called == step.output]
    return [output for output in outputs if output.kind in step.reads]
