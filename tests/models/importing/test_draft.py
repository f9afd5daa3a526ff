from __future__ import annotations

import tomllib
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from models.importing.answers import AnswersError, merged, put, with_offers
from models.importing.draft import Draft, draft_of
from models.importing.finish import finished
from models.importing.graph import GraphError, read_model
from models.importing.open_points import open_questions
from models.importing.questions import template
from tests.models.importing import networks

ABOUT: dict[str, Any] = {
    "task": "segmentation",
    "intended_use": "Testing.",
    "regulatory_status": "None.",
    "licence": "Apache-2.0",
    "modality": "CT",
}
SOLID: dict[str, Any] = {
    "axes": "zyx",
    "window": [-100, 300],
    "input": {"orientation": "LPS", "spacing_mm": [2.0, 1.0, 1.0]},
}
SPLEEN: dict[str, Any] = {"name": "spleen", "value": 1, "type": "78961009 SCT Spleen", "category": "anatomy"}


def _draft(model: ModelProto) -> Draft:
    return draft_of(read_model(model), file_name="My Net v2.onnx")


def _needed(draft: Draft, answers: dict[str, Any]) -> list[str]:
    parts = merged(draft.parts, answers)
    return [question.key for question in open_questions(parts, draft.widths) if question.needed]


def _manifest(draft: Draft, answers: dict[str, Any]) -> Any:
    parts = merged(draft.parts, answers)
    whole = with_offers(parts, open_questions(parts, draft.widths))
    return finished(whole, widths=draft.widths)[1]


def test_what_the_graph_says_is_not_asked() -> None:
    draft = _draft(networks.two_classes(last="Softmax"))

    assert draft.parts["name"] == "my-net-v2"
    assert draft.parts["input"] == {
        "tensor": "image",
        "dtype": "float32",
        "layout": "patch",
        "patch": [8, 6, 4],
        "overlap": 0.5,
        "batch": 1,
    }
    assert draft.parts["outputs"] == [
        {"tensor": "pred", "dtype": "float32", "rank": 5, "kind": "classes", "activation": "none"}
    ]
    assert _needed(draft, ABOUT | SOLID | {"labels": [SPLEEN]}) == []


def test_everything_open_is_known_at_once() -> None:
    assert _needed(_draft(networks.two_classes()), {}) == [
        "task",
        "intended_use",
        "regulatory_status",
        "licence",
        "modality",
        "axes",
        "input.orientation",
        "input.spacing_mm",
        "window",
        "output.kind",
        "labels",
    ]


def test_what_follows_from_an_open_point_is_named_with_it() -> None:
    solid = _needed(_draft(networks.two_classes(("n", 1, "z", "y", "x"))), {})
    flat = _needed(_draft(networks.two_classes(("n", 1, "y", "x"))), {})
    scores = _needed(_draft(networks.scores()), {})

    assert {"input.layout", "input.patch"} <= set(solid)
    assert {"input.layout", "input.size"} <= set(flat)
    assert {"task", "output.activation"} <= set(scores)
    assert "input.patch" not in _needed(
        _draft(networks.two_classes(("n", 1, "z", "y", "x"))), {"input": {"layout": "volume"}}
    )
    assert "output.activation" not in _needed(_draft(networks.scores()), {"task": "measurement"})


def test_answers_and_graph_make_a_manifest() -> None:
    manifest = _manifest(
        _draft(networks.two_classes()), ABOUT | SOLID | {"output": {"kind": "classes"}, "labels": [SPLEEN]}
    )

    assert manifest.accepts.when == 'Modality == "CT"'
    assert manifest.accepts.geometry == "regular"
    assert manifest.input.units == "HU"
    assert [step.step for step in manifest.prepare] == ["resample", "clip", "scale"]
    assert manifest.answers[0].activation == "softmax", "offered, and taken because nobody said otherwise"
    assert manifest.answers[0].labels[0].type.meaning == "Spleen"
    assert [step.step for step in manifest.interpret] == ["class-map"]


@pytest.mark.parametrize(
    ("task", "kind", "step"), [("classification", "scores", "classify"), ("measurement", "values", "measure")]
)
def test_the_task_tells_scores_from_values(task: str, kind: str, step: str) -> None:
    draft = _draft(networks.scores(2))
    answers: dict[str, Any] = ABOUT | {"task": task, "modality": "DX", "window": [], "axes": "yx"}
    label = {"name": "nodule", "value": 1, "type": "27925004 SCT Nodule"}
    size = {"name": "size", "value": 0, "concept": "439984002 SCT Diameter", "unit": "mm UCUM mm"}
    answers |= {"quantities": [size]} if kind == "values" else {"labels": [label]}
    answers |= {} if kind == "values" else {"output": {"activation": "sigmoid"}}

    manifest = _manifest(draft, answers)

    assert manifest.answers[0].kind == kind
    assert manifest.answers[0].width == 2, "the graph has two numbers, whatever is named"
    assert [one.step for one in manifest.interpret] == [step]
    assert manifest.input.layout == "image"
    assert manifest.input.size == (16, 12)
    assert manifest.input.units == ""


def test_boxes_are_told_by_their_axes() -> None:
    value, axes = helper.make_tensor_value_info, (("boxes", 4), ("scores", 3))
    model = networks.scores()
    del model.graph.output[:]
    model.graph.output.extend(value(name, TensorProto.FLOAT, ["n", "m", last]) for name, last in axes)

    draft = _draft(model)

    assert draft.parts["outputs"] == [
        {"tensor": "boxes", "kind": "boxes", "dtype": "float32", "box_scores": "scores"}
    ]
    assert "output.coordinates" in _needed(draft, {})


def _two_outputs() -> ModelProto:
    model = networks.two_classes()
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["pred"], ["pooled"]))
    model.graph.node.append(helper.make_node("Flatten", ["pooled"], ["present"]))
    model.graph.output.append(helper.make_tensor_value_info("present", TensorProto.FLOAT, ["n", 2]))
    return model


def test_an_output_may_be_left_unread() -> None:
    answers = ABOUT | SOLID | {"read_outputs": ["pred"], "outputs": [{"tensor": "pred", "kind": "classes"}]}

    manifest = _manifest(_draft(_two_outputs()), answers | {"labels": [SPLEEN]})

    assert [output.tensor for output in manifest.answers] == ["pred"]


def test_each_label_belongs_to_its_output() -> None:
    outputs = [{"tensor": "pred", "kind": "classes"}, {"tensor": "present", "kind": "scores"}]
    labels = [SPLEEN | {"output": "pred"}, SPLEEN | {"name": "spleen seen", "value": 0, "output": "present"}]
    draft, answers = _draft(_two_outputs()), ABOUT | SOLID | {"outputs": outputs, "labels": labels}
    answers["input"] = {"layout": "volume", "orientation": "LPS"}

    assert _needed(draft, answers) == ["outputs.present.activation"]
    outputs[1]["activation"] = "softmax"
    manifest = _manifest(draft, answers)

    assert manifest.input.size == (8, 6, 4), "the graph's sides, whatever the layout is called"
    assert [[label.name for label in output.labels] for output in manifest.answers] == [
        ["spleen"],
        ["spleen seen"],
    ]
    assert [(step.step, step.output) for step in manifest.interpret] == [
        ("class-map", "pred"),
        ("classify", "present"),
    ]


def test_faults_of_answers_come_in_the_manifests_words() -> None:
    answers = ABOUT | SOLID | {"output": {"kind": "classes"}, "labels": [SPLEEN | {"type": "Spleen"}]}

    with pytest.raises(AnswersError) as error:
        _manifest(_draft(networks.two_classes()), answers | {"licence": "", "tolerances": {"dice": 1}})

    assert any("licence is empty" in fault for fault in error.value.faults)
    assert any("tolerances.dice is not a key" in fault for fault in error.value.faults)
    assert any("output.labels[1].type must be a table" in fault for fault in error.value.faults)


def test_the_template_is_toml_and_its_examples_answer_it() -> None:
    draft = _draft(networks.two_classes())
    text = template(open_questions(draft.parts, draft.widths), draft.parts)
    tomllib.loads(text)

    lines = [line.removeprefix("# ") if " = " in line or "[[" in line else line for line in text.splitlines()]
    answered = tomllib.loads("\n".join(line for line in lines if not line.startswith("[[prepare]]")))

    assert _needed(draft, answered) == []


def test_an_answer_reaches_the_output_or_label_it_is_for() -> None:
    parts: dict[str, Any] = {"outputs": [{"tensor": "a"}, {"tensor": "b"}], "labels": [{"name": "x"}]}

    parts = put(parts, "outputs.b.kind", "scores")
    parts = put(parts, "labels[1].type", "78961009 SCT Spleen")
    parts = put(parts, "task", "classification")

    assert parts["outputs"] == [{"tensor": "a"}, {"tensor": "b", "kind": "scores"}]
    assert parts["labels"][0]["type"] == {"value": "78961009", "scheme": "SCT", "meaning": "Spleen"}
    assert parts["task"] == "classification"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (networks.two_classes(("n", 1, 8)), "has 3 axes"),
        (networks.network([helper.make_node("Relu", ["image"], ["pred"])], opset=7), "opset 7"),
    ],
)
def test_a_network_no_package_can_feed_is_refused(model: ModelProto, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        _draft(model)


def test_several_inputs_are_refused_by_name() -> None:
    model = networks.two_classes()
    model.graph.input.append(helper.make_tensor_value_info("prior", TensorProto.FLOAT, [1]))

    with pytest.raises(GraphError, match=r"2 inputs \(image .*, prior float32 \(1\)\)"):
        _draft(model)
