"""Papers as Markdown: templates beside this module, and tables that no cell can break.

Promises: a value that a template asks for and does not get is an error, not a gap.
Never: decides what stands in a paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def page(template: str, **values: Any) -> str:
    """Fill in one of the templates."""
    # Markdown for people: what stands in it comes from the site's own configuration.
    environment = Environment(
        loader=PackageLoader("provisioning.papers"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["table"] = table
    return environment.get_template(f"{template}.md").render(**values)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; an empty one says "none"."""
    found = [_row(row) for row in rows]
    empty = _row(["none", *[""] * (len(head) - 1)])
    return "\n".join([_row(head), _row(["---"] * len(head)), *(found or [empty])])


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in cells) + " |"
