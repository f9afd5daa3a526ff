"""Plausible studies for the console's tests: made-up data, the ledger's real verbs."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from argon2 import PasswordHasher
from fastapi import FastAPI
from PIL import Image

from appliance.console.limits import DEFAULT, Limits
from appliance.core import limits as core_limits
from appliance.core.clock import HeldClock
from appliance.core.config import Config
from appliance.core.instance import Instance, Location
from appliance.core.words import JobState, Outcome, Verdict
from appliance.ledger import arrivals, custody, decisions, deliveries, jobs, results, services, studies
from appliance.ledger.engine import Ledger, Tx
from appliance.ledger.jobs import Work
from appliance.ledger.reading import LedgerFault as LedgerFault
from appliance.ledger.tokens import TokenKind, issue

with warnings.catch_warnings():
    # Starlette's test client asks for a successor of httpx that is not in our lock file.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient as TestClient

PASSWORD = "a long and unlikely password"
# Cheap on purpose: the tests check many passwords.
HASH = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
DIGEST = "sha256:" + "ab" * 32
NASTY = "<script>alert('x')</script>\"^'O\"Brien\r\nSet-Cookie: a=b & <b>"
NORMAL, FAILED, HELD, GATHERING, LATE = (f"1.2.826.0.1.{n}" for n in range(1, 6))
FROM_HERE, FROM_ELSEWHERE = ("127.0.0.1", 40000), ("192.0.2.7", 40000)


@dataclass
class Console:
    """An application and everything around it."""

    app: FastAPI
    ledger: Ledger
    clock: HeldClock
    config: Config
    root: Path
    limits: Limits = DEFAULT

    def visitor(self, client: tuple[str, int] = FROM_ELSEWHERE) -> TestClient:
        """Another browser, from another address, with no cookie."""
        return TestClient(self.app, base_url="http://console", client=client, follow_redirects=False)

    def link(self, user: str = "amina", seconds: float = 60) -> str:
        """A link that logs in once."""
        with self.ledger.write() as tx:
            return (
                f"/login/once/{issue(tx, TokenKind.LOGIN_LINK, user, at=self.clock.now(), seconds=seconds)}"
            )

    def logged_in(self) -> TestClient:
        """A browser that is logged in."""
        browser = self.visitor()
        assert browser.get(self.link()).status_code == 303
        return browser


def csrf(browser: TestClient) -> str:
    """What a form of this browser's session carries."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get("/health").text)
    assert found is not None
    return found[1]


def instance(
    study_uid: str, number: int, *, series: int = 2, name: str = "Nowak^Janina", **facts: object
) -> Instance:
    """One CT image."""
    known = {
        "PatientName": name,
        "PatientID": f"MRN-{study_uid[-1]}-0042",
        "PatientBirthDate": "19570314",
        "PatientSex": "F",
        "AccessionNumber": f"A2026-{study_uid[-1]}17",
        "StudyDate": "20261121",
        "StudyDescription": "CT head without contrast",
        "Modality": "CT",
        "SeriesNumber": series,
        "SeriesDescription": {1: "Scout", 2: "STD BRAIN 1MM", 3: "BONE 1MM"}[series],
    }
    file = f"kept/{study_uid}.{series}.{number}.dcm"
    return Instance(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"{study_uid}.{series}.{number}",
        study_uid=study_uid,
        series_uid=f"{study_uid}.{series}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        location=Location(file=file, offset=400, length=1000),
        digest=f"sha256:{number:064x}",
        pixel_offset=600,
        pixel_bytes=400,
        facts=known | facts,
    )


def arrive(tx: Tx, study_uid: str, at: float, *, name: str = "Nowak^Janina", slices: int = 5) -> None:
    """Let a study of three series arrive."""
    for series, count in ((1, 2), (2, slices), (3, slices)):
        for number in range(1, count + 1):
            made = instance(study_uid, number, series=series, name=name)
            arrivals.add(tx, made, calling_ae="CT1", at=at + number * 0.2)


def complete(tx: Tx, study_uid: str, at: float, *, digest: str = DIGEST) -> studies.Study:
    """Let a study fall quiet and become ready."""
    for entry in studies.series_of(tx, study_uid):
        scout = entry.series_uid.endswith(".1")
        facts: dict[str, object] = {
            "slices": 2 if scout else 40,
            "orientation": "sagittal" if scout else "axial",
            "regular": not scout,
        }
        facts |= {"slice_spacing_mm": 1.0, "gantry_tilt_degrees": 0.0, "frames": 1}
        facts |= {"irregularity": "two slices are no volume"} if scout else {}
        assert studies.complete_series(tx, entry, facts=facts, at=at)
    found = studies.find(tx, study_uid)
    assert found is not None
    assert studies.ready(
        tx, found, content_digest=digest, instance_count=12, reason="quiet for 60 seconds", at=at
    )
    ready = studies.find(tx, study_uid)
    assert ready is not None
    return ready


def decide(
    tx: Tx, study: studies.Study, at: float, *, refusal: str | None = None, digest: str = DIGEST
) -> int:
    """Let one route match the second series and the other match nothing; return the job."""
    work = Work(
        study_uid=study.study_uid,
        series_uid=f"{study.study_uid}.2",
        route="ct-bands",
        mode="release",
        model_name="ct-tissue-bands",
        model_version="1.0.0",
        model_digest="sha256:" + "cd" * 32,
        input_digest=digest,
        priority=5,
        refusal=refusal,
    )
    sentences = [
        (1, "Scout", False, "slices >= 40 is false: it has 2."),
        (2, "STD BRAIN 1MM", True, "It fits and has the thinnest slices."),
        (3, "BONE 1MM", False, "It fits too, but series 2 was chosen first."),
    ]
    series = [
        decisions.SeriesSentence(
            series_uid=f"{study.study_uid}.{n}", number=n, description=text, chosen=chosen, sentence=sentence
        )
        for n, text, chosen, sentence in sentences
    ]
    verdict = Verdict.RUN if refusal is None else Verdict.NOT_ELIGIBLE
    taken = [
        decisions.Decision(
            route="ct-bands", verdict=verdict, reason=refusal or "Series 2 fits.", series=series, work=work
        ),
        decisions.Decision(
            route="lesion", verdict=Verdict.NO_MATCH, reason="No series fits.", series=series[:1]
        ),
    ]
    made = decisions.record(tx, study, taken, at=at)
    assert made is not None
    assert len(made) == 1
    return made[0]


def end(
    tx: Tx,
    job_id: int,
    at: float,
    *,
    outcome: Outcome = Outcome.MEASURED,
    preview: str | None = None,
    state: JobState = JobState.DONE,
    reason: str | None = None,
    statement: str = "Bone 512.4 mL, dense soft tissue 96.1 mL. Values only, no diagnosis.",
) -> None:
    """Let a worker take a job and end it with a result of two objects."""
    job = jobs.lease(tx, job_id, owner="worker-1:1:x", at=at, seconds=30)
    assert job is not None
    measured: list[dict[str, object]] = [
        {"name": "Volume", "value": 512.4321, "unit": "mL", "segment": "bone"},
        {"name": "Mean attenuation", "value": 731.25, "unit": "[hnsf'U]", "segment": "bone"},
        {"name": "Volume", "value": 96.1, "unit": "mL", "segment": "dense-soft"},
        {"name": "Volume", "value": None, "unit": "", "segment": "fat", "withheld": "fewer than 10 voxels"},
        {"name": "Mean attenuation", "value": 63.5, "unit": "[hnsf'U]", "segment": "dense-soft"},
    ]
    inferred = state is JobState.DONE and outcome is not Outcome.NOT_ELIGIBLE
    result = results.Result(
        outcome=outcome,
        statement=statement,
        engine="ONNX Runtime 1.31.1 CPU" if inferred else "none",
        stepped_down="cuda is not in this version" if inferred else None,
        evidence_digest=DIGEST,
        evidence=[[f"{job.series_uid}.{n}", DIGEST] for n in range(40)] if inferred else [],
        measurements=measured if outcome is Outcome.MEASURED else [],
        seconds={"decode": 0.31, "infer": 1.92, "encode": 0.44} if inferred else {},
    )
    items = [
        results.ResultObject(
            output=output,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            sop_instance_uid=f"2.25.{job_id}.{n}",
            series_uid=f"2.25.{job_id}.0{n}",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            series_description=f"{title} ct-tissue-bands 1.0.0 - not for primary diagnosis",
            modality=modality,
            digest=DIGEST,
            location=Location(file=f"results/{job_id}.{n}.dcm", offset=400, length=9000),
            preview_file=preview if output == "sc" else None,
        )
        for n, (output, title, modality) in enumerate(
            [("sr", "AI report", "SR"), ("sc", "AI picture", "OT")], 1
        )
    ]
    word = {JobState.DONE: "job.done", JobState.FAILED: "job.failed"}[state]
    ending = results.Ending(
        state=state, word=word, reason=reason, result=result, objects=items, send_to={"pacs": ("sr", "sc")}
    )
    assert results.end(tx, job, ending, at=at + 3)


def courier(tx: Tx, at: float, *, dead: bool = False) -> None:
    """Let everything that is due at the PACS be accepted, or be refused for good."""
    for parcel in deliveries.take(tx, "pacs", at=at, limits=core_limits.DEFAULT):
        if dead:
            deliveries.dead(tx, parcel, status=0xA900, word="courier.refused", at=at)
        else:
            deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=at)


@cache
def picture() -> bytes:
    """A made-up slice with a coloured overlay, as PNG."""
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    radius = np.hypot(x / 0.75, y / 0.92)
    noise = np.random.default_rng(7).normal(0, 5, radius.shape)
    grey = (
        np.where(radius < 0.86, 95 + 18 * np.cos(9 * x) * np.sin(7 * y), np.where(radius < 0.95, 225, 6))
        + noise
    )
    rgb = np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2)
    rgb[(radius >= 0.86) & (radius < 0.95)] *= [1.0, 0.75, 0.3]
    rgb[np.hypot(x - 0.2, y + 0.25) < 0.12] *= [1.2, 0.45, 0.4]
    out = io.BytesIO()
    Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def fill(ledger: Ledger, root: Path, clock: HeldClock) -> None:
    """Fill a ledger with five studies and three services."""
    now = clock.now()
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / "key.png").write_bytes(picture())
    with ledger.write() as tx:
        _normal(tx, now - 900)
        _failed(tx, now - 700)
        _held(tx, now - 500)
        arrive(tx, GATHERING, now - 40, name=NASTY, slices=3)
        _late(tx, now - 8000)
        for name in ("listener", "conductor", "worker"):
            services.started(tx, name, pid=4242, at=now - 4000, detail={"version": "0.1.0"})
            services.beat(tx, name, at=now - 2)


def _normal(tx: Tx, at: float) -> None:
    arrive(tx, NORMAL, at)
    first = decide(tx, complete(tx, NORMAL, at + 70), at + 71)
    end(tx, first, at + 72, preview="results/key.png")
    courier(tx, at + 78)
    job = jobs.find(tx, first)
    assert job is not None
    again = jobs.again(tx, job, at=at + 300)
    end(tx, again, at + 301, preview="results/key.png")
    courier(tx, at + 310)
    custody.close_finished(tx)


def _failed(tx: Tx, at: float) -> None:
    arrive(tx, FAILED, at, name="Okafor^Chidi")
    job = decide(tx, complete(tx, FAILED, at + 70), at + 71)
    reason = "slice 17 could not be decoded within 30 seconds"
    said = "The analysis failed: slice 17 could not be decoded within 30 seconds. Send the study again."
    end(tx, job, at + 72, outcome=Outcome.FAILED, state=JobState.FAILED, reason=reason, statement=said)
    courier(tx, at + 80, dead=True)


def _held(tx: Tx, at: float) -> None:
    arrive(tx, HELD, at, name="Smith^Alan")
    found = studies.find(tx, HELD)
    assert found is not None
    assert studies.hold(tx, found, reason="two patient identities in one study", at=at + 60)


def _late(tx: Tx, at: float) -> None:
    arrive(tx, LATE, at, name="Lindqvist^Åsa")
    job = decide(tx, complete(tx, LATE, at + 70), at + 71, refusal="slice spacing 7.5 mm, 5 mm are allowed")
    said = "Not eligible: slice spacing is 7.5 mm and the model allows 5 mm."
    end(tx, job, at + 72, outcome=Outcome.NOT_ELIGIBLE, statement=said)
    arrivals.add(tx, instance(LATE, 6, name="Lindqvist^Åsa"), calling_ae="CT1", at=at + 600)
    study = complete(tx, LATE, at + 700, digest="sha256:" + "ef" * 32)
    decide(tx, study, at + 701, digest="sha256:" + "12" * 32)
