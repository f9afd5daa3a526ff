"""The fixed words of the registry's rows."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Say whether this role is enough where another is needed."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class DeviceState(StrEnum):
    """What a device is to the registry."""

    PENDING = "pending"
    ENROLLED = "enrolled"
    REPLACED = "replaced"
    REVOKED = "revoked"
    DECOMMISSIONED = "decommissioned"


class Alarm(StrEnum):
    """What an alert is about."""

    DEVICE_SILENT = "device.silent"
    CERTIFICATE_ENDS = "certificate.ends"
    METADATA_ENDS = "metadata.ends"
    # A roll-out took its release back by itself; a person must decide whether one goes on.
    ROLLOUT_FAILED = "rollout.failed"
    ROLLOUT_HELD = "rollout.held"
