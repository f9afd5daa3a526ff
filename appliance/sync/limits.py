"""Every bound on versions of models, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SyncLimits:
    """Bounds of what one command may wait for and write down.

    Attributes:
        command_wait_seconds_max: how long a command waits for another that works on the box's models.
        faults_max: sentences of one refusal that are kept.
        fault_characters_max: of one such sentence.
        differences_max: sentences on one golden case that are kept.
    """

    command_wait_seconds_max: float = 10.0
    faults_max: int = 100
    fault_characters_max: int = 500
    differences_max: int = 20


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """Bounds of what is fetched from a registry.

    Attributes:
        connect_seconds_max: until a server answers at all.
        silence_seconds_max: between two parts of an answer.
        list_seconds_max: one signed list, from the first byte asked to the last one read.
        bytes_per_second_min: of a release; what comes slower on the whole is cut, and resumed later.
        bytes_per_second_max: of a release, where the site set one; always above the least.
        start_seconds: what a release may take beside that.
        chunk_bytes: read at once.
        slack_bytes: read of what is longer than it should be, to tell another list from data without end.
        assignment_bytes_max: of a device's assignment; a line is under 300 bytes.
        release_bytes_max: of a packed release, as of a package.
        fast_forward_versions: a stamp a second for four months; a signed stamp that is further ahead than
            this was made to lock others out.
        stamp_seconds: how long a server's stamp holds; its end less this is about when it was made.
        clock_slack_seconds: a clock that is behind by less is not worth a refusal.
        turn_wait_seconds_max: how long a turn waits for another on the same box.
    """

    connect_seconds_max: float = 15.0
    silence_seconds_max: float = 30.0
    list_seconds_max: float = 60.0
    bytes_per_second_min: float = 16_384.0
    bytes_per_second_max: float | None = None
    start_seconds: float = 60.0
    chunk_bytes: int = 1 << 16
    slack_bytes: int = 1 << 16
    assignment_bytes_max: int = 100_000
    release_bytes_max: int = 4 << 30
    fast_forward_versions: int = 10_000_000
    stamp_seconds: float = 7 * 86_400.0
    clock_slack_seconds: float = 300.0
    turn_wait_seconds_max: float = 5.0


@dataclass(frozen=True, kw_only=True)
class StepLimits:
    """Bounds of the steps of a release on this box, once it is installed.

    Attributes:
        look_seconds: how often it is looked, between two turns, whether a wait is over and how a new
            release does.
        drain_seconds_max: how long studies that were decided before may keep a release from serving; then
            it serves, and they are finished with the version that they were decided for.
        control_seconds_max: how long a hold or a pin may be asked for.
        reason_characters_max: of a reason that a person gives.
    """

    look_seconds: float = 10.0
    drain_seconds_max: float = 1_800.0
    control_seconds_max: float = 366 * 86_400.0
    reason_characters_max: int = 200


@dataclass(frozen=True, kw_only=True)
class SoakLimits:
    """By what a release that began to serve is sent back, and when it stays for good.

    All of it is known on the box. Whether a registry or a PACS answers is no part of it.

    Attributes:
        seconds_min: it is watched at least so long,
        jobs_min: and until so many of its jobs ran,
        seconds_max: but no longer than this; on a box without studies nothing more would be learnt.
        failing_studies_max: so many studies, one after another, whose jobs all failed.
        deaths_max: so many times that a worker died of its jobs.
        jobs_for_ratio_min: of fewer jobs no ratio is made.
        failure_ratio_slack: how much greater than the former version's its share of failed jobs may be.
        jobs_for_latency_min: of fewer jobs, of either version, no latency is compared.
        latency_factor_max: its 95th percentile of working seconds may be so many times the former version's,
        latency_slack_seconds: and so much more: what takes a moment may take two.
        jobs_looked_at_max: the newest of each version.
        former_seconds: the former version is judged by as much of the time before.
    """

    seconds_min: float = 86_400.0
    jobs_min: int = 20
    seconds_max: float = 7 * 86_400.0
    failing_studies_max: int = 3
    deaths_max: int = 3
    jobs_for_ratio_min: int = 20
    failure_ratio_slack: float = 0.1
    jobs_for_latency_min: int = 20
    latency_factor_max: float = 2.0
    latency_slack_seconds: float = 1.0
    jobs_looked_at_max: int = 500
    former_seconds: float = 30 * 86_400.0


DEFAULT = SyncLimits()
STEPS = StepLimits()
SOAK = SoakLimits()
FETCH = FetchLimits()
