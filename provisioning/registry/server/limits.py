"""Every bound of the registry's server, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Bounds of requests, sessions, what waits, and what is kept.

    Attributes:
        body_bytes_max: of any request; a device sends its backlog in several.
        connections_max: open at once in one process.
        session_seconds: how long a person stays logged in.
        batches_waiting_max: of devices' batches that wait to be written; more are told to come later.
        records_waiting_max: records in them.
        batches_at_once_max: written in one transaction.
        records_at_once_max: records in them.
        gather_seconds: between the beginnings of two transactions of devices' batches.
        retry_after_seconds: what a device is told when there is too much; it adds chance of its own.
        keys_max: devices' keys remembered.
        versions_seconds: how long the numbers of the signed lists are remembered.
        duty_seconds: between two looks at what only one process does.
        lease_seconds: how long a process that stopped holds up the others.
        aged_at_once_max: records removed in one transaction.
        aged_transactions_max: of these in one turn.
        aged_every_seconds: between two turns.
        judge_seconds: between two judgements of a roll-out's ring.
        silent_seconds: after which an enrolled device that says nothing is an alarm.
        metadata_seconds: before whose end signed lists are an alarm.
        certificate_seconds: before whose end a device's certificate is an alarm.
        alarm_every_seconds: between two looks at what is absent.
        tell_seconds_max: how old an alert may be that is still told outside.
        told_at_once_max: alerts told in one turn.
        tell_wait_seconds_max: how long a webhook or a relay may take.
        page_rows_max: rows in one answer to a person.
    """

    body_bytes_max: int = 1 << 20
    body_seconds_max: float = 30.0
    connections_max: int = 16_384
    session_seconds: float = 8 * 3_600.0
    batches_waiting_max: int = 8_192
    records_waiting_max: int = 100_000
    batches_at_once_max: int = 1_024
    records_at_once_max: int = 20_000
    gather_seconds: float = 0.05
    retry_after_seconds: int = 60
    keys_max: int = 20_000
    versions_seconds: float = 1.0
    duty_seconds: float = 15.0
    lease_seconds: float = 60.0
    aged_at_once_max: int = 5_000
    aged_transactions_max: int = 20
    aged_every_seconds: float = 60.0
    judge_seconds: float = 120.0
    silent_seconds: float = 900.0
    metadata_seconds: float = 3.0 * DAY_SECONDS
    certificate_seconds: float = 14.0 * DAY_SECONDS
    alarm_every_seconds: float = 60.0
    tell_seconds_max: float = 1.0 * DAY_SECONDS
    told_at_once_max: int = 20
    tell_wait_seconds_max: float = 10.0
    page_rows_max: int = 500


DEFAULT = ServerLimits()
