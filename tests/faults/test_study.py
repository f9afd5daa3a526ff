"""What befalls a study behind the wire: F30, F31, F33, F37, F38, F46, F47 and F49 of the fault list.

Whatever is sound on the wire is kept with 0000 and byte for byte; what is wrong with it shows in its own job.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.uid import RLELossless

from appliance.assemble.gather import series_facts
from appliance.core.clock import HeldClock
from appliance.core.config import ConfigError, parse
from appliance.core.instance import Instance
from appliance.core.limits import DEFAULT, Limits
from appliance.core.words import JobState, Outcome
from appliance.inference.choose import MAKERS
from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError, Probe
from appliance.inference.settings import EngineSettings
from appliance.ledger import jobs, studies
from appliance.ledger.engine import Ledger
from appliance.routes.expression import compile_condition
from appliance.routes.table import compile_routes
from appliance.services import worker as worker_service
from appliance.spool.store import Spool
from appliance.worker import attempt as attempt_module
from appliance.worker.attempt import Attempter
from appliance.worker.child import DecoderChild
from appliance.worker.decode import Decoder
from appliance.worker.engines import EngineShelf
from appliance.worker.faults import DecodeError
from appliance.worker.limits import DecodeLimits
from appliance.worker.run import analyse_series
from dicom_node.limits import Limits as WireLimits
from dicom_node.preflight import study_uid_of
from dicom_node.status import Status
from models.analysis import check_geometry
from tests.appliance.ledger import given
from tests.appliance.worker.given import ct, package
from tests.appliance.worker.test_attempt import Bench, site
from tests.appliance.worker.test_engines import with_inference
from tests.dicom_node.samples import JPEG_2000, Sample, element, real, sample
from tests.dicom_node.samples import encoded as encoded_as
from tests.faults import test_data
from tests.faults.test_data import Box
from tests.faults.test_wire import Logs, echoes, said, wait_for

box, ledger = test_data.box, test_data.ledger
ONE_TRY = Limits(attempts_max=1)
J2K = "MR_small_jp2klossless.dcm"
MARKS = ("Zyxwv", "Qponm")


def came(box: Box, known: Sample) -> Instance:
    """Store something, which is kept; return its row once it has one."""
    before = box.arrivals()
    assert box.send(known) == Status.KEPT
    assert wait_for(lambda: box.arrivals() == before + 1)
    study_uid = study_uid_of(known.data, known.transfer_syntax_uid, WireLimits())
    assert study_uid is not None
    return next(
        one
        for one in box.instances(study_uid)
        if (one.sop_instance_uid, one.location.length) == (known.sop_instance_uid, len(known.data))
    )


def decoded(decoder: Decoder, box: Box, instance: Instance) -> int:
    return len(list(decoder.frames(instance, box.spool)))


def test_f30_a_stream_that_kills_its_decoder(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    known = real(J2K)
    assert known.transfer_syntax_uid == JPEG_2000
    at = known.data.rindex(b"\xff\x93")  # start of data: the header before it stays sound
    end = known.data.rindex(b"\xfe\xff\xdd\xe0")  # and so does the framing behind it
    noise = b"\xff\x7f" * ((end - at - 40) // 2)
    broken = came(
        box, replace(known, data=known.data[: at + 40] + noise + known.data[end - (end - at) % 2 :])
    )
    with Decoder() as decoder:
        with pytest.raises(DecodeError) as caught:
            decoded(decoder, box, broken)
        assert caught.value.word in {"decode.stream", "decode.child_died"}
    send = DecoderChild.frames

    def dies(self: DecoderChild, *arguments: object) -> object:
        os.kill(self.pid, signal.SIGSEGV)
        return send(self, *arguments)  # type: ignore[arg-type]

    sound = came(box, known)
    with Decoder() as decoder:
        with monkeypatch.context() as patched:
            patched.setattr(DecoderChild, "frames", dies)
            with pytest.raises(DecodeError, match="SIGSEGV") as caught:
                decoded(decoder, box, sound)
        assert caught.value.word == "decode.child_died"
        assert decoded(decoder, box, sound) == 1, "the parent lives, and has another child"
    assert echoes(box.port)


def test_f31_a_decoder_that_hangs(box: Box) -> None:
    instance = came(box, real(J2K))
    with Decoder(DecodeLimits(frame_seconds_max=1.0)) as decoder:
        decoded(decoder, box, instance)
        (pid,) = decoder.pids()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DecodeError) as caught:
            decoded(decoder, box, instance)
        assert caught.value.word == "decode.deadline"
        assert not decoder.pids()
        assert decoded(decoder, box, instance) == 1


def test_f31_a_decoder_that_takes_all_memory(box: Box) -> None:
    made = ct(np.zeros((4096, 4096), "u2"))
    made.compress(RLELossless, generate_instance_uid=False)
    del made.file_meta
    known = Sample(
        data=encoded_as(made),
        transfer_syntax_uid=str(RLELossless),
        sop_class_uid=str(made.SOPClassUID),
        sop_instance_uid=str(made.SOPInstanceUID),
    )
    instance, words = came(box, known), set()
    # Less than a decoder needs for 32 MiB beside itself, enough for it to come up.
    for mib in (200, 130, 100):
        with Decoder(DecodeLimits(child_memory_bytes_max=mib << 20)) as decoder:
            try:
                words.add(str(decoded(decoder, box, instance)))
            except DecodeError as error:
                words.add(error.word)
    assert words <= {"1", "decode.memory", "decode.child_died"}
    assert words & {"decode.memory", "decode.child_died"}, "the bound on memory holds"
    assert echoes(box.port)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "<script>alert('Zyxwv')</script>^Qponm"),
        ("ISO_IR 100", '=cmd|"Zyxwv"!A0,Qponm'),
        ("ISO_IR 100", "Zyxwv\r\nlevel: error Qponm"),
        ("NO_SUCH SET", "Zyxwv^Qponm"),
        ("ISO_IR 192", "Zyxwv" * 12_000),
    ],
    ids=["markup", "a spreadsheet's formula", "line ends", "no such set", "60 kB"],
)
@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.filterwarnings("ignore:Unknown encoding")
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_f33_hostile_text(box: Box, logs: Logs, charset: str, name: str) -> None:
    known = sample(PatientName=name)
    head = element(0x00080005, b"CS", charset.encode().ljust(12)[: len(charset) + len(charset) % 2])
    instance = came(box, replace(known, data=head + known.data))
    assert box.spool.read(instance.location) == head + known.data, "byte for byte"
    for line in logs:
        told = json.dumps(line, default=str)
        assert not [mark for mark in MARKS if mark in told]
    assert "\n" not in json.dumps(logs[-1], default=str)


def heights(box: Box, *mm: float) -> dict[str, object]:
    """What is measured of a series of slices at these heights."""
    for height in mm:
        box.arrive(ImagePositionPatient=["0", "0", f"{height:g}"])
    return series_facts(box.instances(), box.spool)


@pytest.mark.parametrize(
    ("mm", "says"),
    [((0, 2.5, 5, 10, 12.5), "1 slice is missing"), ((0, 2.5, 2.5, 5), "already has")],
    ids=["a gap", "a place twice"],
)
def test_f37_a_series_with_gaps_is_no_volume(box: Box, mm: tuple[float, ...], says: str) -> None:
    facts = heights(box, *mm)
    assert facts["regular"] is False
    bands = package("ct-tissue-bands")
    accepts = bands.manifest.accepts.model_copy(update={"geometry": "regular"})
    (reason,) = check_geometry(bands.manifest.model_copy(update={"accepts": accepts}), facts)
    assert says in reason
    assert facts["slices"] == len(set(mm)), "a place counts once, and the reason says what lies there twice"


def test_f38_rules_are_refused_whole_and_no_pattern_explodes(tmp_path: Path) -> None:
    def with_routes(*conditions: str) -> None:
        routes = [
            {"name": f"r{n}", "when": when, "model": "ct-tissue-bands", "send_to": []}
            for n, when in enumerate(conditions)
        ]
        compile_routes(
            parse({"site": {"name": "T"}, "storage": {"root": str(tmp_path / "box")}, "routes": routes})
        )

    with pytest.raises(ConfigError) as caught:
        with_routes('Modalty == "CT"', 'Modality == "CT"', "slices + 1", "Modality ==")
    assert len(caught.value.faults) == 3, "every fault at once"
    condition = compile_condition('SeriesDescription.matches("^(a+)+$")')
    assert not condition.ask({"SeriesDescription": "a" * 100_000 + "b"}).holds


def test_f46_a_worker_that_the_system_killed_for_memory(ledger: Ledger, logs: Logs, tmp_path: Path) -> None:
    (job_id,) = given.a_job(ledger)
    stage = SimpleNamespace(ledger=ledger, name="worker", limits=DEFAULT, config=site(tmp_path / "root"))
    for kills in range(1, DEFAULT.kills_max + 1):
        with ledger.write() as tx:
            assert jobs.lease(tx, job_id, owner=f"worker:{kills}", at=ledger.clock.now(), seconds=30)
        # What the next process of the service does first.
        worker_service._take_back(stage)  # type: ignore[arg-type]
        with ledger.read() as tx:
            found = jobs.find(tx, job_id)
        assert found is not None
        assert found.kills == kills
        held = kills == DEFAULT.kills_max
        assert found.state is (JobState.HELD if held else JobState.WAITING), "held at last, and seen"
    assert len(said(logs, "job.worker_died")) == DEFAULT.kills_max


class NoDevice(OnnxRuntimeCpu):
    """A GPU that is gone: the driver finds none."""

    name = "cuda"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.limits)

    def probe(self) -> Probe:
        return Probe(ok=False, reason="no device was found")


class WrongAnswers(NoDevice):
    """A GPU that computes wrong, as one with failing memory does."""

    def probe(self) -> Probe:
        return Probe(ok=True)

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        found = super().infer(batch, deadline_seconds=deadline_seconds)
        return {name: np.roll(values, 1, axis=-1) for name, values in found.items()}


class LostAtWork(WrongAnswers):
    """A GPU that comes through its golden cases and falls off the bus at a study."""

    at_work = False

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        if self.at_work:
            raise InferenceError("inference.failed", "The device was lost (CUDA error 719).")
        return OnnxRuntimeCpu.infer(self, batch, deadline_seconds=deadline_seconds)


def with_gpu(ledger: Ledger, root: Path, gpu: Any) -> tuple[Bench, Attempter]:
    """A bench whose worker prefers a GPU."""
    config = with_inference(site(root), engines=["cuda", "cpu"])
    shelf = EngineShelf(ledger, config, makers={**MAKERS, "cuda": gpu})
    attempter = Attempter(ledger, config, owner="worker:1", limits=ONE_TRY, engines=shelf)
    return Bench(ledger, root, config), attempter


@pytest.mark.parametrize(
    ("gpu", "says", "word"),
    [(NoDevice, "no device was found", ""), (WrongAnswers, "golden case", "engine.rejected")],
)
def test_f47_a_gpu_that_cannot_serve_is_passed_over_and_every_object_says_so(
    ledger: Ledger, logs: Logs, tmp_path: Path, gpu: Any, says: str, word: str
) -> None:
    bench, attempter = with_gpu(ledger, tmp_path / "root", gpu)
    job_id = bench.job()
    assert attempter.attempt(job_id)
    job, result, objects, sent = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.MEASURED), job.reason
    assert "CPU" in result.engine
    assert says in result.stepped_down
    results = Spool(bench.kept.root, "results")
    assert sent
    for item in objects:
        assert b"Passed over" in results.read(item.location) or item.output == "seg", item.output
    assert not word or said(logs, word)
    assert says in str(said(logs, "model.loaded")[0]["stepped_down"])
    attempter.close()
    bench.attempter.close()


def test_f47_a_gpu_that_is_lost_at_a_study_is_a_failure_that_is_told(
    ledger: Ledger, logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, attempter = with_gpu(ledger, tmp_path / "root", LostAtWork)
    attempter.warm_up()
    monkeypatch.setattr(LostAtWork, "at_work", True)
    job_id = bench.job()
    assert attempter.attempt(job_id)
    job, result, objects, sent = bench.seen(job_id)
    assert (job.state, job.word) == (JobState.FAILED, "inference.failed")
    assert (result.outcome, result.measurements) == (Outcome.FAILED, [])
    assert "device was lost" in result.statement
    (page,) = [item for item in objects if item.output == "text-sr"]
    assert page.id in {delivery.object_id for delivery in sent}, "the radiologist is told"
    assert b"This is not a negative result" in Spool(bench.kept.root, "results").read(page.location)
    attempter.close()
    bench.attempter.close()


def test_f49_a_worker_that_lost_its_lease_finishes_late(
    ledger: Ledger, logs: Logs, tmp_path: Path, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(ledger, tmp_path / "root", site(tmp_path / "root"))
    job_id = bench.job()
    real_analysis: Callable[..., object] = analyse_series

    def slow(*args: object, **kwargs: object) -> object:
        clock.advance(DEFAULT.lease_seconds + 1)
        with ledger.write() as tx:
            jobs.release_dead(tx, at=clock.now(), limits=DEFAULT)
        return real_analysis(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(attempt_module, "analyse_series", slow)
        bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert (job.state, result, sent) == (JobState.WAITING, None, []), "late work is thrown away"
    assert list(Spool(bench.kept.root, "results").names()) == []
    assert said(logs, "queue.stale_lease")
    assert bench.attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.MEASURED)
    with ledger.read() as tx:
        assert len(jobs.of_study(tx, bench.study.study_uid)) == 1
        assert studies.count_of(tx, bench.study.study_uid) == 4
    bench.attempter.close()
