"""Measure what the pool costs and brings: calls beside bare ONNX Runtime, the first after "ready", joining.

usage: .venv/bin/python -m scripts.bench_pool [--model NAME] [--calls N] [--rounds N] [--parts PART ...]
Bare calls and calls through the pool (queue, child process, shared memory) take turns, so that a busy machine
falls on both alike; what is told is the median of each round and of the ratios. Only this machine is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnxruntime

from appliance.core import log
from appliance.inference.choose import MAKERS, open_now
from appliance.inference.limits import InferenceLimits
from appliance.inference.memory import Budget
from appliance.inference.onnx_session import options_of
from appliance.inference.pool import Pool
from appliance.inference.process import hosted
from appliance.inference.settings import EngineSettings
from appliance.inference.warming import footprint_of
from models.catalogue import shipped
from models.package import Package, open_package

CALL_SECONDS_MAX = 120.0
JOBS = (1, 2, 4)


def main() -> None:
    asked = _arguments()
    log.silence()
    package = open_package(next(path for path in shipped() if path.name == asked.model))
    told: dict[str, Any] = {"model": asked.model}
    for part in asked.parts:
        told[part] = PARTS[part](package, asked)
    print(json.dumps(told) if asked.json else "\n\n".join(_table(told)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ct-phantom-lesion", help="a shipped package")
    parser.add_argument("--calls", type=int, default=20, help="of each kind in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


@contextmanager
def _pool(wait_ms: float = 5.0) -> Iterator[Pool]:
    settings, makers = EngineSettings(), hosted(MAKERS)

    def opens(package: Package) -> Any:
        return open_now(package, ["cpu"], settings=settings, makers=makers)

    budget = Budget(bytes_max=None, reserve_bytes=0, available=lambda: None)
    pool = Pool(opens, limits=settings.limits, budget=budget, batch_wait_seconds=wait_ms / 1000)
    try:
        yield pool
    finally:
        pool.close()


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _overhead(package: Package, asked: argparse.Namespace) -> dict[str, Any]:
    limits = InferenceLimits()
    batch = footprint_of(package, limits).batches[-1]
    bare = onnxruntime.InferenceSession(
        package.onnx_path().read_bytes(), sess_options=options_of(limits), providers=["CPUExecutionProvider"]
    )
    with _pool() as pool, pool.seat(package) as seat:

        def direct() -> object:
            return bare.run(None, dict(batch))

        def pooled() -> object:
            return seat.infer(batch, deadline_seconds=CALL_SECONDS_MAX)

        for call in (direct, pooled):
            call()
        rounds = [_round(direct, pooled, asked.calls) for _ in range(asked.rounds)]
    return {
        "mib_in": round(sum(array.nbytes for array in batch.values()) / 2**20, 2),
        "bare_seconds": [round(bare, 4) for bare, _ in rounds],
        "pool_seconds": [round(pooled, 4) for _, pooled in rounds],
        "ratio": round(statistics.median(pooled / bare for bare, pooled in rounds), 4),
    }


def _round(direct: Callable[[], object], pooled: Callable[[], object], calls: int) -> tuple[float, float]:
    pairs = [
        (_seconds(direct), _seconds(pooled)) if n % 2 else (_seconds(pooled), _seconds(direct))[::-1]
        for n in range(calls)
    ]
    bare, through = zip(*pairs, strict=True)
    return statistics.median(bare), statistics.median(through)


def _first_after_ready(package: Package, asked: argparse.Namespace) -> dict[str, Any]:
    batch = footprint_of(package, InferenceLimits()).batches[-1]
    ratios = []
    for _ in range(asked.rounds):
        with _pool() as pool, pool.seat(package) as seat:

            def call(seat: Any = seat) -> object:
                return seat.infer(batch, deadline_seconds=CALL_SECONDS_MAX)

            first = _seconds(call)
            steady = statistics.median(_seconds(call) for _ in range(max(asked.calls // 2, 3)))
        ratios.append(round(first / steady, 3))
    return {"ratios": ratios, "median": statistics.median(ratios)}


def _joining(package: Package, asked: argparse.Namespace) -> list[dict[str, Any]]:
    return [_jobs_at_once(package, jobs, asked) for jobs in JOBS]


def _jobs_at_once(package: Package, jobs: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Let jobs make calls of one row each, side by side."""
    batch = footprint_of(package, InferenceLimits()).batches[0]
    with _pool() as pool, pool.seat(package):

        def job() -> None:
            with pool.seat(package) as seat:
                for _ in range(asked.calls):
                    seat.infer(batch, deadline_seconds=CALL_SECONDS_MAX)

        threads = [threading.Thread(target=job) for _ in range(jobs)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
    return {"jobs": jobs, "calls_per_second": round(jobs * asked.calls / took, 2)}


PARTS = {"overhead": _overhead, "first_after_ready": _first_after_ready, "joining": _joining}


def _table(told: dict[str, Any]) -> Iterator[str]:
    yield told["model"]
    if overhead := told.get("overhead"):
        pairs = zip(overhead["bare_seconds"], overhead["pool_seconds"], strict=True)
        rows = [
            f"{n:5} {bare:8.4f} {pool:8.4f} {pool / bare:7.3f}" for n, (bare, pool) in enumerate(pairs, 1)
        ]
        yield "\n".join(["round   bare s   pool s   ratio", *rows])
        more = 100 * (overhead["ratio"] - 1)
        yield f"the pool adds {more:.1f} % to a call with {overhead['mib_in']} MiB in"
    if first := told.get("first_after_ready"):
        yield f"first call after ready / steady call: median {first['median']}, all {first['ratios']}"
    if joining := told.get("joining"):
        rows = [f"{row['jobs']:4} {row['calls_per_second']:8.2f}" for row in joining]
        yield "\n".join(["jobs  calls/s", *rows])


if __name__ == "__main__":
    main()
