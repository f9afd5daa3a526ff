"""The end of a first boot: the configuration is written, the box enrolled, and the next commands said.

Promises: another configuration is not written over unless that was asked for; an enrolment that failed leaves
the configuration and the claim code, and can be tried again.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from appliance.cli.setup import let_services_read
from appliance.disk.durable import DiskFault, NoSpace, make_folder, write_file
from provisioning.firstboot.compose import warnings_of
from provisioning.firstboot.sitting import Sitting
from provisioning.firstboot.values import AnswerFault
from provisioning.identity.code import Invitation
from provisioning.identity.enrol import EnrolFault, enrol

_SERVICES = "readside"


class FinishFault(Exception):
    """The configuration was not written; the sentence says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What was done.

    Attributes:
        enrolled: the slot that the box came into now; empty: none.
        enrol_fault: why it did not, though there was a claim code; empty: it did, or there was none.
        warnings: what will not work, of steps that were skipped.
        commands: what to type next, in order.
    """

    config: Path
    enrolled: str
    enrol_fault: str
    warnings: tuple[str, ...]
    commands: tuple[str, ...]
    address: str


def finish(sitting: Sitting, *, over: bool = False) -> Finished:
    """Write the configuration and enrol the box where there is a claim code.

    Raises:
        AnswerFault: a step is open, or the answers do not go together.
        FinishFault: another configuration is there, or it cannot be written.
        NoSpace, DiskFault: the disk is full or failed.
    """
    if (step := sitting.answers.first_open()) is not None:
        raise AnswerFault([f"{step.key}: is neither answered nor skipped"])
    if faults := [fault for each in sitting.faults().values() for fault in each]:
        raise AnswerFault(faults)
    _write(sitting, over=over)
    slot, fault = _enrol(sitting)
    return Finished(
        config=sitting.config,
        enrolled=slot,
        enrol_fault=fault,
        warnings=tuple(warnings_of(sitting.answers)),
        commands=_commands(sitting, enrolled=not fault),
        address=str(sitting.answers.of("network").get("address", "")),
    )


def _write(sitting: Sitting, *, over: bool) -> None:
    path, data = sitting.config, sitting.text.encode()
    try:
        there = path.read_bytes() if path.exists() else None
        if there not in (None, data) and not over:
            raise FinishFault(f"{path} is there already and says something else: --over writes over it")
        make_folder(path.parent)
        if there != data:
            write_file(path, data)
        let_services_read(path)
    except OSError as error:
        raise FinishFault(f"{path} cannot be written: {error.strerror}") from error


def _enrol(sitting: Sitting) -> tuple[str, str]:
    said = sitting.answers.of("registry")
    if not said.get("code"):
        return "", ""
    slot = str(said["slot"])
    invited = Invitation(
        url=str(said["url"]), slot=slot, code=str(said["code"]), anchor=str(said.get("anchor", ""))
    )
    try:
        enrol(sitting.roots, invited)
    except EnrolFault as fault:
        return "", str(fault)
    except (DiskFault, NoSpace, OSError) as error:
        return "", f"{sitting.roots} cannot be written ({type(error).__name__})"
    _give_to_services(sitting.roots)
    # Used: nobody needs it again.
    sitting.keep(sitting.answers.answered("registry", {**said, "code": ""}))
    return slot, ""


def _give_to_services(roots: Path) -> None:
    """Let the services of an installed box use the identity that root enrolled for them."""
    try:
        user, group = pwd.getpwnam(_SERVICES).pw_uid, grp.getgrnam(_SERVICES).gr_gid
    except KeyError:
        return
    if os.geteuid() == 0:
        for path in (roots, *roots.iterdir()):
            os.chown(path, user, group, follow_symlinks=False)


def _commands(sitting: Sitting, *, enrolled: bool) -> tuple[str, ...]:
    at, said = f"--config {sitting.config}", sitting.answers
    later = said.of("registry") and not (enrolled and (sitting.roots / "device.crt").exists())
    peer = said.of("pacs").get("name")
    found = [
        f"readside provision enrol {at}" if later else "",
        f"readside provision firewall {at} --out /",
        "systemctl enable --now readside.target",
        f"readside doctor {at}",
        f"readside provision accept {at} --peer {peer} --out reports" if peer else "",
    ]
    return tuple(command for command in found if command)
