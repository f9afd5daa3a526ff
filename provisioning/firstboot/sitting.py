"""One first boot under way: what a page, a terminal and a file all do, and none of them in another way.

Promises: an answer that was taken is on disk; one with a fault changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from provisioning.firstboot.answers import Answers, read_answers, write_answers
from provisioning.firstboot.compose import compose, faults_of
from provisioning.firstboot.steps import Step, Value
from provisioning.firstboot.values import AnswerFault, reason, take

# An address that nobody has (RFC 5737): the way there is looked up, and nothing is sent.
_ELSEWHERE = ("192.0.2.1", 9)


class Sitting:
    """The answers of one box, kept after each step in `state`, for a configuration at `config`."""

    def __init__(self, *, state: Path, config: Path) -> None:
        """Go on where somebody left off.

        Raises:
            StateFault: what is there cannot be read.
        """
        self.state, self.config = state, config
        self.answers = read_answers(state)

    @property
    def roots(self) -> Path:
        """Return where the box keeps what its registry gives it: beside its configuration."""
        return self.config.absolute().parent / "registry"

    @property
    def text(self) -> str:
        """Return the configuration that the answers make."""
        return compose(self.answers, roots=self.roots)

    def answer(self, step: Step, raw: Mapping[str, object]) -> None:
        """Take the answers to a step.

        Raises:
            AnswerFault: they cannot be taken, alone or with the others; nothing was kept.
            NoSpace, DiskFault: the disk is full or failed.
        """
        values = take(step, self.filled(step, raw), self.answers.of(step.key))
        wanted = self.answers.answered(step.key, values)
        if faults := faults_of(wanted, roots=self.roots).get(step.key):
            raise AnswerFault(faults)
        self.keep(wanted)

    def skip(self, step: Step, why: object) -> None:
        """Skip a step for a reason.

        Raises:
            AnswerFault: there is none.
            NoSpace, DiskFault: the disk is full or failed.
        """
        self.keep(self.answers.skipping(step.key, reason(step, why)))

    def keep(self, answers: Answers) -> None:
        """Keep answers, durably."""
        write_answers(self.state, answers)
        self.answers = answers

    def faults(self) -> dict[str, list[str]]:
        """Return what keeps this from being finished, by step."""
        return faults_of(self.answers, roots=self.roots)

    def shown(self, step: Step) -> dict[str, Value]:
        """Return what stands in each question before somebody answers: what is kept, else the default."""
        kept = self.answers.of(step.key)
        before: dict[str, Value] = {}
        for question in step.questions:
            value = kept.get(question.key, question.default)
            before[question.key] = "" if value is None or question.secret else value
        if step.key == "network" and not before["address"]:
            before["address"] = detected()
        return before

    def filled(self, step: Step, raw: Mapping[str, object]) -> Mapping[str, object]:
        """Let a blank address be the one that was found."""
        if step.key != "network" or raw.get("address"):
            return raw
        return {**raw, "address": detected()}


def detected() -> str:
    """Return the address by which this machine reaches others; empty if it has none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(_ELSEWHERE)
        return str(asking.getsockname()[0])
    return ""
