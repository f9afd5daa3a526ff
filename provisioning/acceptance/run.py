"""The acceptance itself: store the phantom in the PACS, wait for it to come, be analysed and be answered.

Promises: what is checked is checked at the PACS and in the ledger, not in what a service says; waits end.
Never: changes the configuration, or stores anything but the phantom.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.core.config import Config, Peer
from appliance.core.words import JobState, Outcome
from appliance.demo.checks import expected_volumes_ml
from appliance.demo.play import made_up_study
from appliance.demo.study import MadeStudy
from appliance.ledger import counts, deliveries, fetches, jobs, results, studies
from appliance.ledger.custody import ENDED_DELIVERIES
from appliance.ledger.engine import Ledger
from appliance.services.wire import wire_peer
from dicom_node.find import find_instances
from dicom_node.limits import Limits as WireLimits
from dicom_node.send import send
from provisioning.acceptance.limits import DEFAULT, AcceptanceLimits
from provisioning.acceptance.report import Report, Step, Verdict

_BANDS = "ct-tissue-bands"
_INFERRED = (Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED)
_WIRE = WireLimits()
# What each step is, in the order in which they are tried; a step that fails ends the row.
STEPS = (
    "The device adds up",
    "The PACS stores the phantom",
    "The phantom comes to the device",
    "Models answer",
    "The numbers are right",
    "The PACS has the results",
)


class Failed(Exception):
    """A step failed; the message says what was seen and what to do."""


@dataclass(kw_only=True)
class Acceptance:
    """One acceptance of a running box against one of its peers."""

    config: Config
    ledger: Ledger
    peer: Peer
    version: str
    limits: AcceptanceLimits = DEFAULT
    told: Callable[[str], None] = lambda _: None
    _study: MadeStudy = field(default_factory=made_up_study)
    _seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Report:
        """Try each step until one fails; return what came of all of them."""
        began, steps = self.ledger.clock.now(), list[Step]()
        for name, act in zip(STEPS, self._acts(), strict=True):
            self.told(name)
            if steps and steps[-1].verdict is not Verdict.PASSED:
                steps.append(Step(name=name, verdict=Verdict.NOT_TRIED, said="a step before it failed"))
                continue
            try:
                steps.append(Step(name=name, verdict=Verdict.PASSED, said=act()))
            except Failed as failed:
                steps.append(Step(name=name, verdict=Verdict.FAILED, said=str(failed)))
        return Report(
            site=self.config.site.name,
            version=self.version,
            at=began,
            peer=self.peer.name,
            study_uid=self._study.study_uid,
            steps=steps,
            seconds={name: round(seconds, 2) for name, seconds in self._seconds.items()},
            models=list(self._models()),
        )

    def _acts(self) -> Sequence[Callable[[], str]]:
        return (self._adds_up, self._store, self._comes, self._answered, self._right, self._there)

    def _adds_up(self) -> str:
        with self.ledger.read() as tx:
            found = counts.count(tx)
        if found.balance:
            raise Failed(f"its counts are off by {found.balance}: readside status names them")
        return f"{found.kept} images are kept, and each is accounted for"

    def _store(self) -> str:
        began, objects = time.monotonic(), list(self._study.instances())
        peer, title = wire_peer(self.peer, self.config), self.config.dicom.ae_title
        refused = [
            one.word
            for one in send(peer, calling_ae=title, objects=objects, limits=_WIRE)
            if one.outcome != "accepted"
        ]
        if refused:
            raise Failed(
                f"{len(refused)} of {len(objects)} images were not taken ({refused[0]}): the PACS must let"
                f" {title} store CT images; readside doctor --peers full looks closer"
            )
        self._seconds["stored"] = time.monotonic() - began
        return f"{len(objects)} CT images under Patient ID DEMO-{self._study.number}"

    def _comes(self) -> str:
        wanted, began = len(self._study.hu), time.monotonic()
        by = "by its own rule"
        if not self._until(lambda: self._here() >= wanted, self.limits.routed_seconds_max):
            if not self.peer.fetchable:
                raise Failed(
                    f"{self._here()} of {wanted} images came: the PACS needs a rule that sends CT to"
                    f" {self.config.dicom.ae_title}, at this device's address and port"
                )
            with self.ledger.write() as tx:
                fetches.ask(
                    tx,
                    self._study.study_uid,
                    self.peer.name,
                    by=getpass.getuser(),
                    at=self.ledger.clock.now(),
                )
            by = "when it was asked; no rule of the PACS sent them"
            if not self._until(lambda: self._here() >= wanted, self.limits.fetched_seconds_max):
                raise Failed(
                    f"{self._here()} of {wanted} images came, asked for too: the PACS knows another address"
                    f" or port under {self.config.dicom.ae_title}"
                )
        self._seconds["arrived"] = time.monotonic() - began
        return f"{wanted} of {wanted} images came {by}"

    def _answered(self) -> str:
        began = time.monotonic()
        if not self._until(self._settled, self.limits.answered_seconds_max):
            raise Failed(f"{self._standing()}; readside why {self._study.study_uid} says more")
        self._seconds["answered"] = time.monotonic() - began
        with self.ledger.read() as tx:
            made = results.of_study(tx, self._study.study_uid)
        failed = [one.route for one in made if one.outcome not in _INFERRED]
        if failed or not made:
            raise Failed(
                f"route {failed[0]} did not answer"
                if failed
                else "no route takes a head CT with the description STD HEAD PHANTOM: nothing was analysed"
            )
        return "; ".join(f"{one.route}: {one.statement}" for one in made)

    def _right(self) -> str:
        """Compare the volumes of the model that counts Hounsfield units, for those can be counted here."""
        with self.ledger.read() as tx:
            made = results.of_study(tx, self._study.study_uid)
            named = {job.id: job.model_name for job in jobs.of_study(tx, self._study.study_uid)}
        found = next((one for one in made if named.get(one.job_id) == _BANDS), None)
        if found is None:
            raise Failed(
                f"none of the routes runs {_BANDS}, whose volumes can be counted in the phantom: add one for"
                ' the acceptance, mode = "shadow" sends nothing of it'
            )
        measured = sorted(float(one["value"]) for one in found.measurements if one["unit"] == "mL")
        expected = sorted(expected_volumes_ml(self._study).values())
        if len(measured) != len(expected):
            raise Failed(f"{len(measured)} volumes were measured, not {len(expected)}")
        off = max(abs(a - b) for a, b in zip(measured, expected, strict=True))
        if off > self.limits.volume_ml_max:
            raise Failed(f"a volume is off by {off:.2f} mL: run readside doctor --hardware-selftest")
        return f"{len(expected)} volumes within {off:.3f} mL of those counted in the phantom"

    def _there(self) -> str:
        with self.ledger.read() as tx:
            sent = [
                one for one in deliveries.of_study(tx, self._study.study_uid) if one.peer == self.peer.name
            ]
            uids = {self._uid_of(tx, one.object_id) for one in sent}
        if not uids:
            raise Failed(f"no route sends its results to {self.peer.name}: see send_to of the routes")
        if "query" not in self.peer.may:
            return f"{len(uids)} objects were accepted; {self.peer.name} may not be queried for them"
        found = find_instances(
            wire_peer(self.peer, self.config),
            calling_ae=self.config.dicom.ae_title,
            study_uid=self._study.study_uid,
            modalities=(),
            limits=_WIRE,
        )
        if found is None:
            raise Failed("the PACS does not say what it has of the study")
        lacking = uids - {one.sop_instance_uid for one in found}
        if lacking:
            raise Failed(
                f"{len(lacking)} of {len(uids)} results were accepted and cannot be found in the PACS"
            )
        return f"{len(uids)} objects were accepted and are found there"

    def _uid_of(self, tx: Any, object_id: int) -> str:
        item = results.find_object(tx, object_id)
        assert item is not None, "a delivery is of an object"
        return item.sop_instance_uid

    def _here(self) -> int:
        with self.ledger.read() as tx:
            return studies.count_of(tx, self._study.study_uid)

    def _settled(self) -> bool:
        """Say whether every job has its result and every delivery has ended."""
        with self.ledger.read() as tx:
            done = jobs.of_study(tx, self._study.study_uid)
            ways = deliveries.of_study(tx, self._study.study_uid)
        ended = all(job.state not in (JobState.WAITING, JobState.LEASED) for job in done)
        return bool(done) and ended and bool(ways) and all(way.state in ENDED_DELIVERIES for way in ways)

    def _standing(self) -> str:
        with self.ledger.read() as tx:
            done = jobs.of_study(tx, self._study.study_uid)
            ways = deliveries.of_study(tx, self._study.study_uid)
        waiting = sum(way.state not in ENDED_DELIVERIES for way in ways)
        return f"{len(done)} jobs were opened, {waiting} of {len(ways)} results wait to be taken"

    def _models(self) -> Iterator[dict[str, str]]:
        with self.ledger.read() as tx:
            made = {one.job_id: one for one in results.of_study(tx, self._study.study_uid)}
            for job in jobs.of_study(tx, self._study.study_uid):
                if job.id in made:
                    yield {
                        "name": job.model_name,
                        "version": job.model_version,
                        "digest": job.model_digest,
                        "engine": made[job.id].engine,
                    }

    def _until(self, look: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() >= deadline:
                return False
            time.sleep(self.limits.look_seconds)
        return True
