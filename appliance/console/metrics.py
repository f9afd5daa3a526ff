"""What Prometheus scrapes: the snapshot as gauges, in a registry of its own.

Only numbers, states and the names of the box's own parts; never an identifier of a patient or a study (P11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from appliance.console.snapshot import Snapshot, Watch
from appliance.core.alarming import AlarmKind
from appliance.core.words import DeliveryState, InstanceState, JobState, Outcome, StudyState


class BoxCollector(Collector):
    """Reads one snapshot for each scrape."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the box."""
        now = self._watch.look()
        yield _states("info", "Which Readside this is.", "version", {version("readside"): 1})
        yield from _counts(now)
        yield from _times(now)
        yield from _services(now)
        up = {kind.word: sum(one.kind == kind for one in now.alarms) for kind in AlarmKind}
        yield _states("alarms", "Alarms that are up, by what is wrong.", "alarm", up)
        yield _gauge("disk_free_bytes", "Free bytes of the storage root.", now.disk.free_bytes)
        yield _gauge("disk_floor_bytes", "Free bytes below which receiving stops.", now.disk.floor_bytes)


def registry(watch: Watch) -> CollectorRegistry:
    """Return a registry with nothing in it but the box."""
    made = CollectorRegistry(auto_describe=False)
    made.register(BoxCollector(watch))
    return made


def _counts(now: Snapshot) -> Iterator[Metric]:
    counts = now.counts
    places: dict[str, float] = {
        InstanceState.STUDY: counts.in_studies,
        InstanceState.QUARANTINED: counts.quarantined,
        InstanceState.PURGED: counts.purged,
    }
    yield _states("instances", "Kept instances by the place they are in.", "state", places)
    yield _gauge("instance_duplicates", "Instances that came again unchanged.", counts.duplicates)
    yield _states("studies", "Studies by state.", "state", _all(StudyState, counts.studies))
    yield _states("jobs", "Jobs by state.", "state", _all(JobState, counts.jobs))
    yield _states("results", "Results by what they say.", "outcome", _all(Outcome, now.outcomes))
    yield _states("deliveries", "Deliveries by state.", "state", _all(DeliveryState, counts.deliveries))
    yield _gauge("decisions", "Decisions of routes.", counts.decisions)
    yield _assessments(now)
    yield _gauge("objects", "Result objects.", counts.objects)
    help_text = "Studies that a PACS has and the box has not, after the time of grace."
    yield _gauge("missed_studies", help_text, now.missed.studies)
    looked = {peer: now.at - at for peer, at in now.missed.looked_at.items() if at is not None}
    help_text = "Seconds since a PACS last said what it has; absent while it never did."
    yield _states("reconcile_age_seconds", help_text, "peer", looked)
    help_text = "Images that were announced of studies that gather, and are not here."
    yield _gauge("announced_absent_images", help_text, now.announced.absent)
    help_text = "Objects that a peer accepted and has to commit yet."
    open_ = {peer: one.to_ask + one.asked for peer, one in now.uncommitted.items()}
    yield _states("uncommitted_objects", help_text, "peer", open_)
    if now.worklist is not None:
        yield _states("workitems", "Workitems of the worklist by state.", "state", now.worklist.workitems)
        help_text = "Seconds since the worklist last answered; absent while it never did."
        if now.worklist.answered_at is not None:
            yield _gauge("worklist_answer_age_seconds", help_text, now.at - now.worklist.answered_at)
    yield _gauge("balance", "Rows that break a promise; 0 unless something is lost.", counts.balance)
    yield _states("balance_faults", "Rows that break a promise, by promise.", "promise", counts.faults)


def _assessments(now: Snapshot) -> Metric:
    help_text = "Results by model version and by what a reader said of them last."
    labels = ["model", "version", "verdict"]
    family = GaugeMetricFamily("readside_results_assessed", help_text, labels=labels)
    for entry in now.assessments:
        for judgement, count in entry.results.items():
            family.add_metric([entry.model_name, entry.model_version, judgement.value], count)
    return family


def _times(now: Snapshot) -> Iterator[Metric]:
    jobs, sent = now.oldest_job_seconds or 0.0, now.oldest_delivery_seconds or 0.0
    yield _gauge("job_queue_age_seconds", "Age of the oldest job that waits for a worker.", jobs)
    yield _gauge("delivery_queue_age_seconds", "Age of the oldest object not yet delivered.", sent)
    by_peer: dict[str, float] = {}
    for entry in now.waiting:
        by_peer[entry.peer] = max(by_peer.get(entry.peer, 0.0), now.at - entry.oldest_at)
    help_text = "Age of the oldest object not yet delivered to a peer."
    yield _states("delivery_queue_age_by_peer_seconds", help_text, "peer", by_peer)


def _services(now: Snapshot) -> Iterator[Metric]:
    ages = {beat.name: beat.age_seconds for beat in now.services}
    yield _states("service_beat_age_seconds", "Seconds since a service was last heard.", "service", ages)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"readside_{name}", help_text, value=value)


def _states(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"readside_{name}", help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _all(states: Iterable[str], counted: Mapping[str, int]) -> dict[str, int]:
    """A state that nothing is in is 0, not absent: an alert on it must not go blind."""
    return {str(state): counted.get(state, 0) for state in states}
