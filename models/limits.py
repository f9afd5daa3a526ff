"""Every bound on a package, with its unit in its name."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PackageLimits:
    """Bound what is read of a package, so that a hostile one costs little.

    Attributes:
        files_max: manifest, card, networks and golden cases; the packages that ship have under ten files.
        bytes_max: all files together, unpacked; ONNX without external data ends at 2 GiB by itself.
        ratio_max: unpacked bytes per packed byte; deflate can reach 1030, real packages stay under 20.
        name_characters_max: of a path inside the package.
    """

    files_max: int = 500
    bytes_max: int = 4 << 30
    ratio_max: int = 200
    name_characters_max: int = 200


@dataclass(frozen=True, kw_only=True)
class MapLimits:
    """Bound the maps of one package.

    Attributes:
        maps_max: labels with a heat map; each may take a byte per voxel, 157 MB for 600 slices of 512 x 512.
    """

    maps_max: int = 8


@dataclass(frozen=True, kw_only=True)
class GoldenLimits:
    """Bound what is read of one golden case.

    Attributes:
        bytes_max: of one array, unpacked.
    """

    bytes_max: int = 256 << 20
