"""Which mount and which block devices a folder lies on, as the kernel tells (proc(5), sysfs)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provisioning.doctor.machine import Machine

_BEFORE_SOURCE: Final = 6
_DEPTH_MAX: Final = 8


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One line of mountinfo: where, what kind, from what, and how.

    Attributes:
        device: major and minor number, "8:1"; the major of what is no block device is 0.
        source: what was mounted, a device's path for most.
        options: of the mount and of the file system together.
    """

    point: str
    device: str
    kind: str
    source: str
    options: frozenset[str]


def mount_of(path: Path, machine: Machine) -> Mount | None:
    """Return the mount that a folder lies on; None where the kernel does not say."""
    real = os.path.realpath(path)
    over = [mount for mount in _mounts(machine) if _is_under(real, mount.point)]
    # What was mounted last lies on top.
    return max(reversed(over), key=lambda mount: len(mount.point), default=None)


def _mounts(machine: Machine) -> Iterator[Mount]:
    for line in machine.text("proc/self/mountinfo").splitlines():
        words = line.split(" ")
        if "-" not in words[_BEFORE_SOURCE:]:
            continue
        end = words.index("-", _BEFORE_SOURCE)
        kind, source, options = words[end + 1 : end + 4]
        yield Mount(
            point=_plain(words[4]),
            device=words[2],
            kind=kind,
            source=_plain(source),
            options=frozenset((*words[5].split(","), *options.split(","))),
        )


def _plain(text: str) -> str:
    """Undo the kernel's way of writing spaces and the like: three octal digits."""
    for number in (0o040, 0o011, 0o012, 0o134):
        text = text.replace(f"\\{number:03o}", chr(number))
    return text


def _is_under(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(f"{point}/")


def layers_of(mount: Mount, machine: Machine) -> list[str]:
    """Return the kernel's folders of every block device below a mount, the mounted one first.

    None are returned for what lies on no block device, or where sysfs does not say.
    """
    device = mount.device
    if device.startswith("0:") and mount.source.startswith("/dev/"):
        # A file system over several devices, btrfs say, has a number of its own.
        name = os.path.basename(os.path.realpath(mount.source))
        device = machine.text(f"sys/class/block/{name}/dev").strip()
    top = os.path.realpath(machine.path(f"sys/dev/block/{device}"))
    return list(_below(top, _DEPTH_MAX)) if device and os.path.isdir(top) else []


def _below(folder: str, depth: int) -> Iterator[str]:
    yield folder
    if depth == 0:
        return
    slaves = os.path.join(folder, "slaves")
    for name in sorted(os.listdir(slaves)) if os.path.isdir(slaves) else []:
        yield from _below(os.path.realpath(os.path.join(slaves, name)), depth - 1)


def below_each(layer: str) -> list[str]:
    """Return what a block device stands on, by the kernel's folders; none for a disk."""
    slaves = os.path.join(layer, "slaves")
    if not os.path.isdir(slaves):
        return []
    return [os.path.realpath(os.path.join(slaves, name)) for name in sorted(os.listdir(slaves))]
