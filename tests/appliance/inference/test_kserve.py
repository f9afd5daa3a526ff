"""A genuine Triton server as an engine, over HTTP and gRPC: the same answers, and all ways it can fail us."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.demo.box import free_ports
from appliance.inference.choose import open_engine, open_now
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.kserve import KServe
from appliance.inference.kserve.contract import differences, version_on
from appliance.inference.kserve.export import export
from appliance.inference.kserve.http import HttpWire
from appliance.inference.kserve.wire import Answer, Question, Trouble, WireFault
from appliance.inference.limits import InferenceLimits
from appliance.inference.memory import Budget
from appliance.inference.onnx_file import read_network
from appliance.inference.pool import Pool
from appliance.inference.settings import EngineSettings
from models.catalogue import shipped
from models.package import Package, open_package
from tests.appliance.inference.given import bands, doubling, network, package_of
from tests.system.waiting import until
from tests.triton.repository import put
from tests.triton.server import Triton

pytest_plugins = ("tests.triton.fixtures",)
HEADERS = frozenset(
    (b"host", b"accept-encoding", b"content-length", b"content-type", b"inference-header-content-length")
)
both_ways = pytest.mark.parametrize("way", ["http", "grpc"])


def limits(**values: Any) -> InferenceLimits:
    """Bounds under which a server that failed in one test is not passed over in the next."""
    return InferenceLimits(
        **({"kserve_passed_over_seconds": 0.0, "kserve_connect_seconds_max": 1.0} | values)
    )


def settings(*urls: str, **values: Any) -> EngineSettings:
    return EngineSettings(kserve_urls=urls, limits=limits(**values))


def named(folder: Path, name: str, model: onnx.ModelProto | None = None) -> Package:
    """A package of its own name around a network; the doubling one when none is given."""
    package = package_of(folder, model or doubling())
    return replace(package, manifest=package.manifest.model_copy(update={"name": name}))


def loaded(package: Package, *urls: str, **values: Any) -> KServe:
    engine = KServe(settings(*urls, **values))
    engine.load(engine.plan(package))
    return engine


def image(*shape: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).random(shape or (1, 1, 3, 4), np.float32)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processor's answers to the golden cases are kept, so that each is asked for once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def lesion(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The lesion finder with the first of its golden cases, under a name of its own."""
    root = tmp_path_factory.mktemp("lesion") / "package"
    shutil.copytree(next(path for path in shipped() if path.name == "ct-phantom-lesion"), root)
    for path in sorted((root / "golden").iterdir())[1:]:
        path.unlink()
    package = open_package(root)
    return replace(package, manifest=package.manifest.model_copy(update={"name": "lesion"}))


class TestAgreement:
    """What a server must be to serve."""

    @pytest.mark.parametrize(
        ("name", "way"),
        [
            ("ct-tissue-bands", "http"),
            ("ct-tissue-bands", "grpc"),
            pytest.param("ct-phantom-lesion", "http", marks=pytest.mark.long),
            pytest.param("ct-phantom-lesion", "grpc", marks=pytest.mark.long),
        ],
    )
    def test_a_shipped_model_gives_the_processor_s_findings(
        self, triton: Triton, store: Path, way: str, name: str
    ):
        package = open_package(next(path for path in shipped() if path.name == name))
        put(triton.repository, package)
        given = replace(settings(triton.urls[way]), store=store)
        engine, stepped_down = open_engine(package, ["kserve"], settings=given)
        assert stepped_down is None
        protocol = {"http": "HTTP", "grpc": "gRPC"}[way]
        assert engine.provenance().text == f"Triton 2.51.0 (KServe v2 over {protocol})"
        assert engine.provenance().details["version"] == "1000000"
        assert engine.memory_bytes() == 0
        engine.unload()

    def test_a_network_of_volumes_gives_the_processor_s_findings(
        self, triton: Triton, store: Path, lesion: Package
    ):
        put(triton.repository, lesion)
        given = replace(settings(triton.urls["grpc"]), store=store)
        engine, stepped_down = open_engine(lesion, ["kserve"], settings=given)
        assert stepped_down is None
        engine.unload()

    @both_ways
    def test_it_is_an_engine_and_answers_by_name(self, triton: Triton, tmp_path: Path, way: str):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine: Engine = loaded(package, triton.urls[way])
        given = image(2, 1, 5, 7)
        answer = engine.infer(given, deadline_seconds=20)
        assert list(answer) == ["labels"]
        assert np.array_equal(answer["labels"], 2 * given["image"])
        engine.unload()
        with pytest.raises(AssertionError):
            engine.infer(given, deadline_seconds=1)

    @both_ways
    def test_every_difference_of_the_model_is_told_at_once(self, triton: Triton, tmp_path: Path, way: str):
        on_server, ours = (
            named(_in(tmp_path / "a"), "differs"),
            named(_in(tmp_path / "b"), "differs", _other_ends()),
        )
        put(triton.repository, on_server)
        with pytest.raises(InferenceError) as caught:
            loaded(ours, triton.urls[way])
        assert caught.value.word == "inference.load"
        for fault in (
            "it has no input 'picture'",
            "it wants the input 'image', which the package lacks",
            "output 'labels' is FP32 [-1, 1, -1, -1]; the package's is UINT8 [-1, 3]",
            "it has no output 'scores'",
        ):
            assert fault in caught.value.sentence

    def test_a_newer_version_is_found_beside_the_one_in_use(self, triton: Triton, tmp_path: Path):
        url = triton.urls["grpc"]
        old = named(_in(tmp_path / "old"), "growing")
        put(triton.repository, old)
        first = loaded(old, url)
        new = named(_in(tmp_path / "new"), "growing", tripling())
        manifest = new.manifest.model_copy(update={"version": "1.2.0"})
        new = replace(new, manifest=manifest, digest="sha256:" + 64 * "c")
        put(triton.repository, new)
        second = loaded(new, url)
        given = image()
        for engine, version, factor in ((first, "1000000", 2), (second, "1002000", 3)):
            assert engine.provenance().details["version"] == version
            answer = engine.infer(given, deadline_seconds=20)["labels"]
            assert np.allclose(answer, factor * given["image"])
            engine.unload()

    def test_a_model_made_from_another_package_is_refused(self, triton: Triton, tmp_path: Path):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        with pytest.raises(InferenceError, match="it was made from another package"):
            loaded(replace(package, digest="sha256:" + 64 * "0"), triton.urls["grpc"])

    def test_a_server_that_takes_fewer_cases_in_a_call_is_refused(self, triton: Triton, tmp_path: Path):
        package = named(tmp_path, "narrow")
        config = put(triton.repository, package) / "config.pbtxt"
        text = config.read_text().replace("max_batch_size: 32", "max_batch_size: 4").replace("[8]", "[4]")
        config.write_text(text)
        with pytest.raises(InferenceError, match="it takes 4 cases in a call; the package gives 8"):
            loaded(package, triton.urls["http"])

    @both_ways
    def test_a_model_that_is_not_there_is_named_and_nothing_of_the_server_s_is_repeated(
        self, triton: Triton, tmp_path: Path, way: str
    ):
        with pytest.raises(InferenceError) as caught:
            loaded(named(tmp_path, "nowhere"), triton.urls[way])
        assert caught.value.word == "inference.load"
        assert "the model nowhere is not loaded there" in caught.value.sentence
        assert str(triton.repository) not in caught.value.sentence

    def test_answers_that_are_no_numbers_never_serve(self, triton: Triton, store: Path, lesion: Package):
        package = replace(lesion, manifest=lesion.manifest.model_copy(update={"name": "poisoned"}))
        put(triton.repository, package, parameters={"poison": "nan"})
        with pytest.raises(InferenceError) as caught:
            open_engine(package, ["kserve"], settings=replace(settings(triton.urls["http"]), store=store))
        assert caught.value.word == "inference.no_engine"
        assert "NaN" in caught.value.sentence


class TestCalls:
    """What becomes of one call."""

    @both_ways
    def test_a_call_that_fails_is_a_word_and_the_engine_lives_on(
        self, triton: Triton, tmp_path: Path, way: str
    ):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine = loaded(package, triton.urls[way])
        with pytest.raises(InferenceError) as caught:
            engine.infer({"image": np.zeros((1, 2, 3, 4), np.float32)}, deadline_seconds=20)
        assert caught.value.word == "inference.failed"
        assert "refused the request" in caught.value.sentence
        assert engine.infer(image(), deadline_seconds=20)["labels"].shape == (1, 1, 3, 4)
        engine.unload()

    @both_ways
    def test_a_call_ends_at_its_deadline_and_the_engine_lives_on(
        self, triton: Triton, tmp_path: Path, way: str
    ):
        package = named(tmp_path, "slow")
        put(triton.repository, package, parameters={"seconds": "1"})
        engine = loaded(package, triton.urls[way])
        with pytest.raises(InferenceError) as caught:
            engine.infer(image(), deadline_seconds=0.2)
        assert caught.value.word == "inference.deadline"
        with pytest.raises(InferenceError, match=r"inference\.deadline"):
            engine.infer(image(), deadline_seconds=-1.0)
        assert "labels" in engine.infer(image(), deadline_seconds=30)
        engine.unload()

    @both_ways
    def test_an_answer_larger_than_allowed_is_refused(self, triton: Triton, tmp_path: Path, way: str):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine = loaded(package, triton.urls[way], kserve_answer_bytes_max=20_000)
        with pytest.raises(InferenceError, match=r"inference\.failed"):
            engine.infer(image(1, 1, 200, 200), deadline_seconds=20)
        engine.unload()

    @both_ways
    def test_answers_never_cross_between_threads(self, triton: Triton, tmp_path: Path, way: str):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine = loaded(package, triton.urls[way])

        def ask(number: int) -> bool:
            given = np.full((1 + number % 3, 1, 4, 4), number, np.float32)
            return np.array_equal(engine.infer({"image": given}, deadline_seconds=30)["labels"], 2 * given)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(ask, range(160)))
        engine.unload()

    def test_nothing_but_the_tensor_and_a_chance_name_leaves(self, tmp_path: Path):
        with Eavesdropper() as heard:
            for _ in range(2):
                with pytest.raises(WireFault):
                    asked_over_http(heard.port, seconds=10)
        names = set()
        for head, body in heard.requests:
            length = int(re.search(rb"(?i)inference-header-content-length: (\d+)", head).group(1))  # type: ignore[union-attr]
            said = json.loads(body[:length])
            assert set(said) == {"id", "inputs", "outputs"}
            assert re.fullmatch("[0-9a-f]{16}", said["id"])
            assert [set(one) for one in said["inputs"]] == [{"name", "shape", "datatype", "parameters"}]
            assert body[length:] == image(1, 1, 2, 2)["image"].tobytes()
            headers = {name.lower() for name in re.findall(rb"(?m)^([\w-]+):", head)}
            assert headers <= HEADERS
            names.add(said["id"])
        assert len(names) == 2

    @pytest.mark.parametrize(
        ("answer", "trouble"),
        [
            (b"", Trouble.GONE),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Trouble.GONE),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{", Trouble.GONE),
            (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Trouble.GONE),
            (b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n", Trouble.ANSWERED_NO),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", Trouble.NONSENSE),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + bytes(30_000), Trouble.NONSENSE),
        ],
    )
    def test_an_answer_that_is_none_is_named(self, answer: bytes, trouble: Trouble):
        with Eavesdropper(answer, calls=1) as heard, pytest.raises(WireFault) as caught:
            asked_over_http(heard.port, seconds=10, kserve_answer_bytes_max=20_000)
        assert caught.value.trouble is trouble

    def test_an_answer_that_trickles_ends_at_the_deadline(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        with Eavesdropper(head, calls=1, trickling=True) as heard, pytest.raises(WireFault) as caught:
            asked_over_http(heard.port, seconds=0.5)
        assert caught.value.trouble is Trouble.LATE


class TestLoss:
    """Servers that are not there, go, hang and come back."""

    @both_ways
    def test_a_server_that_is_not_there_is_named(self, way: str):
        (port,) = free_ports(1)
        probe = KServe(settings(f"{way}://127.0.0.1:{port}")).probe()
        assert not probe.ok
        assert f"127.0.0.1:{port}: no connection to it can be made" in probe.reason

    def test_no_server_is_configured(self):
        assert "no server is configured" in KServe(settings()).probe().reason.lower()
        with pytest.raises(InferenceError, match="No server is configured"):
            loaded(bands())

    def test_a_library_that_is_not_installed_is_named(self, monkeypatch: pytest.MonkeyPatch):
        for name in [name for name in sys.modules if name.startswith("tritonclient")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "tritonclient", None)
        for url in ("http://127.0.0.1:9", "grpc://127.0.0.1:9"):
            assert "tritonclient" in KServe(settings(url)).probe().reason

    @both_ways
    def test_the_next_server_is_used_when_one_is_gone_and_the_gone_one_passed_over(
        self, triton: Triton, tmp_path: Path, way: str
    ):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        gone = f"{way}://127.0.0.1:{free_ports(1)[0]}"
        engine = loaded(package, gone, triton.urls[way], kserve_passed_over_seconds=600.0)
        assert engine.provenance().details["url"] == triton.urls[way]
        engine.unload()
        assert "passed over for a while" in KServe(settings(gone)).probe().reason

    @both_ways
    def test_a_server_that_hangs_is_noticed_in_time(self, triton: Triton, tmp_path: Path, way: str):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine = loaded(package, triton.urls[way], kserve_control_seconds_max=1.0)
        triton.pause()
        with pytest.raises(InferenceError) as caught:
            engine.infer(image(), deadline_seconds=0.5)
        assert caught.value.word == "inference.deadline"
        start = time.monotonic()
        assert not engine.probe().ok
        assert time.monotonic() - start < 10
        triton.resume()
        with pytest.raises(InferenceError, match="was lost"):
            engine.infer(image(), deadline_seconds=20)
        engine.load(engine.plan(package))
        assert "labels" in engine.infer(image(), deadline_seconds=20)
        engine.unload()

    @both_ways
    def test_a_server_killed_in_a_call_is_lost_until_it_is_loaded_anew(
        self, triton: Triton, tmp_path: Path, way: str
    ):
        package = named(tmp_path, f"slower-{way}")
        put(triton.repository, package, parameters={"seconds": "60"})
        engine = loaded(package, triton.urls[way])
        killer = threading.Timer(0.5, triton.kill)
        killer.start()
        with pytest.raises(InferenceError) as caught:
            engine.infer(image(), deadline_seconds=50)
        killer.join()
        assert caught.value.word == "inference.crashed"
        assert not engine.probe().ok
        with pytest.raises(InferenceError, match="no connection to it can be made"):
            engine.load(engine.plan(package))

        put(triton.repository, package, parameters={"seconds": "0"})
        triton.start()
        engine.load(engine.plan(package))
        assert "labels" in engine.infer(image(), deadline_seconds=20)
        engine.unload()

    def test_a_server_that_is_back_takes_over_from_the_processor(self, triton: Triton, store: Path):
        package = bands()
        put(triton.repository, package)
        given = replace(settings(triton.urls["grpc"], remote_again_seconds=0.0), store=store)
        pool = Pool(
            lambda package: open_now(package, ["kserve", "cpu"], settings=given),
            limits=given.limits,
            budget=Budget(bytes_max=None, reserve_bytes=0, available=lambda: None),
        )

        def on_the_server() -> bool:
            with pool.seat(package) as seat:
                return seat.name == "kserve" and seat.stepped_down is None

        with closing(pool):
            triton.kill()
            assert not on_the_server()
            triton.start()
            until(on_the_server, seconds=60, what="the server takes over")

    @both_ways
    def test_a_model_taken_off_the_server_is_lost(self, triton: Triton, tmp_path: Path, way: str):
        package = named(tmp_path, f"taken-{way}")
        put(triton.repository, package)
        engine = loaded(package, triton.urls[way])
        triton.unload(package.manifest.name)
        with pytest.raises(InferenceError) as caught:
            engine.infer(image(), deadline_seconds=20)
        assert caught.value.word == "inference.crashed"
        engine.unload()

    def test_no_two_plans_share_a_key_as_others_rule_the_server(self, triton: Triton, tmp_path: Path):
        package = named(tmp_path, "doubling")
        put(triton.repository, package)
        engine = KServe(settings(triton.urls["grpc"]))
        assert engine.plan(package).key != engine.plan(package).key


class TestExport:
    """A package in a model repository."""

    def test_versions_lie_side_by_side_and_each_bears_its_package_s_digest(self, tmp_path: Path):
        package, repository = named(tmp_path, "doubling"), tmp_path / "models"
        newer = replace(
            package,
            manifest=package.manifest.model_copy(update={"version": "1.2.3"}),
            digest="sha256:" + 64 * "a",
        )
        folder = export(package, repository)
        assert export(newer, repository) == folder
        assert export(newer, repository) == folder
        assert {path.name for path in folder.iterdir()} == {"1000000", "1002003", "config.pbtxt"}
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        for version, digest in (("1000000", package.digest), ("1002003", newer.digest)):
            assert f'key: "readside.package.{version}" value: {{ string_value: "{digest}" }}' in text
        assert (folder / "1002003" / "model.onnx").read_bytes() == package.onnx_path().read_bytes()

    def test_another_package_under_the_same_version_is_refused(self, tmp_path: Path):
        package, repository = named(tmp_path, "doubling"), tmp_path / "models"
        export(package, repository)
        with pytest.raises(InferenceError, match="raise the version"):
            export(replace(package, digest="sha256:" + 64 * "b"), repository)

    def test_calls_are_gathered_only_where_the_network_takes_any_number_of_cases(self, tmp_path: Path):
        fixed = network([helper.make_node("Add", ["image", "image"], ["labels"])], shape=(1, 1, "y", "x"))
        folder = export(named(tmp_path, "fixed", fixed), tmp_path / "models")
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        assert "max_batch_size: 0" in text
        assert "dims: [1, 1, -1, -1]" in text
        assert "dynamic_batching" not in text

    def test_the_command_says_where_it_wrote(self, tmp_path: Path):
        package = next(path for path in shipped() if path.name == "ct-tissue-bands")
        said = CliRunner().invoke(app, ["model", "export-triton", str(package), str(tmp_path), "--json"])
        assert said.exit_code == 0, said.output
        # A line of the log, of a thread that another test left to end, may stand before it.
        assert json.loads(said.stdout.splitlines()[-1])["version"] == "1000000"
        assert (tmp_path / "ct-tissue-bands" / "1000000" / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("there", "version", "fault"),
    [
        (["1000000", "7"], "1000000", ""),
        (["3"], "3", ""),
        ([], "", ""),
        (["1", "2"], "", "has the versions 1, 2 and no 1000000, the folder of version 1.0.0"),
    ],
)
def test_the_version_on_the_server(there: list[str], version: str, fault: str):
    assert version_on(there, "1.0.0") == (version, fault)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"inputs": None}, {"inputs": [None, 3, {"name": "image"}]}, {"inputs": [{"name": 1, "shape": "x"}]}],
)
def test_metadata_that_says_nothing_is_a_difference(tmp_path: Path, metadata: dict[str, Any]):
    ends = read_network(package_of(tmp_path, doubling()).onnx_path())
    assert differences(ends, metadata) == ["it has no input 'image'", "it has no output 'labels'"]


class Eavesdropper:
    """Takes HTTP requests, keeps them, says the same to each and hangs up; or goes on byte by byte."""

    def __init__(self, answer: bytes = b"", *, calls: int = 2, trickling: bool = False) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self._answer, self._calls, self._trickling = answer, calls, trickling
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Eavesdropper:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(20)
        self._listening.close()

    def _listen(self) -> None:
        self._listening.settimeout(10)
        for _ in range(self._calls):
            taken, _ = self._listening.accept()
            with taken, suppress(ConnectionError):
                taken.settimeout(10)
                self.requests.append(self._read(taken))
                taken.sendall(self._answer)
                while self._trickling:
                    taken.sendall(b" ")
                    time.sleep(0.05)

    def _read(self, taken: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += taken.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)\r", b"\r\n" + head + b"\r\n").group(1))  # type: ignore[union-attr]
        while len(body) < length:
            body += taken.recv(65536)
        return head, body


def asked_over_http(port: int, *, seconds: float, **values: Any) -> Answer:
    wire = HttpWire("127.0.0.1", port, limits(**values))
    question = Question(model="m", version="1", inputs=image(1, 1, 2, 2), outputs=["labels"])
    try:
        return wire.infer(question, seconds=seconds)
    finally:
        wire.close()


def _in(folder: Path) -> Path:
    folder.mkdir()
    return folder


def tripling() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["image", "image"], ["twice"]),
        helper.make_node("Add", ["twice", "image"], ["labels"]),
    ]
    return network(nodes)


def _other_ends() -> onnx.ModelProto:
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ("n", 1, "y", "x"))
    labels = helper.make_tensor_value_info("labels", TensorProto.UINT8, ("n", 3))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 3))
    nodes = [helper.make_node("Identity", ["picture"], [name]) for name in ("labels", "scores")]
    graph = helper.make_graph(nodes, "other", [picture], [labels, scores])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
