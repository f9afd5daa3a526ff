"""The preview's one desk: it knows what was asked for before, and lets few decode at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydicom import Dataset

from appliance.console.faults import Fault
from appliance.console.limits import Limits
from appliance.console.preview.masks import drawn, regions
from appliance.console.preview.scene import Scene, scene_of
from appliance.console.preview.shelf import Shelf
from appliance.console.preview.slices import Slice, read_slice
from appliance.console.preview.stack import Place, absent, instances_of, stack_of
from appliance.console.preview.stored import Damaged, Gone, Stored
from appliance.core import log
from appliance.ledger import results
from appliance.ledger.engine import Ledger
from appliance.ledger.results import Result
from appliance.worker.decode import Decoder
from appliance.worker.faults import DecodeError
from appliance.worker.limits import DecodeLimits
from appliance.worker.reading import read_header

_log = log.get("console")
_GONE = "This image is no longer on the box: images go after their time of keeping, results stay."
_DAMAGED = "This image's bytes on the box are not those that were kept; it is not shown."
_BUSY = "The box decodes as many images as it may. Try again in a moment."
T = TypeVar("T")


class Desk:
    """Gives scenes, slices and regions of results; several threads may ask at once."""

    def __init__(self, ledger: Ledger, root: Path, limits: Limits) -> None:
        self._ledger, self._limits, self._stored = ledger, limits, Stored(root)
        self._decoder = Decoder(DecodeLimits(children_max=limits.preview_decodes_at_once_max))
        seconds = limits.preview_decode_wait_seconds_max
        self._scenes = Shelf[int, Scene](
            lambda _: 1, weight_max=limits.preview_scenes_max, wait_seconds_max=seconds
        )
        self._headers = Shelf[str, Dataset](lambda _: 1, weight_max=2, wait_seconds_max=seconds)
        self._slices = Shelf[tuple[str, int | None], Slice](
            len, weight_max=limits.preview_slices_bytes_max, wait_seconds_max=seconds
        )
        self._at_once = threading.BoundedSemaphore(limits.preview_decodes_at_once_max)
        self._waiting = threading.BoundedSemaphore(limits.preview_decodes_waiting_max)
        self._rest: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """Return how much memory the kept slices take."""
        return self._slices.weight

    def scene(self, result: Result) -> Scene:
        """Return what lies over a result's images, read once.

        Raises:
            Fault: 503, too many are asking.
        """
        return self._waited(
            lambda: self._scenes.get(result.id, lambda: self._busy(lambda: self._scene(result)))
        )

    def described(self, result: Result) -> dict[str, Any]:
        """Return a result's scene as JSON values, with which images are on the box at this moment.

        Raises:
            Fault: 503, too many are asking.
        """
        scene = self.scene(result)
        with self._ledger.read() as tx:
            gone = absent(tx, [place.instance for place in scene.stack.places], self._stored)
        return scene.as_dict(gone)

    def slice(self, result: Result, number: int) -> Slice:
        """Return one image, counted from 1.

        Raises:
            Fault: 404 no such image, 410 gone, 422 it cannot be shown, 503 too many are asking.
        """
        place = self._place(self.scene(result), number)
        key = (place.instance.digest, place.frame)
        with self._ledger.read() as tx:
            if absent(tx, [place.instance], self._stored):
                # What was given up is given up in memory too.
                self._slices.drop(key)
                raise Fault(410, _GONE)
        try:
            return self._waited(lambda: self._slices.get(key, lambda: self._busy(lambda: self._slice(place))))
        except (Gone, FileNotFoundError):
            raise Fault(410, _GONE) from None
        except Damaged:
            _log.error("console.image_damaged")
            raise Fault(422, _DAMAGED) from None
        except DecodeError as error:
            raise Fault(422, error.sentence) from None
        except OSError as error:
            raise Fault(503, f"The box's disk failed: {error.strerror}.") from None

    def regions(self, result: Result, number: int) -> list[dict[str, Any]]:
        """Return the masks of the segmentation on one image, counted from 1, as JSON values.

        Raises:
            Fault: 404 no such image, 422 they cannot be read, 503 too many are asking.
        """
        scene = self.scene(result)
        self._place(scene, number)
        masks = scene.masks
        if masks is None:
            return []
        try:
            found = self._busy(
                lambda: list(regions(masks, number - 1, stored=self._stored, decoder=self._decoder))
            )
        except (DecodeError, OSError, ValueError):
            raise Fault(422, "The segmentation's frames cannot be read.") from None
        return [one for segment, mask in found if (one := drawn(segment, mask)) is not None]

    def close(self) -> None:
        """End every process that was kept for the next image."""
        with self._lock:
            if self._rest is not None:
                self._rest.cancel()
        self._decoder.close()

    def _place(self, scene: Scene, number: int) -> Place:
        if not 1 <= number <= len(scene.stack.places):
            raise Fault(404, "The result has no such image.")
        return scene.stack.places[number - 1]

    def _scene(self, result: Result) -> Scene:
        with self._ledger.read() as tx:
            instances, objects = instances_of(tx, result), results.objects_of(tx, result.id)
        stack = stack_of(instances, self._stored, self._limits)
        return scene_of(stack, objects, self._stored, self._limits)

    def _slice(self, place: Place) -> Slice:
        instance = place.instance
        if (instance.pixel_offset or 0) > self._limits.preview_header_bytes_max:
            raise DecodeError("decode.header", "The image's header is larger than is read.")
        self._stored.check(instance.location, instance.digest)
        header = self._headers.get(instance.digest, lambda: read_header(instance, self._stored))
        return read_slice(
            place,
            header,
            reader=self._stored,
            decoder=self._decoder,
            bytes_max=self._limits.preview_slice_bytes_max,
        )

    def _busy(self, work: Callable[[], T]) -> T:
        """Do a piece of work when it is its turn; let the decoders go when nobody came for a while."""
        with self._turn():
            try:
                return work()
            finally:
                self._rest_later()

    def _waited(self, work: Callable[[], T]) -> T:
        """Do what may wait for somebody else's work."""
        try:
            return work()
        except TimeoutError:
            raise Fault(503, _BUSY) from None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise Fault(503, _BUSY)
        try:
            if not self._at_once.acquire(timeout=self._limits.preview_decode_wait_seconds_max):
                raise Fault(503, _BUSY)
            try:
                yield
            finally:
                self._at_once.release()
        finally:
            self._waiting.release()

    def _rest_later(self) -> None:
        if not self._decoder.pids():
            return
        with self._lock:
            if self._rest is not None:
                self._rest.cancel()
            self._rest = threading.Timer(self._limits.preview_decoder_idle_seconds, self._decoder.close)
            self._rest.daemon = True
            self._rest.start()
