"""`readside registry rollout`: start, approve, pause, resume, stop, back, show, list."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from appliance.cli.terms import JsonOption, fail, out, print_json
from appliance.core.clock import SYSTEM
from provisioning.registry.book import Book
from provisioning.registry.database import rollouts
from provisioning.registry.database.rollouts import Rollout
from provisioning.registry.operator import operator
from provisioning.registry.rollout.decide import Proposal, decide, found, propose
from provisioning.registry.rollout.events import Approved, Decision, Paused, Resumed, Returned, Stopped
from provisioning.registry.rollout.plan import SHARES, gates_of
from provisioning.registry.rollout.view import detail, entry_view, summary
from provisioning.registry.server.commands import DatabaseOption, opened_database

FolderOption = Annotated[Path, typer.Option("--registry", help="The registry's folder.")]
NumberArgument = Annotated[int, typer.Argument(help="The roll-out's number.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why, for who reads the audit trail.")]

app = typer.Typer(help="Roll a release out in rings that stop by themselves.", no_args_is_help=True)


@app.command("start")
def start(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str, typer.Argument(help="The release's version.")],
    registry: FolderOption,
    database: DatabaseOption = "",
    slot: Annotated[list[str] | None, typer.Option(help="Only these slots; may be given often.")] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(help="Share of the slots that a ring ends at, like 0.1 and 1; may be given often."),
    ] = None,
    gates: Annotated[
        Path | None, typer.Option("--gates", help="TOML file with other limits than the gates' defaults.")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Devices that may change at the same time.")] = 50,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Propose a roll-out; it begins when somebody else approves it."""
    with opened_database(registry, database) as opened:
        proposal = Proposal(
            model=model,
            version=version,
            by=operator(),
            slots=slot or (),
            shares=share or SHARES,
            gates=gates_of(_read(gates)),
            at_once_max=at_once,
            why=why,
        )
        made = propose(opened, Book(folder=registry), proposal)
    _say(made, "waits for the approval of somebody else", as_json=as_json)


@app.command("approve")
def approve(
    number: NumberArgument,
    registry: FolderOption,
    database: DatabaseOption = "",
    ring: Annotated[
        int | None, typer.Option(help="Let this ring pass, though its evidence is not enough; needs --why.")
    ] = None,
    why: WhyOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a roll-out begin, or a ring that is held pass; who made it may not."""

    def event(at: float, by: str) -> Decision:
        return Approved(at=at, by=by, why=why, ring=ring)

    _decided(number, registry, database, event, as_json=as_json)


# What a person decides without a ring: the command, what it comes to, and its help.
_DECISIONS: Final[tuple[tuple[str, type[Paused | Resumed | Stopped | Returned], str], ...]] = (
    ("pause", Paused, "Assign nothing more, and take back what does not serve yet."),
    ("resume", Resumed, "Go on where it was paused."),
    ("stop", Stopped, "End it for good; devices that run the release keep it."),
    ("back", Returned, "End it for good, and assign every device what it had before."),
)


def _add(name: str, kind: type[Paused | Resumed | Stopped | Returned], says: str) -> None:
    @app.command(name, help=says)
    def decided(
        number: NumberArgument,
        registry: FolderOption,
        database: DatabaseOption = "",
        why: WhyOption = "",
        as_json: JsonOption = False,
    ) -> None:
        _decided(number, registry, database, lambda at, by: kind(at=at, by=by, why=why), as_json=as_json)


for _name, _kind, _says in _DECISIONS:
    _add(_name, _kind, _says)


@app.command("show")
def show(
    number: NumberArgument, registry: FolderOption, database: DatabaseOption = "", as_json: JsonOption = False
) -> None:
    """Show where a roll-out stands, why, and every slot of it."""
    with opened_database(registry, database) as opened, opened.read() as tx:
        one, entries = found(tx, number), rollouts.history(tx, number)
    said = detail(one)
    if as_json:
        print_json({**said, "events": [entry_view(entry) for entry in entries]})
        return
    _heading(said)
    for reason in said["reasons"]:
        out.print(f"  {reason}", markup=False)
    table = Table("ring", "slot", "gpu", "scanner", "stands", "phase", "word", "assigned", "before", box=None)
    for ring, slots in enumerate(said["ring_slots"]):
        for name, slot in slots.items():
            stand = slot["stand"] if slot["reachable"] else f"{slot['stand']}, offline"
            row = (ring, name, slot["gpu"], slot["vendor"], stand, slot["phase"], slot["word"])
            table.add_row(*(str(cell) for cell in (*row, slot["assigned"] or "-", slot["before"] or "-")))
    out.print(table)


@app.command("list")
def list_rollouts(registry: FolderOption, database: DatabaseOption = "", as_json: JsonOption = False) -> None:
    """List roll-outs, the newest first."""
    with opened_database(registry, database) as opened, opened.read() as tx:
        found_ones = [summary(one) for one in rollouts.every(tx)]
    if as_json:
        print_json({"rollouts": found_ones})
        return
    table = Table("number", "model", "version", "stage", "ring", "gate", "why", box=None)
    for one in found_ones:
        ring = f"{one['ring'] + 1} of {one['rings']}"
        row = (one["id"], one["model"], one["version"], one["stage"], ring, one["verdict"] or "-", one["why"])
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def add_to(registry_app: typer.Typer) -> None:
    """Add these commands to the group that the command line has for the registry."""
    registry_app.add_typer(app, name="rollout")


def _decided(
    number: int,
    registry: Path,
    database: str,
    event: Callable[[float, str], Decision],
    *,
    as_json: bool,
) -> None:
    with opened_database(registry, database) as opened:
        after = decide(opened, number, event(SYSTEM.now(), operator()))
    _say(after, f"is {after.state.stage}", as_json=as_json)


def _say(one: Rollout, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, **detail(one)})
        return
    out.print(f"Roll-out {one.id} of {one.plan.model} {one.plan.version} {what}.", markup=False)
    for number, ring in enumerate(one.plan.rings):
        out.print(f"  ring {number}: {', '.join(ring)}", markup=False)


def _heading(said: dict[str, Any]) -> None:
    counts = ", ".join(f"{count} {stand}" for stand, count in said["slots"].items())
    out.print(
        f"Roll-out {said['id']}, {said['model']} {said['version']}: {said['stage']},"
        f" ring {said['ring'] + 1} of {said['rings']}; {counts}",
        markup=False,
    )
    if said["asked"]:
        out.print("  The gate could not decide in time: a person must.")


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{path.name}: cannot be read as TOML ({type(error).__name__})", code=2)
