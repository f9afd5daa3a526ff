#!/usr/bin/env python3
"""Measure what a durable keep costs on a file system: segments, with and without direct writes, and files.

usage: .venv/bin/python scripts/bench_disk.py FOLDER [--rounds 3] [--json]
Layouts take turns in every round; what is printed is the median. Nothing else should use the disk meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from appliance.disk.blocks import BlockFile, aligned, whole_blocks
from appliance.disk.durable import DurableFile
from appliance.disk.segment import make_segment

SIZES = {"CT 525 KB": (525_000, 240), "MR 130 KB": (130_000, 600)}
THREADS = (1, 2, 4, 8)
FILL_BYTES = 4 * 2**20
Keep = Callable[[int, memoryview], None]


def filled(folder: Path, length: int, count: int) -> Keep:
    return _segment(folder, length, count, fill_bytes=FILL_BYTES)


def reserved(folder: Path, length: int, count: int) -> Keep:
    return _segment(folder, length, count, fill_bytes=None)


def _segment(folder: Path, length: int, count: int, *, fill_bytes: int | None) -> Keep:
    path = folder / "segment"
    make_segment(folder / "part", path, length * count, fill_bytes=fill_bytes)
    file = BlockFile(path)
    return lambda number, data: file.write(number * length, data, durable=True)


def cached(folder: Path, length: int, count: int) -> Keep:
    path = folder / "segment"
    make_segment(folder / "part", path, length * count, fill_bytes=FILL_BYTES)
    handle = os.open(path, os.O_RDWR)

    def keep(number: int, data: memoryview) -> None:
        os.pwrite(handle, data, number * length)
        os.fdatasync(handle)

    return keep


def files(folder: Path, _length: int, _count: int) -> Keep:
    for name in ("incoming", *"0123456789abcdef"):
        (folder / name).mkdir()

    def keep(_number: int, data: memoryview) -> None:
        token = secrets.token_hex(16)
        with DurableFile(folder / "incoming" / token) as file:
            file.write(data)
            file.commit(folder / token[0] / token)

    return keep


LAYOUTS = {
    "segment, zero-filled, direct": filled,
    "segment, reserved, direct": reserved,
    "segment, zero-filled, fdatasync": cached,
    "a file for each": files,
}


def rate(folder: Path, layout: str, size: int, *, count: int, threads: int) -> float:
    """Return durable keeps a second."""
    place = folder / secrets.token_hex(8)
    place.mkdir(parents=True)
    length = whole_blocks(size + 1024)
    keep = LAYOUTS[layout](place, length, count)
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        data = aligned(length)
        data[:] = os.urandom(length)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            keep(number, data)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - begun
    shutil.rmtree(place)
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure durable keeps a second.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, list[float]] = {}
    for _ in range(asked.rounds):
        for name, (size, count) in SIZES.items():
            for threads in THREADS:
                for layout in LAYOUTS:
                    one = rate(asked.folder, layout, size, count=count, threads=threads)
                    found.setdefault(f"{name} | {layout} | {threads}", []).append(one)
    medians = {key: round(statistics.median(rates)) for key, rates in found.items()}
    if asked.json:
        print(json.dumps(medians))
        return
    for key, value in medians.items():
        print(f"{key:60s} {value:7d}/s")


if __name__ == "__main__":
    main()
