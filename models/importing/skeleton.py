"""A package that is still empty: every key is there with what belongs into it.

Promises: what is left to fill in is empty or commented out, so that a check names it; nothing that matters
has a value nobody chose.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Task = Literal["classification", "detection", "segmentation", "measurement"]
TASKS: tuple[Task, ...] = get_args(Task)


def skeleton(name: str, task: Task) -> Mapping[str, str]:
    """Give the files of an empty package by name: manifest and card."""
    manifest = _HEAD.format(name=name, task=task) + _INPUT[task] + _OUTPUT[task] + _TAIL
    return {"manifest.toml": manifest, "MODEL_CARD.md": _CARD.format(name=name)}


_HEAD = """\
# What this model is, what it takes and how its answer is to be read.
# Fill in what is empty or behind a #, put the network beside this file as model.onnx, and run
#   readside model check FOLDER
# again and again: it lists everything that is not right yet. `readside model record FOLDER` then writes
# golden cases from synthetic series. All keys: docs/models.md.

format = 1
name = "{name}"
version = "0.1.0"
task = "{task}"
# What it may be used for, for whom, in one or two sentences. This text reaches the radiologist.
intended_use = ""
# Which clearance it has, or that it has none.
regulatory_status = ""
# Under which licence the network may be used.
licence = ""

[accepts]
# Which series, by their DICOM attributes: Modality == "CT" && slices >= 40
when = ""
# "regular": evenly spaced slices only; "any": no matter.
geometry = ""
# slices_min = 20
# spacing_mm_max = 3.0
# gantry_tilt_degrees_max = 1.0
# orientations = ["axial"]
"""

_SOLID = """
[input]
# Name of the network's input; any ONNX viewer shows it, and so does the check once the network is there.
tensor = ""
# "patch": a window slid over the volume; "volume": all at once; "slice": each slice as it is.
layout = "patch"
# patch = [96, 96, 96]          # z, y, x in voxels
overlap = 0.5
# Which way the network's axes (x, y, z) grow: "LPS", "RAS", or "source" for as the series lies.
orientation = ""
# spacing_mm = [2.0, 1.5, 1.5]  # z, y, x; needs the step resample below
# "HU" for CT, "" for values without a unit (MR, CR, DX).
# units = "HU"

# What is done to the values, in this order: fill-padding, resample, clip, scale, window, normalise, z-score,
# percentile-window.
# [[prepare]]
# step = "resample"
# [[prepare]]
# step = "window"
# centre = 40.0
# width = 400.0
"""

_FLAT = """
[input]
# Name of the network's input; any ONNX viewer shows it, and so does the check once the network is there.
tensor = ""
# "image": each slice or radiograph brought to one size; "slice": as it is.
layout = "image"
# size = [512, 512]             # rows, columns
orientation = "source"
# "HU" for CT, "" for values without a unit (MR, CR, DX).
# units = ""

# What is done to the values, in this order: clip, scale, window, normalise, z-score, percentile-window.
# [[prepare]]
# step = "percentile-window"
# low = 0.5
# high = 99.5
"""

_INPUT: Mapping[Task, str] = {
    "segmentation": _SOLID,
    "detection": _FLAT,
    "classification": _FLAT,
    "measurement": _FLAT,
}

_LABEL = """\
# [[output.labels]]
# name = ""
# value = {value}
# title = ""                     # words for the reader
# type = {{ value = "", scheme = "SCT", meaning = "" }}
"""
_SHOWN = """\
# category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }
# colour_rgb = [230, 159, 0]
"""

_OUTPUT: Mapping[Task, str] = {
    "segmentation": """
[output]
tensor = ""
# "classes": channels that exclude each other; "probability": each channel by itself; "labels": a label map.
kind = "classes"
dtype = "float32"
# activation = "softmax"        # what turns the tensor into probabilities, where the network does not
"""
    + _LABEL.format(value=1)
    + _SHOWN
    + """
# Segments and volumes of the labels. With findings = ["..."] the presence of a label is a finding.
[[interpret]]
step = "class-map"
""",
    "classification": """
[output]
tensor = ""
kind = "scores"
dtype = "float32"
# activation = "sigmoid"        # or "softmax"; leave it out where the network gives probabilities
"""
    + _LABEL.format(value=0)
    + """
# Each label is judged by its probability. abstain = [low, high) is where the model says neither.
[[interpret]]
step = "classify"
# threshold = 0.5
# abstain = [0.4, 0.6]
""",
    "detection": """
[output]
tensor = ""
kind = "boxes"
dtype = "float32"
# coordinates = "xyxy"          # yxyx, xyxy, cxcywh, zyxzyx, xyzxyz
# box_scores = ""               # name of the network's output of scores
# box_labels = ""               # name of its output of labels, where it has one
"""
    + _LABEL.format(value=0)
    + """
[[interpret]]
step = "detect"
# threshold = 0.5
# abstain = [0.4, 0.6]
""",
    "measurement": """
[output]
tensor = ""
kind = "values"
dtype = "float32"
# [[output.quantities]]
# name = ""
# value = 0
# title = ""
# concept = { value = "", scheme = "SCT", meaning = "" }
# unit = { value = "", scheme = "UCUM", meaning = "" }

[[interpret]]
step = "measure"
""",
}

_TAIL = """
[resources]
# What one running copy needs beside the series itself.
# memory_mib = 512
"""

_CARD = """\
# {name}

What it was made from, how well it works, what it is not for.

- Training data: how many patients, from where, with which scanners.
- Performance: on which data, with confidence intervals.
- Limits: whom and what it is not for.
"""
