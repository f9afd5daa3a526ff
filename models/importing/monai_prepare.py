"""MONAI's preprocessing transforms, as steps of the manifest.

Defaults are those of monai 1.6.1; `tests/networks` holds them against the package itself.
Promises: a transform is imported only when every parameter that changes a number is known here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from models.importing.reading import NotExpressed, Parameters, Reading

Read = Callable[[Parameters, Reading], str]
"""Take the parameters into the reading, and say in a few words what became of them."""
_ORIENTATIONS = ("RAS", "LPS")
_READERS_XYZ = ("NibabelReader", "ITKReader", "PydicomReader", "NrrdReader", "PILReader")
HOUSEKEEPING = ("keys", "allow_missing_keys", "meta_keys", "meta_key_postfix", "image_only", "lazy", "device")
"""Parameters of any transform that change no number."""


def _load(given: Parameters, reading: Reading) -> str:
    reader = str(given.take("reader") or "").rpartition(".")[2]
    if reader and reader not in _READERS_XYZ:
        raise NotExpressed(f"images read by {reader} have axes this importer does not know")
    if reader in ("ITKReader", "PILReader") and "reverse_indexing" in given:
        reading.reversed_axes = given.flag("reverse_indexing") is (reader == "PILReader")
    given.held_to(ensure_channel_first=(True, False), simple_keys=(True, False), prune_meta_pattern=None)
    given.pass_over("overwriting", "prune_meta_sep", "expanduser", "reverse_indexing")
    return "the box reads DICOM"


def _structure(given: Parameters, reading: Reading) -> str:
    given.pass_over(
        "channel_dim", "strict_check", "data_type", "wrap_sequence", "track_meta", "names", "use_regex"
    )
    return "changes no number"


def _orientation(given: Parameters, reading: Reading) -> str:
    codes = given.take("axcodes")
    if given.flag("as_closest_canonical"):
        codes = "RAS"
    codes = "".join(codes) if isinstance(codes, list) else codes
    if codes not in _ORIENTATIONS:
        raise NotExpressed(f"axcodes are {codes}; the package format knows {' and '.join(_ORIENTATIONS)}")
    given.pass_over("labels")
    reading.input["orientation"] = codes
    return f'orientation = "{codes}"'


def _spacing(given: Parameters, reading: Reading) -> str:
    pixdim = given.take("pixdim")
    sizes = [pixdim] * 3 if isinstance(pixdim, int | float) else list(pixdim or ())
    if len(sizes) == 1:
        sizes *= 3
    if len(sizes) != 3 or not all(isinstance(size, int | float) and size > 0 for size in sizes):
        raise NotExpressed(f"pixdim is {pixdim}; three distances above 0 are needed")
    given.held_to(mode=("bilinear", ["bilinear"], 1), padding_mode=("border", ["border"]), diagonal=False)
    given.held_to(align_corners=(False, None, [False]), scale_extent=(False, True))
    given.held_to(min_pixdim=None, max_pixdim=None, ensure_same_shape=(True, False), recompute_affine=False)
    reading.input["spacing_mm"] = [float(size) for size in reversed(sizes)]
    reading.prepare.append({"step": "resample"})
    reading.differences.append(
        "Spacingd: MONAI interpolates at points counted from the first voxel's centre; here the grid begins "
        "at the volume's edge, and going to larger voxels averages what they cover. Each voxel of the "
        "network still stands for its own place in the patient."
    )
    return f"spacing_mm = {reading.input['spacing_mm']} (z, y, x) and the step resample"


def _scale_range(given: Parameters, reading: Reading) -> str:
    low, high = given.number("a_min"), given.number("a_max")
    ends = given.number("b_min"), given.number("b_max")
    clip = given.flag("clip")
    if low is None or high is None or low >= high:
        raise NotExpressed(f"a_min is {low} and a_max {high}; they must rise")
    bottom, top = ends
    if (bottom is None) != (top is None) or (bottom is not None and top is not None and bottom >= top):
        raise NotExpressed(f"b_min is {bottom} and b_max {top}; they must rise")
    if clip and bottom is not None:
        reading.prepare.append({"step": "clip", "low": low, "high": high})
    reading.prepare.append(_scaled(low, high, bottom, top))
    return f"[{low:g}, {high:g}] to [{bottom or 0:g}, {1 if top is None else top:g}]"


def _scaled(low: float, high: float, bottom: float | None, top: float | None) -> dict[str, Any]:
    step: dict[str, Any] = {"step": "scale", "low": low, "high": high}
    if bottom is not None and top is not None and (bottom, top) != (0.0, 1.0):
        step["to"] = [bottom, top]
    return step


def _scale(given: Parameters, reading: Reading) -> str:
    bottom, top = given.number("minv", 0.0), given.number("maxv", 1.0)
    if bottom is None or top is None or bottom >= top:
        raise NotExpressed(f"minv is {bottom} and maxv {top}; they must rise")
    given.held_to(factor=None)
    given.pass_over("channel_wise")
    return _percentile_window(reading, 0.0, 100.0, (bottom, top), clip=False)


def _scale_percentiles(given: Parameters, reading: Reading) -> str:
    low, high = given.number("lower"), given.number("upper")
    bottom, top = given.number("b_min"), given.number("b_max")
    if low is None or high is None or bottom is None or top is None:
        raise NotExpressed("lower, upper, b_min and b_max are needed")
    given.pass_over("channel_wise")
    if given.flag("relative"):
        span = top - bottom
        bottom, top = bottom + span * low / 100, bottom + span * high / 100
    return _percentile_window(reading, low, high, (bottom, top), clip=given.flag("clip"))


def _percentile_window(
    reading: Reading, low: float, high: float, to: tuple[float, float], *, clip: bool
) -> str:
    reading.prepare.append(
        {"step": "percentile-window", "low": low, "high": high, "to": list(to), "clip": clip}
    )
    return f"percentiles {low:g} and {high:g} to {list(to)}"


def _normalise(given: Parameters, reading: Reading) -> str:
    if given.flag("nonzero"):
        raise NotExpressed("nonzero = true leaves zeros as they are, and no step does")
    mean, deviation = _one(given.take("subtrahend")), _one(given.take("divisor"))
    given.pass_over("channel_wise")
    if mean is None and deviation is None:
        reading.prepare.append({"step": "z-score"})
        return "the step z-score"
    if mean is None or deviation is None or not deviation > 0:
        raise NotExpressed("subtrahend and divisor must both be one number, the divisor above 0")
    reading.prepare.append({"step": "normalise", "mean": mean, "deviation": deviation})
    return f"the step normalise, mean {mean:g} and deviation {deviation:g}"


def _one(value: Any) -> float | None:
    """Give one number out of a number or a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotExpressed(f"it holds {value!r}, not one number")
    return float(value)


def _shift(given: Parameters, reading: Reading) -> str:
    offset = given.number("offset")
    if offset is None:
        raise NotExpressed("it has no offset")
    given.held_to(safe=False, factor_key=None)
    reading.prepare.append({"step": "normalise", "mean": -offset, "deviation": 1.0})
    return f"{offset:+g}"


def _resize(given: Parameters, reading: Reading) -> str:
    size = given.take("spatial_size")
    if not isinstance(size, list) or not all(isinstance(side, int) and side > 0 for side in size):
        raise NotExpressed(f"spatial_size is {size}; fixed sizes are needed")
    given.held_to(size_mode="all", anti_aliasing=(False, True), align_corners=(None, False))
    given.held_to(mode=("area", "bilinear", "trilinear", "linear", ["area"], ["bilinear"], ["trilinear"]))
    given.pass_over("anti_aliasing_sigma")
    reading.input["size"] = list(reversed(size))
    reading.differences.append(
        "Resized: MONAI's interpolation and the one here weigh neighbouring voxels a little differently."
    )
    return f"size = {reading.input['size']}"


def _repeat(given: Parameters, reading: Reading) -> str:
    repeats = given.take("repeats")
    if not isinstance(repeats, int) or not 1 <= repeats <= 16:
        raise NotExpressed(f"repeats is {repeats}")
    reading.copies *= repeats
    return f"{reading.copies} channels of the same image"


PREPARE: Mapping[str, Read] = {
    "LoadImage": _load,
    "EnsureChannelFirst": _structure,
    "AddChannel": _structure,
    "AsChannelFirst": _structure,
    "EnsureType": _structure,
    "CastToType": _structure,
    "ToTensor": _structure,
    "ToDevice": _structure,
    "Identity": _structure,
    "SelectItems": _structure,
    "Orientation": _orientation,
    "Spacing": _spacing,
    "ScaleIntensityRange": _scale_range,
    "ScaleIntensity": _scale,
    "ScaleIntensityRangePercentiles": _scale_percentiles,
    "NormalizeIntensity": _normalise,
    "ShiftIntensity": _shift,
    "Resize": _resize,
    "RepeatChannel": _repeat,
}
