"""What was made for one reader and may serve the next: a bounded memory; nothing is made twice at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shelf(Generic[K, V]):
    """Keeps what was asked for last, up to `weight_max`; what is just being made is waited for."""

    def __init__(self, weigh: Callable[[V], int], *, weight_max: int, wait_seconds_max: float) -> None:
        self._weigh, self._weight_max, self._wait_seconds_max = weigh, weight_max, wait_seconds_max
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, Future[V]] = {}
        self._weight = 0
        self._lock = threading.Lock()

    @property
    def weight(self) -> int:
        """Return how much is kept."""
        return self._weight

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept under a key, or make it; a failure is told to all who wait, and not kept.

        Raises:
            TimeoutError: somebody else has been making it for too long.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            coming, mine = self._making.get(key), key not in self._making
            if coming is None:
                coming = self._making[key] = Future()
        if not mine:
            return coming.result(self._wait_seconds_max)
        return self._make(key, make, coming)

    def drop(self, key: K) -> None:
        """Forget what is kept under a key."""
        with self._lock:
            if key in self._kept:
                self._weight -= self._weigh(self._kept.pop(key))

    def _make(self, key: K, make: Callable[[], V], coming: Future[V]) -> V:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            coming.set_exception(error)
            # Told to whoever waits, and to our own caller here.
            coming.exception()
            raise
        with self._lock:
            del self._making[key]
            self._keep(key, value)
        coming.set_result(value)
        return value

    def _keep(self, key: K, value: V) -> None:
        weight = self._weigh(value)
        if weight > self._weight_max:
            return
        self._kept[key] = value
        self._weight += weight
        while self._weight > self._weight_max:
            _, oldest = self._kept.popitem(last=False)
            self._weight -= self._weigh(oldest)
