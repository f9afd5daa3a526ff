"""Commands that make a box one of a fleet, and keep it one where there is no network."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import typer

app = typer.Typer(
    help="Enrol, accept and supply a box, with a network or with a stick.", no_args_is_help=True
)
# The fleet stands on the box and not the box on the fleet: what is up there is asked for by name, here alone.
# Each module hangs in what it has with `add_to(app)`.
ROOMS: Final[tuple[str, ...]] = (
    "provisioning.bundle.commands",
    "provisioning.identity.commands",
    "provisioning.host.commands",
    "provisioning.papers.commands",
    "provisioning.acceptance.commands",
    "provisioning.firstboot.commands",
)
for _room in ROOMS:
    import_module(_room).add_to(app)


@app.callback()
def _group() -> None:
    """Keep it a group of commands, however many there are."""
