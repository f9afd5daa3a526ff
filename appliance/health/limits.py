"""Every bound of telemetry and alarms, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """Bounds of one batch, the same at both ends.

    Attributes:
        batch_bytes_max: as it travels, compressed.
        plain_bytes_max: unpacked; read no further than this, whatever the rest would become.
        records_max: in one batch.
    """

    batch_bytes_max: int = 1 << 20
    plain_bytes_max: int = 8 << 20
    records_max: int = 2_000


@dataclass(frozen=True, kw_only=True)
class OutboxLimits:
    """Bounds of what waits to leave, and of what is kept of what left.

    Attributes:
        seconds_max: what could not be sent for so long is given up.
        detail_seconds: after this one look at the machine an hour is kept.
        records_max: that wait; about 250 bytes each.
        departures_seconds_max: how long what left is kept to be looked at.
        departures_bytes_max: of all of it.
        busy_seconds: how long one service waits for the other to end its transaction.
        notices_max: notices of alarms that wait.
        notice_seconds: until a notice is tried again; twice as long each time.
        notice_tries_max: then it is given up.
    """

    seconds_max: float = 90 * 86_400.0
    detail_seconds: float = 86_400.0
    records_max: int = 100_000
    departures_seconds_max: float = 400 * 86_400.0
    departures_bytes_max: int = 512 << 20
    busy_seconds: float = 30.0
    notices_max: int = 200
    notice_seconds: float = 30.0
    notice_tries_max: int = 10


@dataclass(frozen=True, kw_only=True)
class SendLimits:
    """Bounds of sending.

    Attributes:
        every_seconds: between two looks at the outbox.
        spread: by which part of it each pause is longer or shorter, so that no fleet asks at once.
        backoff_seconds, backoff_seconds_max: after a failure; twice as long each time.
        retry_after_seconds_max: a registry that asks for more is not heeded beyond this.
        records_max: in one batch.
        batches_max: sent in one go before the next pause.
        send_seconds_max: one batch, with its answer.
        answer_bytes_max: of an answer.
        notices_max: sent in one go.
        tell_seconds_max: one webhook or e-mail.
    """

    every_seconds: float = 60.0
    spread: float = 0.2
    backoff_seconds: float = 30.0
    backoff_seconds_max: float = 1800.0
    retry_after_seconds_max: float = 3600.0
    records_max: int = 500
    batches_max: int = 40
    send_seconds_max: float = 30.0
    answer_bytes_max: int = 10_000
    notices_max: int = 20
    tell_seconds_max: float = 20.0


@dataclass(frozen=True, kw_only=True)
class LookLimits:
    """Bounds of looking at the box, and from when on something is wrong.

    Attributes:
        every_seconds: between two looks.
        settle_seconds: after an hour until all its rows are there.
        hours_kept: nine weeks: what is learned from, and one more.
        hours_per_turn: counted at once.
        figures_seconds_max: how long numbers of single answers are kept.
        answers_max: of one model, looked at to see whether it still finds anything.
        certificate_days, metadata_days: left, from when on it is told.
        queue_seconds, delivery_seconds: that something waits before it is told.
        disk_percent: free, below which it is told.
        clock_seconds: that the clock may be off.
        silent_seconds: without a beat of a service.
        gpu_seconds: between two questions to the GPU.
    """

    every_seconds: float = 60.0
    settle_seconds: float = 120.0
    hours_kept: int = 9 * 7 * 24
    hours_per_turn: int = 48
    figures_seconds_max: float = 400 * 86_400.0
    answers_max: int = 5_000
    certificate_days: int = 14
    metadata_days: int = 3
    queue_seconds: float = 1_800.0
    delivery_seconds: float = 4 * 3_600.0
    disk_percent: float = 10.0
    clock_seconds: float = 30.0
    silent_seconds: float = 120.0
    gpu_seconds: float = 60.0


LOOK = LookLimits()
BATCH = BatchLimits()
OUTBOX = OutboxLimits()
SEND = SendLimits()
