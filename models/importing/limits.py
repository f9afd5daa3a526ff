"""Every bound on importing, with its unit in its name."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ImportLimits:
    """Bound what is read of a network that came from elsewhere.

    Attributes:
        network_bytes_max: network and weights in one file; protobuf ends at 2 GiB.
        config_bytes_max: one JSON or TOML file.
        references_max: how many references a value of a bundle may pass through.
        golden_side_max: longest axis of the synthetic case, where the network leaves it open.
        golden_values_max: voxels of the synthetic case.
    """

    network_bytes_max: int = (2 << 30) - (1 << 20)
    config_bytes_max: int = 4_000_000
    references_max: int = 20
    golden_side_max: int = 256
    golden_values_max: int = 64 << 20
