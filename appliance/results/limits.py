"""Every bound of the result objects, with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of what one result may hold; what is left out is said in words."""

    # Key pictures per result: lesions first, then segments. More than a reader will page through is noise.
    pictures_max: int = 6
    # Measurement groups of lesions in one SR, largest first. A model's list ends at a thousand as well
    # (`models/operations`); 500 are about 2 MB.
    lesion_groups_max: int = 1000
    # Lesions that are written one by one where a person reads line after line.
    text_lesions_max: int = 100
    # Key images that one Key Object Selection names.
    key_images_max: int = 60
    # Shares of a fractional segmentation, a byte per voxel of the frames that hold any: 600 full slices of
    # 512 x 512 are 150 MiB, and as yes or no 19 MiB for each segment.
    seg_bytes_max: int = 256 << 20
    # A heat map, four bytes per voxel of the slices that hold any: 300 of 512 x 512 are 300 MiB.
    map_bytes_max: int = 320 << 20
    # Corners of one outline. FL has a 16 bit length in Explicit VR (PS3.5 7.1.2), so far fewer than 8191.
    outline_points_max: int = 200
    # Images that a presentation state draws on, and islands of one region on one of them: each outline is
    # traced by itself, and a viewer draws all of them at once.
    presentation_images_max: int = 60
    presentation_islands_max: int = 8
    # ST in a presentation state (PS3.5 6.2).
    presentation_text_chars_max: int = 1024
    # Pictures on the printed page, and characters of one attribute of the patient or study on it: peers send
    # what they like.
    page_pictures_max: int = 2
    page_value_chars_max: int = 200
    # The longer side of the image part of a key picture.
    picture_pixels_max: int = 1024
    picture_pixels_min: int = 768
    # Regions of one image that have their whole name beside them; of more, each has its number only.
    tagged_regions_max: int = 8
    # Lines of numbers under a picture or on the text page.
    legend_lines_max: int = 8
    text_lines_max: int = 200


DEFAULT = Limits()
