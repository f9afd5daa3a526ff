"""The file system under the storage root: one that keeps what it was told to keep."""

from __future__ import annotations

from collections.abc import Iterator

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, unknown, wrong
from provisioning.doctor.mounts import mount_of
from provisioning.doctor.site import Site

VOLATILE = Fault(
    id="filesystem.volatile",
    cause="the storage root lies in memory: a power cut takes every image that was acknowledged",
    fix="put `[storage]` root on a disk",
    who=Who.TECHNICIAN,
)
NETWORK = Fault(
    id="filesystem.network",
    cause="the storage root lies on a network drive, on which the ledger cannot lock and sync",
    fix="put `[storage]` root on a disk of this machine; ext4 or xfs",
    who=Who.TECHNICIAN,
)
UNSUITABLE = Fault(
    id="filesystem.unsuitable",
    cause="the file system of the storage root knows no owners and rights, or does not keep its order",
    fix="put `[storage]` root on ext4 or xfs",
    who=Who.TECHNICIAN,
)
NO_BARRIER = Fault(
    id="filesystem.no-barrier",
    cause="the file system is mounted so that a sync does not reach the disk",
    fix="take nobarrier, barrier=0 or data=writeback out of its mount options",
    who=Who.TECHNICIAN,
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs"})
_OVER_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "afs"}
)
_NOT_FIT = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "iso9660", "squashfs", "overlay"})
_WITHOUT_ORDER = frozenset({"nobarrier", "barrier=0", "data=writeback"})
_FAULTS = ((_IN_MEMORY, VOLATILE), (_OVER_NETWORK, NETWORK), (_NOT_FIT, UNSUITABLE))


def _look(site: Site, _subject: str) -> Iterator[Finding]:
    mount = mount_of(site.root, site.machine)
    if mount is None:
        yield unknown("the kernel does not say which file system it is")
        return
    said = f"{mount.kind} on {mount.point}"
    fault = next((fault for kinds, fault in _FAULTS if mount.kind in kinds), None)
    loose = sorted(mount.options & _WITHOUT_ORDER)
    if fault is not None:
        yield wrong(fault, said, kind=mount.kind)
    elif loose:
        yield wrong(NO_BARRIER, f"{said}, mounted with {', '.join(loose)}", kind=mount.kind)
    else:
        yield sound(said, kind=mount.kind)


CHECK = Check(
    id="filesystem",
    about="the file system",
    look=_look,
    faults=(VOLATILE, NETWORK, UNSUITABLE, NO_BARRIER),
    needs=("storage",),
)
