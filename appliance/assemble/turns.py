"""A turn over what is due, one after the other, that ends early when the service does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def one_by_one(due: Iterable[T], look_after: Callable[[T], bool], stopping: Callable[[], bool]) -> int:
    """Look after each until `stopping` says so; return for how many `look_after` did something."""
    done = 0
    for row in due:
        if stopping():
            break
        done += look_after(row)
    return done
