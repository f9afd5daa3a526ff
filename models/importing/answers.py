"""What the maker of a model says beside what its file says, and how the two become one.

An answer has the key it will have in the manifest, so whoever knows the manifest knows the answers. A few
short forms stand for longer ones: `modality`, `window`, `threshold`, `[[labels]]`, `[[quantities]]`.
"""

import copy
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.importing.concepts import expanded
from models.importing.limits import ImportLimits
from models.importing.questions import Question
from models.manifest import Manifest

AXES = ("zyx", "xyz", "yx", "xy")
_TABLES = ("accepts", "input", "output", "tolerances", "resources", "variant")
_LISTS = ("prepare", "channels", "outputs", "labels", "quantities", "interpret")
SHORT_FORMS = ("axes", "read_outputs", "modality", "window", "threshold", "labels", "quantities", "findings")


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
    faults = [f"{path.name}: {key} is not something a manifest says" for key in answers if key not in known]
    faults += [f"{path.name}: {fault}" for fault in _shape_faults(answers)]
    if faults:
        raise AnswersError(faults)
    return answers


def _shape_faults(answers: Mapping[str, Any]) -> Iterator[str]:
    """List answers that are not even of the right kind; what they say is judged with the manifest."""
    for key in _TABLES:
        if key in answers and not isinstance(answers[key], dict):
            yield f"{key} must be a table"
    for key in _LISTS:
        if key in answers and not _are_tables(answers[key]):
            yield f"{key} must be a list of tables, [[{key}]]"
    window, axes = answers.get("window", []), answers.get("axes", AXES[0])
    if not isinstance(window, list) or len(window) not in (0, 2) or not all(map(_is_number, window)):
        yield "window must be [low, high], or [] for none"
    if axes not in AXES:
        yield f"axes is {axes!r}; it must be one of {', '.join(AXES)}"
    if not isinstance(answers.get("read_outputs", []), list):
        yield 'read_outputs must be a list of names, ["pred"]'
    if not isinstance(answers.get("modality", ""), str):
        yield "modality must be text in quotes"


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
        elif key == "input":
            whole[key] = _laid_out(whole.get(key, {}), value) | dict(value)
        elif isinstance(value, Mapping) and isinstance(whole.get(key), dict):
            whole[key] = whole[key] | dict(value)
        else:
            whole[key] = value
    if "read_outputs" in whole:
        whole["outputs"] = [one for one in whole["outputs"] if one["tensor"] in whole["read_outputs"]]
    return whole


def _laid_out(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Follow an answer that names another layout: the sides the graph fixes become that layout's."""
    layout = given.get("layout", known.get("layout"))
    if layout == known.get("layout"):
        return dict(known)
    sides = known.get("patch") or known.get("size")
    laid = {key: value for key, value in known.items() if key not in ("patch", "size", "overlap", "batch")}
    if sides and layout == "patch":
        return laid | {"patch": sides, "overlap": 0.5}
    return laid | ({"size": sides} if sides and layout in ("volume", "image") else {})


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
    for one in given:
        tensor = one.get("tensor", outputs[0]["tensor"] if len(outputs) == 1 else None)
        known = next((output for output in outputs if output["tensor"] == tensor), None)
        if known is None:
            outputs.append(dict(one))
        else:
            known.update(one)


def _lay_labels(known: list[dict[str, Any]], given: Any) -> list[dict[str, Any]]:
    """Match labels by number, or name, so that an answer need only add what is missing."""
    laid = [dict(one) for one in known]
    for one in given:
        key = "value" if "value" in one else "name"
        same = next((old for old in laid if key in one and old.get(key) == one[key]), None)
        if same is None:
            laid.append(expanded(one))
        else:
            same.update(expanded(one))
    return laid
