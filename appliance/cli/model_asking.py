"""Get a draft's open points answered: from a file, at a terminal, or not at all."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from appliance.cli.terms import BAD_USE, err, fail, print_json
from models.importing.answers import AnswersError, merged, put, read_answers, with_offers
from models.importing.draft import Draft
from models.importing.open_points import open_questions
from models.importing.questions import LISTS, Question, template


def asked_for(draft: Draft, parts: Mapping[str, Any]) -> str:
    """Give the open points as a TOML file to fill in."""
    return template(open_questions(parts, draft.widths), parts)


def with_file(parts: Mapping[str, Any], answers: Path | None) -> dict[str, Any]:
    """Lay the answers of a file over what is known, or end with what is wrong with it."""
    if answers is None:
        return dict(parts)
    try:
        return merged(parts, read_answers(answers))
    except AnswersError as error:
        refuse(error.faults)


def complete(draft: Draft, parts: Mapping[str, Any], *, ask: bool, as_json: bool = False) -> dict[str, Any]:
    """Get every open point answered, or end with the list of those that are not."""
    whole = dict(parts)
    if ask:
        whole = _asked(draft, whole)
    questions = open_questions(whole, draft.widths)
    missing = [question for question in questions if question.needed]
    if missing:
        _list_missing(missing, as_json=as_json)
        raise typer.Exit(BAD_USE)
    return with_offers(whole, questions)


def _list_missing(missing: Sequence[Question], *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "unanswered": {question.key: question.words for question in missing}})
        return
    err.print("Not known, and not to be read from the network:", markup=False)
    for question in missing:
        err.print(f"  {question.key}: {' '.join(question.words.split())}", markup=False)
    err.print("Answer them in a TOML file: --questions prints one, --answers FILE reads it.", markup=False)


def at_a_terminal(answers: Path | None) -> bool:
    """Say whether somebody is there to ask."""
    return answers is None and sys.stdin.isatty()


def refuse(faults: Sequence[str], *, code: int = BAD_USE) -> NoReturn:
    """Say every fault and end."""
    for fault in faults[:-1]:
        err.print(fault, markup=False)
    fail(faults[-1], code=code)


def _asked(draft: Draft, parts: dict[str, Any]) -> dict[str, Any]:
    """Ask one after the other; an answer can open or close others."""
    passed: set[str] = set()
    while True:
        left = [one for one in open_questions(parts, draft.widths) if one.key not in passed]
        if not left:
            return parts
        question = left[0]
        passed.add(question.key)
        if question.key in LISTS:
            parts = parts | {question.key: _entries(question)}
        else:
            parts = put(parts, question.key, _answer(question))


def _answer(question: Question) -> Any:
    """Ask until the answer can be read."""
    default = question.offered if question.plain or question.offered is None else str(question.offered)
    while True:
        typer.echo(question.words)
        text = typer.prompt(f"{question.key} (such as {question.example})", default=default, type=str)
        if question.plain:
            return str(text).strip().strip('"')
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            err.print(f"That cannot be read; write it as {question.example}.", markup=False)


def _entries(question: Question) -> list[dict[str, Any]]:
    """Ask for names by number until none is given; what belongs to each is asked next."""
    typer.echo(question.words)
    entries: list[dict[str, Any]] = []
    while True:
        name = typer.prompt("Name of the next one (empty: no more)", default="", show_default=False)
        if not name:
            return entries
        value = typer.prompt("Its channel or number", default=len(entries) + 1, type=int)
        entries.append({"name": name, "value": value, "title": name})
