"""Tells alerts outside: a webhook, an e-mail, or both, until they were taken.

Promises: what could not be told is tried again each turn for a day; each wait and each answer is bounded; a
turn ends at the first failure, so that a dead relay costs one wait.
Never: sends anything but the alert's kind, numbers, slot and device id. May tell twice: a receiver knows a
repetition by `alert` and `closed_at`.
"""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import structlog

from appliance.core import log
from appliance.core.clock import as_text
from provisioning.registry.database import alerts
from provisioning.registry.database.alerts import Alert
from provisioning.registry.server.room import Room
from provisioning.registry.server.setting import Ways

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
_TAKEN = range(200, 300)


class NotTaken(Exception):
    """Nobody took the notice; the message is a fixed word or the kind of an error."""


def tell(room: Room) -> None:
    """Tell what is untold, a bounded number in one turn."""
    ways, limits, now = room.setting.ways, room.limits, room.clock.now()
    if not ways.any:
        return
    with room.database.read() as tx:
        waiting = alerts.untold(tx, since=now - limits.tell_seconds_max, limit=limits.told_at_once_max)
        slots = alerts.slots_of(tx, [one.subject for one in waiting])
    for one in waiting:
        said = _said(one, slots.get(one.subject, ""))
        try:
            for way in _ways(ways, limits.tell_wait_seconds_max):
                way(said)
        except NotTaken as fault:
            _log.warning("registry.notice_failed", error=str(fault), waiting=len(waiting))
            return
        with room.database.write() as tx:
            alerts.note_told(tx, one, at=room.clock.now())


def _said(alert: Alert, slot: str) -> dict[str, Any]:
    return {
        "alert": alert.id,
        "kind": alert.kind,
        "subject": alert.subject,
        "slot": slot,
        "opened_at": alert.opened_at,
        "closed_at": alert.closed_at,
        "detail": dict(alert.detail),
    }


def _ways(ways: Ways, seconds: float) -> list[Callable[[dict[str, Any]], None]]:
    found: list[Callable[[dict[str, Any]], None]] = []
    if ways.webhook:
        found.append(lambda said: _post(ways.webhook, said, seconds))
    if ways.mail_relay:
        found.append(lambda said: _mail(ways, said, seconds))
    return found


def _post(address: str, said: dict[str, Any], seconds: float) -> None:
    """POST one notice; a redirect is no answer, and of an answer only its status is read."""
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        line = kind(parts.hostname or "", parts.port, timeout=seconds)
        try:
            line.request("POST", path, json.dumps(said), {"Content-Type": "application/json"})
            status = line.getresponse().status
        finally:
            line.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotTaken(f"webhook: {type(error).__name__}") from error
    if status not in _TAKEN:
        raise NotTaken(f"webhook: status {status}")


def _mail(ways: Ways, said: dict[str, Any], seconds: float) -> None:
    host, _, port = ways.mail_relay.rpartition(":")
    message = EmailMessage()
    message["From"], message["To"] = ways.mail_from, ways.mail_to
    over = said["closed_at"] is not None
    where = said["slot"] or said["subject"]
    message["Subject"] = f"Readside registry: {said['kind']} {'is over' if over else 'at'} {where}"
    message.set_content(
        f"{said['kind']}\nslot: {said['slot'] or '-'}\nsubject: {said['subject']}\n"
        f"since: {as_text(said['opened_at'])}\n"
        + (f"over: {as_text(said['closed_at'])}\n" if over else "")
        + "".join(f"{name}: {value}\n" for name, value in sorted(said["detail"].items()))
    )
    try:
        with smtplib.SMTP(host, int(port), timeout=seconds) as relay:
            if ways.mail_tls:
                relay.starttls(context=ssl.create_default_context())
            relay.send_message(message)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        raise NotTaken(f"e-mail: {type(error).__name__}") from error
