"""A first boot at a terminal: each step is answered, skipped, or left for later.

Never: shows a secret, or asks again what was answered, unless somebody goes back to it.
"""

from __future__ import annotations

import typer
from rich.console import Console

from provisioning.firstboot.notes import note_of
from provisioning.firstboot.sitting import Sitting
from provisioning.firstboot.steps import STEPS, Kind, Question, Step, Value, step_of
from provisioning.firstboot.values import AnswerFault


def answer_at(sitting: Sitting, out: Console) -> bool:
    """Go through the steps that are open; say whether somebody wants the configuration written now."""
    while True:
        while (step := sitting.answers.first_open()) is not None:
            if not _take(sitting, step, out):
                return False
        _review(sitting, out)
        wish = _asked("Write the configuration? (yes, no, or the name of a step to answer it again)", "yes")
        if wish in ("yes", "y"):
            return True
        if not any(step.key == wish for step in STEPS):
            return False
        if not _take(sitting, step_of(wish), out):
            return False


def _take(sitting: Sitting, step: Step, out: Console) -> bool:
    """Answer or skip one step; say whether to go on."""
    number = [one.key for one in STEPS].index(step.key) + 1
    out.print(f"\n{number} of {len(STEPS)}: {step.title}", style="bold", markup=False)
    out.print(" ".join(part for part in (step.says, note_of(step)) if part), markup=False)
    while True:
        wish = _asked("answer, skip or quit", "answer")
        if wish in ("quit", "q"):
            return False
        try:
            if wish in ("skip", "s"):
                sitting.skip(step, _asked("Reason", ""))
            else:
                sitting.answer(step, _answers(sitting, step))
        except AnswerFault as fault:
            for sentence in fault.faults:
                out.print(sentence, style="red", markup=False)
            continue
        return True


def _answers(sitting: Sitting, step: Step) -> dict[str, object]:
    shown, given = sitting.shown(step), dict[str, object]()
    for question in step.questions:
        given[question.key] = _one(question, shown[question.key])
    return given


def _one(question: Question, before: Value) -> str:
    label = f"{question.label} ({question.help})"
    if question.choices:
        label = f"{question.label} ({', '.join(question.choices)})"
    if question.kind is Kind.SECRET:
        word: str = typer.prompt(
            label, default="", show_default=False, hide_input=True, confirmation_prompt=True
        )
        return word
    return _asked(label, _typed(before))


def _typed(value: Value) -> str:
    """Write a value as somebody would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _asked(label: str, default: str) -> str:
    answer: str = typer.prompt(label, default=default, show_default=bool(default))
    return answer


def _review(sitting: Sitting, out: Console) -> None:
    out.print()
    for step in STEPS:
        why = sitting.answers.skipped.get(step.key)
        out.print(
            f"{step.key}: {'answered' if why is None else f'skipped: {why}'}", markup=False, highlight=False
        )
    for step_key, faults in sitting.faults().items():
        for fault in faults:
            out.print(f"{step_key}: {fault}", style="red", markup=False)
