"""Tensors in memory that two processes see: no copy through a pipe, no name that could be left behind.

The memory is a memfd, made by the box and passed over a Unix socket, so it is gone with its last user however
that one ends. It is sealed against any change of size: no child can cut it off under the box's feet.
What a child says about a tensor in it is checked before it is looked at.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_ALIGNED_BYTES = 64
_STEP_BYTES = 1 << 20
_AXES_MAX = 8
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_DTYPES = frozenset({"|b1", "|u1", "|i1", *(f"<{kind}{size}" for kind in "iuf" for size in (2, 4, 8))})

Slip = Mapping[str, Any]
"""Where a tensor lies: name, dtype (numpy's, little-endian), shape, offset in bytes."""


class SlipError(ValueError):
    """A slip does not describe a tensor inside its memory."""


class Arena:
    """A stretch of shared memory that holds the tensors of one call."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size_bytes = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, self.size_bytes)

    @classmethod
    def of(cls, size_bytes: int) -> Self:
        """Make memory of at least so many bytes, whole mebibytes."""
        fd = os.memfd_create("readside-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, max(-(-size_bytes // _STEP_BYTES), 1) * _STEP_BYTES)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def put(self, tensors: Mapping[str, NDArray[Any]]) -> list[Slip]:
        """Copy tensors in, one behind the other; `bytes_of` says beforehand whether they fit."""
        slips: list[Slip] = []
        offset = 0
        for name, tensor in tensors.items():
            slip = {"name": name, "dtype": _dtype_of(tensor), "shape": list(tensor.shape), "offset": offset}
            self.view(slip)[...] = tensor
            slips.append(slip)
            offset += _room(tensor.nbytes)
        return slips

    def view(self, slip: Slip) -> NDArray[Any]:
        """Show a tensor where it lies; it changes with the next call.

        Raises:
            SlipError: it does not lie wholly inside.
        """
        dtype: Any = slip.get("dtype")
        shape: Any = slip.get("shape")
        offset: Any = slip.get("offset")
        if dtype not in _DTYPES or not _is_shape(shape) or not _is_count(offset) or offset % _ALIGNED_BYTES:
            raise SlipError("not a tensor")
        count = prod(shape)
        if offset + count * np.dtype(dtype).itemsize > self.size_bytes:
            raise SlipError("not inside its memory")
        return np.frombuffer(self._map, dtype, count, offset).reshape(shape)

    def copies(self, slips: Any) -> dict[str, NDArray[Any]]:
        """Copy tensors out by name.

        Raises:
            SlipError: what was said of them is not so.
        """
        if not isinstance(slips, list) or not all(isinstance(slip, dict) for slip in slips):
            raise SlipError("not a list of tensors")
        return {str(slip.get("name")): self.view(slip).copy() for slip in slips}

    def close(self) -> None:
        """Let go of the memory; a view that is still held keeps it until it goes itself."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        with suppress(BufferError):
            self._map.close()


def bytes_of(tensors: Sequence[NDArray[Any]]) -> int:
    """Give the bytes an arena needs for tensors."""
    return sum(_room(tensor.nbytes) for tensor in tensors)


def _dtype_of(tensor: NDArray[Any]) -> str:
    text = tensor.dtype.newbyteorder("<").str
    if text not in _DTYPES:
        raise SlipError(f"tensors of type {tensor.dtype} do not pass")
    return text


def _room(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNED_BYTES) * _ALIGNED_BYTES


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) <= _AXES_MAX and all(_is_count(side) for side in value)
