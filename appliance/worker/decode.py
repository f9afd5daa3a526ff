"""Frames of any stored instance: native ones read in place, compressed ones out of a child process.

A decoder keeps its children between instances, replaces them after a number of instances or a death,
and may be used from several threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from appliance.core.instance import Instance
from appliance.worker.child import ChildDied, DecoderChild
from appliance.worker.faults import DecodeError
from appliance.worker.frames import Cells, native_frames
from appliance.worker.limits import DecodeLimits
from appliance.worker.pixels import GREYSCALE, NATIVE, PixelFormat, shape_error
from appliance.worker.reading import Reader

__all__ = ["Cells", "DecodeError", "Decoder", "native_frames"]


class Decoder:
    """Gives the frames of instances; a context manager that ends its children."""

    def __init__(self, limits: DecodeLimits | None = None) -> None:
        self.limits = limits or DecodeLimits()
        self._idle: list[DecoderChild] = []
        self._lock = threading.Lock()

    def frames(self, instance: Instance, reader: Reader) -> Iterator[Cells]:
        """Decode the greyscale frames of an instance, first to last, each (rows, columns) of whole numbers.

        Raises:
            DecodeError: see its words.
            OSError: the stored bytes are gone.
        """
        pixels = PixelFormat.of(instance.facts)
        if pixels.photometric not in GREYSCALE or pixels.samples != 1:
            raise DecodeError("decode.unsupported", "The image is not greyscale.")
        return self.stored_frames(instance, reader)

    def stored_frames(self, instance: Instance, reader: Reader) -> Iterator[Cells]:
        """Decode the frames of any photometric interpretation as they are stored, first to last.

        Each is (rows, columns), and the samples behind where there are several; nothing is converted.

        Raises:
            DecodeError: see its words.
            OSError: the stored bytes are gone.
        """
        pixels = PixelFormat.of(instance.facts)
        pixels.check_claims(instance, self.limits)
        if instance.transfer_syntax_uid in NATIVE:
            return native_frames(instance, pixels, reader)
        stream = reader.read(instance.location, instance.pixel_offset or 0, instance.pixel_bytes)
        if len(stream) > self.limits.stream_bytes_max:
            raise shape_error(f"{len(stream)} compressed bytes are more than is read")
        return self._decoded(instance.transfer_syntax_uid, pixels, stream)

    def pids(self) -> list[int]:
        """Give the process ids of the children that wait for work."""
        with self._lock:
            return [child.pid for child in self._idle]

    def close(self) -> None:
        """End the children that wait for work."""
        with self._lock:
            children, self._idle = self._idle, []
        for child in children:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _decoded(self, transfer_syntax_uid: str, pixels: PixelFormat, stream: bytes) -> Iterator[Cells]:
        """Decode in a child; one that dies is replaced, and the new one goes on where the old one ended."""
        given = 0
        for tries_left in reversed(range(self.limits.tries_max)):
            child = self._take()
            try:
                for number, cells in enumerate(child.frames(transfer_syntax_uid, pixels, stream)):
                    if number == given:
                        given += 1
                        yield cells
                self._give_back(child)
                return
            except ChildDied:
                if not tries_left:
                    raise
            except DecodeError as error:
                # A decoder that ran out of memory once may not have given all of it back.
                if child.alive and error.word != "decode.memory":
                    self._give_back(child)
                else:
                    child.close()
                raise
            except GeneratorExit:
                child.close()
                raise

    def _take(self) -> DecoderChild:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    return child
                child.close()
        return DecoderChild(self.limits)

    def _give_back(self, child: DecoderChild) -> None:
        with self._lock:
            room = len(self._idle) < self.limits.children_max
            if room and child.instances < self.limits.child_instances_max:
                self._idle.append(child)
                return
        child.close()
