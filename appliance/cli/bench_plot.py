"""A picture of a models' benchmark: throughput by batch size, one line for each engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PlotLacking(Exception):
    """There is nothing to draw with; the numbers are written all the same."""


def plot(told: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write bench.json, and bench.png and bench.svg beside it; return the files.

    Raises:
        PlotLacking: the drawing library is not installed; bench.json is there.
    """
    numbers = folder / "bench.json"
    numbers.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PlotLacking(
            f"{numbers} is written; for a plot install the extra `bench` of readside"
        ) from error
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for engine, text in told["engines"].items():
        rows = [one for one in told["speeds"] if one["engine"] == engine and one["fault"] is None]
        axes.plot(
            [one["batch"] for one in rows], [one["items_per_second"] for one in rows], marker="o", label=text
        )
    axes.set_xticks(sorted({one["batch"] for one in told["speeds"]}))
    axes.set_xlabel("batch size")
    axes.set_ylabel("items per second (median call)")
    axes.set_ylim(bottom=0)
    axes.set_title(f"{told['model']} {told['version']}")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    made = [numbers]
    for suffix in ("png", "svg"):
        made.append(folder / f"bench.{suffix}")
        figure.savefig(made[-1], dpi=120)
    return made
