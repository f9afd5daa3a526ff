"""What is asked of the maker of a model, and the file it can be answered in.

An answer's key is the manifest's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.importing.toml_text import value_text


@dataclass(frozen=True, kw_only=True)
class Question:
    """Hold one open point.

    Attributes:
        key: where the answer goes: a key of the answers file, with a dot where it lies in a table.
        words: what is asked.
        example: an answer, as TOML.
        offered: what is taken when nothing is said; None: an answer is needed.
        plain: whether the answer is a text, which a terminal takes without quotes.
    """

    key: str
    words: str
    example: str
    offered: Any = None
    plain: bool = False

    @property
    def needed(self) -> bool:
        """Say whether nothing can be made without an answer."""
        return self.offered is None


LISTS = ("labels", "quantities")
"""Keys of lists of tables; in TOML they stand behind everything else."""


def template(questions: Sequence[Question], parts: Mapping[str, Any]) -> str:
    """Write the open questions as TOML to fill in; what needs an answer stands there as a comment."""
    lines = ["# Answers for `readside model import`. Take the # off a line and write your own value."]
    plain = [question for question in questions if "." not in question.key and question.key not in LISTS]
    lines += [line for question in plain for line in _as_toml(question, question.key)]
    heading = ""
    for question in [question for question in questions if question not in plain]:
        table, _, key = question.key.rpartition(".")
        if table and table != heading:
            heading = table
            lines += ["", *_heading(table, parts)]
        lines += _as_toml(question, key)
    return "\n".join(lines) + "\n"


def _heading(table: str, parts: Mapping[str, Any]) -> list[str]:
    """Open the table a question belongs to, with what tells it from its neighbours."""
    name, _, which = table.replace("[", ".").rstrip("]").partition(".")
    if not which:
        return [f"[{name}]"]
    if name == "outputs":
        return ["[[outputs]]", f"tensor = {value_text(which)}"]
    entry = parts[name][int(which) - 1]
    return [
        f"[[{name}]]",
        *(f"{key} = {value_text(entry[key])}" for key in ("value", "name") if key in entry),
    ]


def _as_toml(question: Question, key: str) -> list[str]:
    words = [f"# {line}" for line in question.words.splitlines()]
    if key in LISTS:
        return ["", *words, f"# [[{key}]]", *(f"# {line}" for line in question.example.splitlines())]
    if question.needed:
        return [*words, f"# {key} = {question.example}"]
    return [*words, f"{key} = {value_text(question.offered)}"]
