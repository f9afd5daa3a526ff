"""Measure how many calls a second clients of one KServe server get: one client, then several at once.

usage: .venv/bin/python -m scripts.bench_kserve [--url grpc://host:port] [--way grpc|http] [OPTIONS]
Without a URL it starts the server of the tests (a Triton out of a wheel, on this machine's processor).
Rounds of few and many clients take turns, so that a busy machine falls on both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from appliance.inference.kserve import KServe
from appliance.inference.kserve.export import Batching
from appliance.inference.settings import EngineSettings
from models.catalogue import shipped
from models.package import Package, open_package

CALL_SECONDS_MAX = 60.0


def main() -> None:
    asked = _arguments()
    package = open_package(next(path for path in shipped() if path.name == asked.model))
    with _server(package, asked) as url:
        rates = _rates(package, url, asked)
    one = statistics.median(rates[asked.clients[0]])
    rows = [
        {"clients": clients, "calls_per_second": round(rate, 1), "ratio": round(rate / one, 2)}
        for clients, rate in ((clients, statistics.median(rates[clients])) for clients in asked.clients)
    ]
    if asked.json:
        print(json.dumps({"model": asked.model, "side": asked.side, "way": asked.way, "rows": rows}))
        return
    print(f"{asked.model}, slices of {asked.side} x {asked.side}, one a call, {url.partition(':')[0]}")
    for row in rows:
        print(
            f"{row['clients']:4} clients {row['calls_per_second']:9.1f} calls/s {row['ratio']:6.2f} times one"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", help="a server that already runs and has the model")
    parser.add_argument("--way", choices=["grpc", "http"], default="grpc")
    parser.add_argument("--model", default="ct-tissue-bands", help="a shipped package that reads slices")
    parser.add_argument("--side", type=int, default=64, help="rows and columns of the slice in a call")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=3.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait-ms", type=float, default=3.0, help="how long the server gathers calls")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


@contextmanager
def _server(package: Package, asked: argparse.Namespace) -> Iterator[str]:
    if asked.url:
        yield asked.url
        return
    from tests.triton.repository import put
    from tests.triton.server import Triton, obstacle

    if (reason := obstacle()) is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="readside-triton-") as name:
        server = Triton(Path(name))
        batching = Batching(cases_preferred=max(asked.clients), wait_ms=asked.wait_ms)
        put(server.repository, package, batching=batching)
        server.start()
        try:
            yield server.urls[asked.way]
        finally:
            server.stop()


def _rates(package: Package, url: str, asked: argparse.Namespace) -> dict[int, list[float]]:
    engines = [_engine(package, url) for _ in range(max(asked.clients))]
    shape = (1, 1, asked.side, asked.side)
    batch = {package.manifest.input.tensor: np.zeros(shape, np.float32)}

    def call(engine: KServe) -> None:
        engine.infer(batch, deadline_seconds=CALL_SECONDS_MAX)

    for engine in engines:
        call(engine)
    rates: dict[int, list[float]] = {clients: [] for clients in asked.clients}
    for _ in range(asked.rounds):
        for clients in asked.clients:
            rates[clients].append(_rate(engines[:clients], call, asked.seconds))
    return rates


def _engine(package: Package, url: str) -> KServe:
    engine = KServe(EngineSettings(kserve_urls=(url,)))
    engine.load(engine.plan(package))
    return engine


def _rate(engines: Sequence[KServe], call: Callable[[KServe], None], seconds: float) -> float:
    """Let every client call as fast as it is answered; return the calls of all together a second."""
    counts = [0] * len(engines)
    until = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < until:
            call(engines[number])
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(engines))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
