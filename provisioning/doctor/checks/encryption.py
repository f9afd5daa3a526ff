"""Encryption at rest: whether LUKS2 lies below the storage root, as far as this machine can tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.machine import Machine
from provisioning.doctor.mounts import below_each, layers_of, mount_of
from provisioning.doctor.site import Site

NONE = Fault(
    id="encryption.none",
    cause="the storage root is not encrypted by this machine: whoever takes the disk can read the images",
    fix="put it on a LUKS2 volume, or write down that the host or the disk itself encrypts",
    who=Who.TECHNICIAN,
    grave=False,
)
OLD = Fault(
    id="encryption.luks1",
    cause="the storage root is encrypted with LUKS1, whose keys are easier to guess",
    fix="convert the volume: `cryptsetup convert --type luks2`, with the box stopped and a backup made",
    who=Who.TECHNICIAN,
    grave=False,
)
_LUKS2, _LUKS1, _CRYPT = "CRYPT-LUKS2-", "CRYPT-LUKS1-", "CRYPT-"


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    mount = mount_of(site.root, site.machine)
    layers = [] if mount is None else layers_of(mount, site.machine)
    if mount is None or not layers:
        kind = "a file system that" if mount is None else f"{mount.kind}, which"
        yield unknown(f"the storage root lies on {kind} this machine knows no block device of")
        return
    if not _is_covered(layers[0], site.machine, _CRYPT):
        yield wrong(NONE, f"no layer below {mount.point} is encrypted by dm-crypt")
    elif _is_covered(layers[0], site.machine, _LUKS2):
        yield sound(f"LUKS2 lies below {mount.point}")
    elif any(_uuid(layer, site.machine).startswith(_LUKS1) for layer in layers):
        yield wrong(OLD, f"LUKS1 lies below {mount.point}")
    else:
        yield unknown(f"dm-crypt lies below {mount.point}, with a header that the kernel does not name")


def _is_covered(layer: str, machine: Machine, kind: str) -> bool:
    """Say whether every way from a device down to the disks goes through encryption."""
    if _uuid(layer, machine).startswith(kind):
        return True
    below = below_each(layer)
    return bool(below) and all(_is_covered(one, machine, kind) for one in below)


def _uuid(layer: str, machine: Machine) -> str:
    return machine.text(str(Path(layer, "dm", "uuid").relative_to(machine.root.resolve()))).strip()


CHECK = Check(
    id="encryption",
    about="encryption at rest",
    look=_look,
    faults=(NONE, OLD),
    needs=("storage",),
)
