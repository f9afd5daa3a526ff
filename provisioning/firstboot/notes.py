"""What a step shows of this machine beside its questions."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.core.clock import SYSTEM
from provisioning.firstboot.steps import Step


def note_of(step: Step) -> str:
    """Return the sentence of a step; empty for most."""
    if step.key != "time":
        return ""
    return f"This box's clock says {datetime.fromtimestamp(SYSTEM.now(), tz=UTC):%Y-%m-%d %H:%M} UTC."
