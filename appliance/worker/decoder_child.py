"""The process that decompresses pixels: `python -m appliance.worker.decoder_child BYTES FILES`, line on fd 0.

Decoders of compressed images are large, old and fed by strangers: they crash and they hang.
So they run here, with a bound on memory, files and processor time, with no environment and no core file,
and whatever happens to this process is only a word in a job's history.
It reads one request, answers one message a frame or one error, and waits for the next; end of file ends it.
Never: opens a path, a network or a pickle.
"""

from __future__ import annotations

import math
import resource
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEGLSTransferSyntaxes

from appliance.worker.streams import size_of
from appliance.worker.wire import Gone, Line, Message

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_OPTIONS = (
    "rows",
    "columns",
    "number_of_frames",
    "samples_per_pixel",
    "bits_allocated",
    "bits_stored",
    "pixel_representation",
    "photometric_interpretation",
    "planar_configuration",
)
# What pydicom and its plugins raise for bytes that are no image; everything else may end this process.
_BAD_STREAM = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError, OSError)
config.settings.reading_validation_mode = config.IGNORE


class _OtherSize(Exception):
    """A frame is not of the size that the header says."""


def main(memory_bytes_max: int, files_max: int, stream_bytes_max: int) -> None:
    """Serve requests on fd 0 until it closes."""
    _confine(memory_bytes_max, files_max)
    line = Line(socket.socket(fileno=0))
    line.send({"ready": True})
    while True:
        try:
            request = line.receive(lambda _: stream_bytes_max)
        except Gone:
            return
        except MemoryError:
            # The rest of the request is still on the line, so no later answer could be trusted.
            line.send({"error": "decode.memory", "detail": "stream"})
            return
        _answer(line, request)


def _confine(memory_bytes_max: int, files_max: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes_max, memory_bytes_max))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _answer(line: Line, request: Message) -> None:
    _allow_processor(float(request.fields["seconds"]))
    try:
        given = 0
        for frame in _frames(request.fields, bytes(request.body)):
            cells = np.ascontiguousarray(frame)
            line.send({"dtype": cells.dtype.str, "shape": list(cells.shape)}, cells.data.cast("B"))
            given += 1
        if given < request.fields["number_of_frames"]:
            line.send({"error": "decode.shape", "detail": "frames"})
    except _OtherSize:
        line.send({"error": "decode.shape", "detail": "size"})
    except MemoryError:
        line.send({"error": "decode.memory", "detail": "frame"})
    except NotImplementedError:
        line.send({"error": "decode.unsupported", "detail": "syntax"})
    except _BAD_STREAM as error:
        # The text of a decoder's error may quote what it was given; its type does not.
        line.send({"error": "decode.stream", "detail": type(error).__name__})


def _allow_processor(seconds: float) -> None:
    """Let a request use `seconds` of processor time; the kernel ends a decoder that loops, even an orphan."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _frames(fields: Mapping[str, Any], body: bytes) -> Iterator[NDArray[Any]]:
    if fields["transfer_syntax_uid"] == ENCAPSULATED_UNCOMPRESSED:
        yield from _uncompressed(fields, body)
        return
    syntax = UID(fields["transfer_syntax_uid"])
    options = {name: fields[name] for name in _OPTIONS}
    for frame in generate_frames(body, number_of_frames=fields["number_of_frames"]):
        if size_of(frame) not in (None, (fields["rows"], fields["columns"])):
            raise _OtherSize
    # One decoder for a syntax: trying others on a damaged stream would only widen what strangers reach.
    plugin = "pyjpegls" if syntax in JPEGLSTransferSyntaxes else "pylibjpeg"
    frames = get_decoder(syntax).iter_array(
        body, raw=True, decoding_plugin=plugin, pixel_keyword="PixelData", **options
    )
    yield from (cells for cells, _ in frames)


def _uncompressed(fields: Mapping[str, Any], body: bytes) -> Iterator[NDArray[Any]]:
    """Take native frames out of their fragments (PS3.5 A.4.11)."""
    kind = "i" if fields["pixel_representation"] else "u"
    dtype = np.dtype(f"<{kind}{fields['bits_allocated'] // 8}")
    count = fields["rows"] * fields["columns"] * fields["samples_per_pixel"]
    shape = (fields["rows"], fields["columns"], fields["samples_per_pixel"])
    for data in generate_frames(body, number_of_frames=fields["number_of_frames"]):
        yield np.frombuffer(data, dtype, count).reshape(shape if shape[2] > 1 else shape[:2])


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
