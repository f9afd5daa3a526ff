"""Pass on how far a build is, from TensorRT's phases to one share and one word."""

from __future__ import annotations

from typing import Any

from appliance.inference.engine import BuildProgress


class Phases:
    """Keeps the share done of the outermost phase; inner ones move it between two of its steps."""

    def __init__(self, progress: BuildProgress) -> None:
        self._progress = progress
        self._steps: dict[str, int] = {}
        self._outer: str | None = None
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Note a phase and its steps."""
        self._steps[name] = max(steps, 1)
        if parent is None:
            self._outer = name
        self._progress(self._share, name)

    def step(self, name: str, step: int) -> None:
        """Note a step that is done; the share never falls."""
        if name == self._outer:
            self._share = max(self._share, min((step + 1) / self._steps[name], 1.0))
        self._progress(self._share, name)

    def finish(self, name: str) -> None:
        """Note that a phase is over."""
        self._steps.pop(name, None)
        if name == self._outer:
            self._progress(1.0, name)


def monitor_of(library: Any, progress: BuildProgress) -> Any:
    """Make a progress monitor of the library; whoever uses it keeps it alive."""
    phases = Phases(progress)

    class Monitor(library.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
