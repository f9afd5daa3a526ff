"""What can be said of the files of [dicom.tls], [dicomweb.tls] and of tokens before anybody connects."""

from __future__ import annotations

import os
import stat

from appliance.core.clock import SYSTEM
from appliance.core.config import Config
from appliance.services.stow_door import stow_files
from appliance.services.wire import files_of
from dicom_node.tls import Files, expiries, faults_of

EXPIRY_DAYS_MIN = 30
_DAY_SECONDS = 86_400.0


def faults(config: Config) -> list[str]:
    """Return one sentence for each file that is missing, unreadable, or does not go with the others."""
    found = [
        f"{where}.{fault}" for where, files in files_by_table(config).items() for fault in faults_of(files)
    ]
    for peer in config.peers:
        if peer.dicomweb_token is not None and not os.access(peer.dicomweb_token, os.R_OK):
            found.append(f"peers.{peer.name}.dicomweb_token: cannot be read")
    if config.worklist.token is not None and not os.access(config.worklist.token, os.R_OK):
        found.append("worklist.token: cannot be read")
    return found


def warnings(config: Config) -> list[str]:
    """Return what works today and should be looked at; the files have no faults."""
    found = [
        f"peers.{peer.name}.dicomweb: its token and the results cross the network in the clear; use https"
        for peer in config.peers
        if peer.dicomweb_token is not None and (peer.dicomweb or "").startswith("http://")
    ]
    if config.worklist.token is not None and (config.worklist.url or "").startswith("http://"):
        found.append("worklist.url: its token and patients' data cross the network in the clear; use https")
    for where, files in files_by_table(config).items():
        if files.key.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            found.append(f"{where}.key: other users can read or change it; chmod 600 or 640")
        for name, until in expiries(files):
            left_days = (until.timestamp() - SYSTEM.now()) / _DAY_SECONDS
            if left_days < EXPIRY_DAYS_MIN:
                found.append(f"{where}.{name}: {_valid(left_days)}, until {until:%Y-%m-%d %H:%M} UTC")
    return found


def files_by_table(config: Config) -> dict[str, Files]:
    """Return the files of each table that names some."""
    found = {}
    if config.dicom.tls is not None:
        found["dicom.tls"] = files_of(config.dicom.tls)
    if config.dicomweb.tls is not None:
        found["dicomweb.tls"] = stow_files(config.dicomweb.tls)
    return found


def _valid(left_days: float) -> str:
    return "has expired" if left_days < 0 else f"is valid for {int(left_days)} more days"
