"""Short turns of the processor, for who mostly waits for a disk or a peer (sched_setattr(2)).

Where models keep every core busy, the scheduler lets a thread that woke wait until another's turn is over,
some milliseconds; an image wakes its thread several times. Who asks for shorter turns is woken into its own
at once, and gets no more of the processor than before.

Promises: threads that are started later have what their starter asked for.
Never: fails: a kernel that knows nothing of it (before 6.12, or another machine) goes on as it did.
"""

from __future__ import annotations

import ctypes
import os
import platform
from struct import Struct
from typing import Final

# sched_setattr and sched_getattr, which the standard library does not offer.
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
# struct sched_attr in its first size: size, policy, flags, nice, priority, runtime, deadline, period.
_ATTRIBUTES: Final = Struct("<IIQiIQQQ")
_POLICY, _RUNTIME = 1, 5
_libc = ctypes.CDLL(None, use_errno=True)


def ask_for_short_turns(seconds: float) -> bool:
    """Ask for turns of so many seconds on the calling thread; say whether the kernel took it."""
    attributes = _attributes()
    if attributes is None or attributes[_POLICY] != os.SCHED_OTHER:
        return False
    attributes[_RUNTIME] = round(seconds * 1e9)
    text = ctypes.create_string_buffer(_ATTRIBUTES.pack(*attributes), _ATTRIBUTES.size)
    return bool(_libc.syscall(_CALLS[platform.machine()][0], 0, text, 0) == 0)


def turn_seconds() -> float | None:
    """Return what the calling thread asked for; none where the kernel does not say."""
    attributes = _attributes()
    return attributes[_RUNTIME] / 1e9 if attributes else None


def _attributes() -> list[int] | None:
    if platform.machine() not in _CALLS:
        return None
    text = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _libc.syscall(_CALLS[platform.machine()][1], 0, text, _ATTRIBUTES.size, 0) != 0:
        return None
    return list(_ATTRIBUTES.unpack(text.raw))
