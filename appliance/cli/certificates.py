"""What can be said of the files of [dicom.tls] before anybody connects."""

from __future__ import annotations

import stat

from appliance.core.clock import SYSTEM
from appliance.core.config import Config
from appliance.services.wire import files_of
from dicom_node.tls import expiries, faults_of

EXPIRY_DAYS_MIN = 30
_DAY_SECONDS = 86_400.0


def faults(config: Config) -> list[str]:
    """Return one sentence for each file that is missing, unreadable, or does not go with the others."""
    tls = config.dicom.tls
    return [] if tls is None else [f"dicom.tls.{fault}" for fault in faults_of(files_of(tls))]


def warnings(config: Config) -> list[str]:
    """Return what works today and should be looked at; the files have no faults."""
    tls = config.dicom.tls
    if tls is None:
        return []
    found: list[str] = []
    if tls.key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        found.append("dicom.tls.key: other users can read or change it; chmod 600 or 640")
    for name, until in expiries(files_of(tls)):
        left_days = (until.timestamp() - SYSTEM.now()) / _DAY_SECONDS
        if left_days < EXPIRY_DAYS_MIN:
            found.append(f"dicom.tls.{name}: {_valid(left_days)}, until {until:%Y-%m-%d %H:%M} UTC")
    return found


def _valid(left_days: float) -> str:
    return "has expired" if left_days < 0 else f"is valid for {int(left_days)} more days"
