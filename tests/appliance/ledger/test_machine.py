"""The whole way of studies, walked at random against a small model of what must be true (P2 to P6).

The model knows nothing of SQL: it is sets and dictionaries of what was promised.
After every step the ledger must agree with it, and its balance must be 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from appliance.core.words import DeliveryState, JobState, StudyState
from appliance.ledger import arrivals, counts, decisions, deliveries, jobs, results, studies
from appliance.ledger.arrivals import Arrived
from tests.appliance.ledger import given
from tests.appliance.ledger.machines import Walked

UIDS = ("1.2.1", "1.2.2")
NUMBERS = st.integers(1, 3)
CONTENTS = st.sampled_from("ab")
WAITING = (DeliveryState.PENDING, DeliveryState.LATER)
OUTPUTS = {"pacs": ("sr", "sc"), "archive": ("sr",)}


@dataclass
class ModelJob:
    """What was promised about a job."""

    study: str
    content: frozenset[str]
    state: JobState = JobState.WAITING
    attempts: int = 0
    kills: int = 0


@dataclass
class ModelStudy:
    """What was promised about a study: the bytes it holds by UID, and every byte it ever held."""

    state: StudyState = StudyState.GATHERING
    holds: dict[int, str] = field(default_factory=dict)
    ever: set[tuple[int, str]] = field(default_factory=set)
    decided: set[frozenset[tuple[int, str]]] = field(default_factory=set)

    @property
    def content(self) -> frozenset[tuple[int, str]]:
        """What it holds now, as a value."""
        return frozenset(self.holds.items())


class Way(Walked):
    """Arrivals, readiness, decisions, leases, deaths, ends and deliveries in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = given.NOW
        self.studies: dict[str, ModelStudy] = {}
        self.duplicates = 0
        self.jobs: dict[int, ModelJob] = {}
        self.leases: list[jobs.Job] = []
        self.deliveries: dict[int, DeliveryState] = {}
        self.parcels: list[deliveries.Parcel] = []

    def tick(self) -> float:
        """Let a second pass."""
        self.now += 1
        return self.now

    # Arrivals

    @rule(uid=st.sampled_from(UIDS), number=NUMBERS, content=CONTENTS)
    def arrive(self, uid, number, content):
        """An instance comes over the wire, new, again or changed."""
        file = f"in/{self.now:.0f}"
        slice_ = given.instance(number, study=uid, series=f"{uid}.1", content=content, file=file)
        with self.ledger.write() as tx:
            was = arrivals.add(tx, slice_, calling_ae="CT1", at=self.tick())
        study = self.studies.setdefault(uid, ModelStudy())
        if study.holds.get(number) == content:
            assert was is Arrived.DUPLICATE
            self.duplicates += 1
            return
        came_back = (number, content) in study.ever
        changed = Arrived.CAME_BACK if came_back else Arrived.CHANGED
        assert was is (changed if number in study.holds else Arrived.KEPT)
        # Bytes that come back take their own row again; it counts them once more.
        self.duplicates += came_back
        study.holds[number] = content
        study.ever.add((number, content))
        study.state = StudyState.GATHERING

    # Readiness and decisions

    @rule(uid=st.sampled_from(UIDS), late=st.booleans())
    def fall_quiet(self, uid, late):
        """The study falls quiet, or an instance slips in between looking and saying so."""
        with self.ledger.read() as tx:
            seen = studies.find(tx, uid)
            digest, count = given.content_digest(tx, uid), studies.count_of(tx, uid)
        if seen is None or seen.state is not StudyState.GATHERING:
            return
        model = self.studies[uid]
        if late:
            self.arrive(uid=uid, number=3, content="a" if model.holds.get(3) == "b" else "b")
        with self.ledger.write() as tx:
            moved = studies.ready(
                tx, seen, content_digest=digest, instance_count=count, reason="quiet", at=self.tick()
            )
        assert moved is not late
        if moved:
            known = model.content in model.decided
            model.state = StudyState.DECIDED if known else StudyState.READY

    @rule(uid=st.sampled_from(UIDS), matches=st.booleans())
    def decide(self, uid, matches):
        """Two routes look at the study; one may match."""
        with self.ledger.write() as tx:
            seen = studies.find(tx, uid)
            if seen is None or seen.content_digest is None:
                return
            taken = [given.no_match("lesion")]
            taken.append(given.decision(seen.content_digest, uid=uid) if matches else given.no_match("bands"))
            opened = decisions.record(tx, seen, taken, at=self.tick())
        model = self.studies[uid]
        assert (opened is not None) == (model.state is StudyState.READY)
        if opened is None:
            return
        model.state = StudyState.DECIDED
        model.decided.add(model.content)
        assert len(opened) == int(matches)
        for job_id in opened:
            assert job_id not in self.jobs, "one job for one content"
            self.jobs[job_id] = ModelJob(uid, frozenset(f"{n}{c}" for n, c in model.content))

    @rule(uid=st.sampled_from(UIDS), number=NUMBERS, content=CONTENTS)
    def ask_for_work(self, uid, number, content):
        """The steps up to a job in one, so that what follows is reached often."""
        self.arrive(uid=uid, number=number, content=content)
        self.fall_quiet(uid=uid, late=False)
        self.decide(uid=uid, matches=True)

    # Jobs

    @rule(owner=st.sampled_from(["w:1", "w:2"]))
    def lease(self, owner):
        """A worker takes the next job that is due."""
        at = self.tick()
        with self.ledger.write() as tx:
            due = jobs.due(tx, at=at, limit=1)
            job = jobs.lease(tx, due[0], owner=owner, at=at, seconds=30) if due else None
        waiting = [job_id for job_id, model in self.jobs.items() if model.state is JobState.WAITING]
        assert (job is None) == (not waiting)
        if job is not None:
            assert job.id == min(waiting)
            self.jobs[job.id].state = JobState.LEASED
            self.jobs[job.id].attempts += 1
            assert job.attempts == self.jobs[job.id].attempts
            self.leases.append(job)

    @rule()
    def die(self):
        """Every worker is killed, and what they held is taken back."""
        with self.ledger.write() as tx:
            released = jobs.release_dead(tx, at=self.tick(), limits=given.LIMITS, owner_name="w")
        held = {job_id for job_id, model in self.jobs.items() if model.state is JobState.LEASED}
        assert {job.id for job in released} == held
        for job_id in held:
            model = self.jobs[job_id]
            model.kills += 1
            model.state = JobState.HELD if model.kills == given.LIMITS.kills_max else JobState.WAITING

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), state=st.sampled_from([JobState.DONE, JobState.FAILED]))
    def end(self, data, state):
        """A worker, dead or alive, says that it ended; only the holder of the lease is heard."""
        job = data.draw(st.sampled_from(self.leases))
        with self.ledger.write() as tx:
            counted = results.end(tx, job, given.ending(job.id, state=state, send_to=OUTPUTS), at=self.tick())
            found = deliveries.of_study(tx, job.study_uid)
        model = self.jobs[job.id]
        assert counted == (model.state is JobState.LEASED and model.attempts == job.attempts)
        if counted:
            model.state = state
            new = {row.id for row in found} - set(self.deliveries)
            assert len(new) == 3
            self.deliveries |= dict.fromkeys(new, DeliveryState.PENDING)

    # Deliveries

    @rule(peer=st.sampled_from(sorted(OUTPUTS)))
    def take(self, peer):
        """A courier takes what is due at a peer."""
        with self.ledger.write() as tx:
            taken = deliveries.take(tx, peer, at=self.tick(), limits=given.LIMITS)
        for parcel in taken:
            assert self.deliveries[parcel.id] in WAITING
            self.deliveries[parcel.id] = DeliveryState.SENDING
        self.parcels += taken

    @precondition(lambda self: self.parcels)
    @rule(data=st.data(), how=st.sampled_from(["accepted", "later", "dead"]))
    def answer(self, data, how):
        """The peer answers, perhaps to a courier that was given up long ago."""
        parcel = data.draw(st.sampled_from(self.parcels))
        at = self.tick()
        with self.ledger.write() as tx:
            row = deliveries.find(tx, parcel.id)
            assert row is not None
            current = row.state is DeliveryState.SENDING and row.attempts == parcel.attempts
            if how == "accepted":
                deliveries.accepted(tx, parcel, status=0, word="w", at=at)
            elif how == "later":
                deliveries.later(tx, parcel, status=None, word="w", at=at, due_at=at, refused=False)
            else:
                deliveries.dead(tx, parcel, status=0x0122, word="w", at=at)
        if current:
            self.deliveries[parcel.id] = DeliveryState[how.upper()]

    @rule()
    def lose_courier(self):
        """The courier is killed; what it was sending is sent again."""
        with self.ledger.write() as tx:
            deliveries.release_dead(tx, at=self.tick(), everything=True)
        for delivery_id, state in self.deliveries.items():
            if state is DeliveryState.SENDING:
                self.deliveries[delivery_id] = DeliveryState.LATER

    @rule(again=st.booleans())
    def settle(self, again):
        """A person looks at every dead delivery."""
        dead = [i for i, state in self.deliveries.items() if state is DeliveryState.DEAD]
        with self.ledger.write() as tx:
            done = deliveries.settle(tx, list(self.deliveries), by="jo", send_again=again, at=self.tick())
        assert done == len(dead)
        for delivery_id in dead:
            self.deliveries[delivery_id] = DeliveryState.PENDING if again else DeliveryState.SETTLED

    # What must be true after every step

    @invariant()
    def nothing_is_lost(self):
        """Every row that was promised is there, in the state that was promised."""
        with self.ledger.read() as tx:
            found = counts.count(tx)
            assert found.balance == 0, found.faults
            assert found.kept == found.in_studies == sum(len(model.ever) for model in self.studies.values())
            assert found.duplicates == self.duplicates
            for uid, model in self.studies.items():
                assert given.study(tx, uid).state is model.state
                assert {i.digest for i in studies.instances_of(tx, uid)} == {
                    given.instance(n, series=f"{uid}.1", content=c).digest for n, c in model.holds.items()
                }
            rows = {job.id: job for uid in self.studies for job in jobs.of_study(tx, uid)}
            assert {i: (job.state, job.kills, job.attempts) for i, job in rows.items()} == {
                i: (model.state, model.kills, model.attempts) for i, model in self.jobs.items()
            }
            sent = {row.id: row.state for uid in self.studies for row in deliveries.of_study(tx, uid)}
            assert sent == self.deliveries


SLOW_DISK = [HealthCheck.too_slow]  # a step is a few commits to a real file, each of them synced

TestWay = Way.TestCase
TestWay.settings = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    # To make an example small takes longer than a test may.
    phases=[Phase.generate],
    suppress_health_check=SLOW_DISK,
)


@pytest.mark.usefixtures("on_server")
class TestWayOnAServer(Way.TestCase):  # type: ignore[valid-type, misc]  # made by hypothesis at run time
    """Some of the same ways on the other database."""

    settings = settings(TestWay.settings, max_examples=2)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("on_server")
class TestManyWaysOnAServer(Way.TestCase):  # type: ignore[valid-type, misc]  # made by hypothesis at run time
    """Other ways at every run, on the other database."""

    settings = settings(
        max_examples=100, stateful_step_count=80, deadline=None, suppress_health_check=SLOW_DISK
    )


@pytest.mark.long
@pytest.mark.timeout(900)
class TestManyWays(Way.TestCase):  # type: ignore[valid-type, misc]  # made by hypothesis at run time
    """Other ways at every run."""

    settings = settings(
        max_examples=300, stateful_step_count=80, deadline=None, suppress_health_check=SLOW_DISK
    )
