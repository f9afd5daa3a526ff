"""An engine in a child: the same answers, and whatever the child does is a word, never the worker's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.process import EngineProcess, hosted
from appliance.inference.settings import EngineSettings
from tests.appliance.inference import echo
from tests.appliance.inference.given import bands, doubling, package_of

ROOT = Path(__file__).resolve().parents[3]
SECONDS_MAX = 30.0
Make = Callable[..., EngineProcess]


def cpu(settings: EngineSettings) -> Engine:
    return OnnxRuntimeCpu(settings.limits)


@pytest.fixture
def make() -> Iterator[Make]:
    """Make engines in children, and end them all."""
    made: list[EngineProcess] = []

    def one(maker: Callable[[EngineSettings], Engine] = echo.Echo, **limits: float) -> EngineProcess:
        settings = EngineSettings(limits=InferenceLimits(**limits))  # type: ignore[arg-type]
        engine = EngineProcess("echo", maker, settings)
        made.append(engine)
        return engine

    yield one
    for engine in made:
        engine.unload()


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    """One loaded engine, whatever the tests before did to its child."""
    engine = EngineProcess("echo", echo.Echo, EngineSettings())
    engine.load(engine.plan(bands()))
    yield engine
    engine.unload()


def image(first: float, count: int = 8) -> dict[str, np.ndarray]:
    made = np.arange(count, dtype=np.float32).reshape(1, 1, 1, count)
    made[0, 0, 0, 0] = first
    return {"image": made}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: Callable[[], bool]) -> None:
    late = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < late, "in time"
        time.sleep(0.01)


def answers(engine: Engine) -> bool:
    given = image(3)
    return np.array_equal(engine.infer(given, deadline_seconds=SECONDS_MAX)["labels"], 2 * given["image"])


def test_it_is_an_engine_like_any_other(make: Make, tmp_path: Path):
    engine: Engine = make()
    assert engine.probe().ok
    plan = engine.plan(bands())
    assert plan.parts == {"package": bands().digest}
    told: list[tuple[float, str]] = []
    report = engine.build(plan, folder=tmp_path, progress=lambda share, word: told.append((share, word)))
    assert (report.files, report.details, told) == (("engine",), {"layers": 3}, [(0.5, "halfway")])
    assert (tmp_path / "engine").read_text() == plan.key
    engine.load(plan, folder=tmp_path)
    assert answers(engine)
    assert engine.memory_bytes() == echo.HELD_BYTES
    assert engine.provenance().text == "Echo 1"
    engine.unload()
    assert engine.memory_bytes() == 0


def test_a_network_gives_the_same_answers_in_a_child(tmp_path: Path):
    package = package_of(tmp_path, doubling())
    engine = hosted({"cpu": cpu})["cpu"](EngineSettings())
    try:
        engine.load(engine.plan(package))
        given = np.random.default_rng(1).normal(size=(3, 1, 5, 7)).astype(np.float32)
        assert np.array_equal(engine.infer({"image": given}, deadline_seconds=30)["labels"], 2 * given)
        assert engine.memory_bytes() > (tmp_path / "model.onnx").stat().st_size
    finally:
        engine.unload()


def test_remote_engines_get_no_child():
    assert hosted({"kserve": cpu})["kserve"] is cpu


def test_tensors_pass_as_they_are(engine: EngineProcess):
    for shape in [(1, 1), (2, 0, 3), (), (1, 1, 600, 700)]:
        for dtype in ["float32", "float16", "int64", "uint8", "bool", ">f4"]:
            given = np.ones(shape, dtype)
            answer = engine.infer({"image": given}, deadline_seconds=SECONDS_MAX)["labels"]
            assert np.array_equal(answer, 2 * given), (shape, dtype)


def test_a_tensor_that_does_not_lie_in_one_piece_passes(engine: EngineProcess):
    given = np.arange(24, dtype=np.float32).reshape(1, 4, 6)[:, ::2, ::-1]
    assert np.array_equal(engine.infer({"image": given}, deadline_seconds=SECONDS_MAX)["labels"], 2 * given)


def test_an_answer_may_be_much_larger_than_the_question(engine: EngineProcess):
    given = image(echo.WIDE, 700)
    answer = engine.infer(given, deadline_seconds=SECONDS_MAX)["labels"]
    assert np.array_equal(answer, np.repeat(given["image"], 4096, axis=-1))
    assert answers(engine)


def test_text_does_not_pass(engine: EngineProcess):
    with pytest.raises(InferenceError, match="cannot be passed on"):
        engine.infer({"image": np.array(["a"])}, deadline_seconds=SECONDS_MAX)
    assert answers(engine)


def test_a_library_that_crashes_fails_one_call_and_the_next_one_goes_on(engine: EngineProcess):
    with pytest.raises(InferenceError, match="SIGSEGV") as caught:
        engine.infer(image(echo.DIE), deadline_seconds=SECONDS_MAX)
    assert caught.value.word == "inference.crashed"
    assert answers(engine)


def test_a_child_that_is_killed_in_the_middle_of_a_call_fails_that_call(engine: EngineProcess):
    assert answers(engine)
    pid = engine.pid
    assert pid is not None
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(InferenceError, match="SIGKILL") as caught:
        engine.infer(image(echo.HANG), deadline_seconds=SECONDS_MAX)
    killer.join()
    assert caught.value.word == "inference.crashed"
    assert answers(engine)
    assert engine.pid != pid
    assert gone(pid)


def test_a_call_that_hangs_is_ended_with_its_child(make: Make):
    engine = make(deadline_grace_seconds=0.1)
    engine.load(engine.plan(bands()))
    pid = engine.pid
    assert pid is not None
    with pytest.raises(InferenceError) as caught:
        engine.infer(image(echo.HANG), deadline_seconds=0.3)
    assert caught.value.word == "inference.deadline"
    assert gone(pid)
    assert answers(engine)


def test_a_refusal_is_passed_on_without_paths(engine: EngineProcess):
    with pytest.raises(InferenceError) as caught:
        engine.infer(image(echo.FAIL), deadline_seconds=SECONDS_MAX)
    assert (caught.value.word, caught.value.sentence) == (
        "inference.failed",
        "It cannot, see (path) for why.",
    )
    assert answers(engine)


def test_a_process_that_fails_once_and_for_all_is_not_asked_again(engine: EngineProcess):
    """As one does whose CUDA context is lost: only a new process gets another."""
    assert answers(engine)
    pid = engine.pid
    assert pid is not None
    with pytest.raises(InferenceError) as caught:
        engine.infer(image(echo.LOST), deadline_seconds=SECONDS_MAX)
    assert caught.value.word == "inference.failed"
    assert answers(engine)
    assert engine.pid != pid
    assert gone(pid)


def test_an_error_nobody_foresaw_says_its_kind_only(engine: EngineProcess):
    with pytest.raises(InferenceError) as caught:
        engine.infer(image(echo.BURST), deadline_seconds=SECONDS_MAX)
    assert "ZeroDivisionError" in caught.value.sentence
    assert "P1" not in caught.value.sentence
    assert answers(engine)


def test_an_engine_that_runs_out_of_memory_says_so_and_lives_on(engine: EngineProcess):
    assert answers(engine)
    pid = engine.pid
    with pytest.raises(InferenceError) as caught:
        engine.infer(image(echo.GREEDY), deadline_seconds=SECONDS_MAX)
    assert caught.value.word == "inference.memory"
    assert answers(engine)
    assert engine.pid == pid


def test_what_cannot_be_passed_on_is_an_error_and_not_the_childs_end(make: Make, tmp_path: Path):
    engine = make(echo.SaysNonsense)
    plan = engine.plan(bands())
    pid = engine.pid
    with pytest.raises(InferenceError, match="cannot be passed on"):
        engine.build(plan, folder=tmp_path)
    assert engine.probe().ok
    assert engine.pid == pid


def test_a_signal_to_the_whole_box_does_not_end_a_child_under_its_job(engine: EngineProcess):
    assert answers(engine)
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert answers(engine)
    assert engine.pid == pid


def test_tensors_have_a_bound_both_ways(make: Make):
    engine = make(tensors_bytes_max=1 << 20)
    engine.load(engine.plan(bands()))
    for given in (image(1, 1 << 19), image(echo.WIDE, 700)):
        with pytest.raises(InferenceError, match="at most 1 MiB") as caught:
            engine.infer(given, deadline_seconds=SECONDS_MAX)
        assert caught.value.word == "inference.memory"
        assert answers(engine)


def test_a_device_that_cannot_be_asked_is_an_engine_that_cannot_run(make: Make):
    assert make(echo.Absent).probe().reason == "is not installed here"
    probe = make(echo.DiesAtProbe).probe()
    assert not probe.ok
    assert "SIGABRT" in probe.reason


def test_a_crash_while_loading_is_an_error_of_loading(make: Make):
    engine = make(echo.DiesAtLoad)
    with pytest.raises(InferenceError) as caught:
        engine.load(engine.plan(bands()))
    assert caught.value.word == "inference.crashed"


def test_calls_of_several_threads_go_one_at_a_time_and_never_mix(engine: EngineProcess):
    wrong: list[float] = []

    def call(number: float) -> None:
        for _ in range(20):
            given = image(number, 2000)
            answer = engine.infer(given, deadline_seconds=SECONDS_MAX)["labels"]
            if not np.array_equal(answer, 2 * given["image"]):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(float(n),)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert wrong == []


def test_what_a_library_prints_is_counted_bounded_and_without_paths(make: Make, capfd: pytest.CaptureFixture):
    engine = make(output_lines_max=3)
    engine.load(engine.plan(bands()))
    engine.infer(image(echo.PRINT), deadline_seconds=SECONDS_MAX)
    engine.unload()
    said: list[str] = []

    def all_told() -> bool:
        said.append(capfd.readouterr().out)
        return "engine.output" in "".join(said)

    until(all_told)
    text = "".join(said)
    assert text.count("engine.said") == 3
    assert "srv" not in text
    assert "100" in text


def test_a_child_ends_with_the_box_even_when_that_is_killed_in_the_middle_of_a_call():
    program = (
        "import threading, time\n"
        "from appliance.inference.process import EngineProcess\n"
        "from appliance.inference.settings import EngineSettings\n"
        "from tests.appliance.inference import echo\n"
        "from tests.appliance.inference.given import bands\n"
        "from tests.appliance.inference.test_process import image\n"
        "engine = EngineProcess('echo', echo.Echo, EngineSettings())\n"
        "engine.load(engine.plan(bands()))\n"
        "threading.Thread(target=engine.infer, args=(image(echo.HANG),), "
        "kwargs={'deadline_seconds': 60}).start()\n"
        "time.sleep(0.2)\n"
        "print(engine.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    before = named_memory()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT) as box:
        assert box.stdout is not None
        lines = iter(box.stdout.readline, b"")
        pid = next(int(line) for line in lines if line.strip().isdigit())
        assert not gone(pid)
        box.kill()
        box.wait(SECONDS_MAX)
    until(lambda: gone(pid))
    assert named_memory() <= before, "shared memory has no name that could stay"


def named_memory() -> set[str]:
    """Shared memory with a name as Python or this product would give it; other programs have theirs."""
    names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return {name for name in names if name.startswith(("psm_", "readside"))}


def test_an_engine_that_is_forgotten_leaves_no_child(make: Make):
    engine = EngineProcess("echo", echo.Echo, EngineSettings())
    assert engine.probe().ok
    pid = engine.pid
    assert pid is not None
    del engine
    until(lambda: gone(pid))


def test_unloading_ends_a_call_that_is_in_the_way(make: Make):
    engine = make(serving_end_seconds_max=0.1)
    engine.load(engine.plan(bands()))
    errors: list[InferenceError] = []

    def call() -> None:
        try:
            engine.infer(image(echo.HANG), deadline_seconds=SECONDS_MAX)
        except InferenceError as error:
            errors.append(error)

    calling = threading.Thread(target=call)
    calling.start()
    until(engine._turn.locked)
    engine.unload()
    calling.join(SECONDS_MAX)
    assert [error.word for error in errors] == ["inference.crashed"]
    assert engine.pid is None


def test_idle_children_use_no_processor(make: Make, tmp_path: Path):
    package = package_of(tmp_path, doubling())
    engines = [make(cpu) for _ in range(3)]
    for engine in engines:
        engine.load(engine.plan(package))
        engine.infer({"image": np.ones((1, 1, 64, 64), np.float32)}, deadline_seconds=SECONDS_MAX)
    pids = [engine.pid for engine in engines]
    before = sum(ticks(pid) for pid in pids if pid is not None)
    time.sleep(1.0)
    used = sum(ticks(pid) for pid in pids if pid is not None) - before
    # A single spinning thread would use a hundred or, on a machine with other work, some tens.
    assert used <= 5


def ticks(pid: int) -> int:
    """The processor time a process has used, in ticks of a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
