"""MONAI's inferers and postprocessing transforms, as keys of the manifest.

Defaults are those of monai 1.6.1; `tests/networks` holds them against the package itself.
Promises: a part is imported only when every parameter that changes a number is known here; a part that is
imported although one parameter is not lists that parameter by its own name.
"""

from collections.abc import Mapping
from typing import Any

from models.importing.monai_config import Component
from models.importing.monai_prepare import Read
from models.importing.reading import NotExpressed, Parameters, Reading

_NO_NUMBERS = (
    "sw_device",
    "device",
    "progress",
    "cache_roi_weight_map",
    "cpu_thresh",
    "buffer_steps",
    "buffer_dim",
)


def read_inferer(component: Component, reading: Reading) -> None:
    """Take in how the network is applied to the image."""
    read = INFERERS.get(component.name)
    given = Parameters(component)
    try:
        if read is None:
            raise NotExpressed("the package format has no such way to apply a network")
        said = read(given, reading)
        given.done()
    except NotExpressed as reason:
        reading.leave_out(component.name, component.parameters, str(reason))
        return
    reading.imported.append(f"{component.name}: {said}")


def _sliding(given: Parameters, reading: Reading) -> str:
    roi = given.take("roi_size")
    if not isinstance(roi, list) or len(roi) != 3 or not all(isinstance(n, int) and n > 0 for n in roi):
        raise NotExpressed(f"roi_size is {roi}; three fixed sizes are needed")
    overlap = given.take("overlap", 0.25)
    if isinstance(overlap, list) and len(set(overlap)) == 1:
        overlap = overlap[0]
    if not isinstance(overlap, int | float) or not 0 <= overlap < 1:
        raise NotExpressed(f"overlap is {overlap}; one share from 0 to under 1 is needed")
    batch = given.take("sw_batch_size", 1)
    given.held_to(with_coord=False)
    given.pass_over(*_NO_NUMBERS)
    _blending(given, reading, overlap=float(overlap))
    reading.input |= {"layout": "patch", "patch": list(reversed(roi)), "overlap": float(overlap)}
    reading.input["batch"] = min(int(batch), 64) if isinstance(batch, int) and batch > 0 else 1
    reading.differences.append(
        "SlidingWindowInferer: where the image is no whole number of steps long, patches are spread evenly "
        "here, and MONAI moves only the last one back; an image smaller than a patch is filled up at its end "
        "here, and at both ends there; the corners of patches weigh a few per cent more or less."
    )
    return f"patch = {reading.input['patch']} (z, y, x), overlap {overlap:g}"


def _blending(given: Parameters, reading: Reading, *, overlap: float) -> None:
    """Name what the blending of patches cannot follow, each parameter by itself."""
    mode, sigma = given.take("mode", "constant"), given.take("sigma_scale", 0.125)
    padding, value = given.take("padding_mode", "constant"), given.take("cval", 0.0)
    if mode == "constant" and overlap > 0:
        reading.input["blend"] = "mean"
    elif mode != "gaussian" and overlap > 0:
        reading.leave_out("SlidingWindowInferer.mode", {"mode": mode}, "no blending is called that here")
    if mode == "gaussian" and sigma != 0.125:
        reading.leave_out(
            "SlidingWindowInferer.sigma_scale", {"sigma_scale": sigma}, "the Gaussian here has 0.125"
        )
    if padding != "constant":
        reading.leave_out(
            "SlidingWindowInferer.padding_mode",
            {"padding_mode": padding},
            "an image smaller than a patch is filled up with one value here",
        )
    elif isinstance(value, int | float) and value:
        reading.input["pad_value"] = float(value)


def _simple(given: Parameters, reading: Reading) -> str:
    return "the network sees the whole image at once"


INFERERS: Mapping[str, Read] = {"SlidingWindowInferer": _sliding, "SimpleInferer": _simple}


def _activations(given: Parameters, reading: Reading) -> str:
    given.held_to(other=None)
    sigmoid, softmax = given.flag("sigmoid"), given.flag("softmax")
    if sigmoid and softmax:
        raise NotExpressed("sigmoid and softmax at once")
    reading.output["activation"] = "sigmoid" if sigmoid else "softmax" if softmax else "none"
    return f'activation = "{reading.output["activation"]}"'


def _discrete(given: Parameters, reading: Reading) -> str:
    given.held_to(rounding=(None, [None]))
    given.pass_over("to_onehot", "to_tensor")
    threshold = _first(given.take("threshold"))
    if given.flag("argmax"):
        reading.output["kind"] = "classes"
        return "the largest channel wins"
    if isinstance(threshold, int | float) and 0 < threshold < 1:
        reading.output["kind"] = "probability"
        reading.threshold = float(threshold)
        return f"threshold {threshold:g}"
    if threshold is None:
        return "changes no number"
    raise NotExpressed(f"threshold is {threshold}; a probability between 0 and 1 is needed")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _invert(given: Parameters, reading: Reading) -> str:
    given.held_to(post_func=None)
    given.pass_over("transform", "orig_keys", "orig_meta_keys", "nearest_interp", "to_tensor")
    if "spacing_mm" in reading.input or "size" in reading.input:
        reading.differences.append(
            "Invertd: probabilities are brought back to the series' own grid and then judged; MONAI can "
            "bring back the judged labels instead. Edges may differ by part of a voxel."
        )
    return "results always lie on the series' own grid"


def _save(given: Parameters, reading: Reading) -> str:
    given.pass_over(*_SAVE)
    return "the box writes DICOM objects"


_SAVE = (
    "output_dir",
    "output_postfix",
    "output_ext",
    "resample",
    "mode",
    "padding_mode",
    "scale",
    "output_dtype",
    "squeeze_end_dims",
    "data_root_dir",
    "separate_folder",
    "print_log",
    "output_format",
    "writer",
    "output_name_formatter",
    "folder_layout",
    "savepath_in_metadict",
)


def _structure(given: Parameters, reading: Reading) -> str:
    given.pass_over("data_type", "wrap_sequence", "track_meta")
    return "changes no number"


ANSWER: Mapping[str, Read] = {
    "Activations": _activations,
    "AsDiscrete": _discrete,
    "Invert": _invert,
    "SaveImage": _save,
    "EnsureType": _structure,
    "ToTensor": _structure,
    "CastToType": _structure,
    "ToDevice": _structure,
    "Identity": _structure,
}
