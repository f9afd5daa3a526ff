"""What the maker of a model says beside what its file says, and how the two become one.

An answer has the key it will have in the manifest, so whoever knows the manifest knows the answers. A few
short forms stand for longer ones: `modality`, `window`, `threshold`, `[[labels]]`, `[[quantities]]`.
"""

import copy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.importing.concepts import expanded
from models.importing.limits import ImportLimits
from models.importing.questions import Question
from models.manifest import Manifest

SHORT_FORMS = ("axes", "modality", "window", "threshold", "labels", "quantities", "findings")


class AnswersError(ValueError):
    """The answers cannot be used; `faults` lists every reason."""

    def __init__(self, faults: list[str]) -> None:
        """Take every fault at once."""
        super().__init__("; ".join(faults))
        self.faults = faults


def read_answers(path: Path, limits: ImportLimits | None = None) -> dict[str, Any]:
    """Read a TOML file of answers.

    Raises:
        AnswersError: missing, too large, not TOML, or with keys no manifest has.
    """
    limits = limits or ImportLimits()
    try:
        if path.stat().st_size > limits.config_bytes_max:
            raise AnswersError([f"{path.name}: more than {limits.config_bytes_max} bytes"])
        answers = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise AnswersError([f"{path.name}: cannot be read ({type(error).__name__})"]) from error
    except tomllib.TOMLDecodeError as error:
        raise AnswersError([f"{path.name}: not TOML: {error}"]) from error
    known = {*Manifest.model_fields, *SHORT_FORMS}
    unknown = [f"{path.name}: {key} is not something a manifest says" for key in answers if key not in known]
    if unknown:
        raise AnswersError(unknown)
    return answers


def merged(parts: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay answers over what is known; they win, table by table, and outputs are matched by tensor."""
    whole = copy.deepcopy(dict(parts))
    for key, value in answers.items():
        if key == "output":
            _lay_outputs(whole, [value])
        elif key == "outputs":
            _lay_outputs(whole, value)
        elif key in ("labels", "quantities"):
            whole[key] = _lay_labels(whole.get(key, []), value)
        elif isinstance(value, Mapping) and isinstance(whole.get(key), dict):
            whole[key] = whole[key] | dict(value)
        else:
            whole[key] = value
    return whole


def put(parts: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Answer one question: `key` is a question's, "input.patch", "outputs.pred.kind" or "labels[1].type"."""
    table, _, last = key.rpartition(".")
    name, _, which = table.replace("[", ".").rstrip("]").partition(".")
    if not table:
        return merged(parts, {key: value})
    if name == "outputs":
        return merged(parts, {name: [{"tensor": which, last: value}]})
    if which:
        entries = [dict(entry) for entry in parts[name]]
        entries[int(which) - 1] |= expanded({last: value})
        return {**parts, name: entries}
    return merged(parts, {name: {last: value}})


def with_offers(parts: Mapping[str, Any], questions: Sequence[Question]) -> dict[str, Any]:
    """Take what is offered for every question that nobody answered."""
    whole = dict(parts)
    for question in questions:
        if not question.needed:
            whole = put(whole, question.key, question.offered)
    return whole


def _lay_outputs(whole: dict[str, Any], given: Any) -> None:
    outputs = whole.setdefault("outputs", [])
    for one in given if isinstance(given, list) else []:
        tensor = one.get("tensor", outputs[0]["tensor"] if len(outputs) == 1 else None)
        known = next((output for output in outputs if output["tensor"] == tensor), None)
        if known is None:
            outputs.append(dict(one))
        else:
            known.update(one)


def _lay_labels(known: list[dict[str, Any]], given: Any) -> list[dict[str, Any]]:
    """Match labels by their number, so that an answer need only add what is missing."""
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        return known
    laid = [dict(one) for one in known]
    for one in given:
        same = next((old for old in laid if "value" in one and old.get("value") == one["value"]), None)
        if same is None:
            laid.append(expanded(one))
        else:
            same.update(expanded(one))
    return laid
