"""Notices of alarms: the bytes of a webhook's body and of a mail, and how each is handed over.

Promises: a notice holds what the alarm's sentence says, the site's own name and the device's, nothing else;
handing it over ends within a bound.
Never: follows a redirect, or sends anything to who cannot prove himself where the site asked for TLS.
"""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Any, Final

from appliance.core.alarming import AlarmKind, sentence
from appliance.core.clock import as_text
from appliance.core.config import Alerts, Config
from appliance.ledger.alarms import Alarm

RAISED: Final = "raised"
ENDED: Final = "ended"
GOES_ON: Final = "goes on"
_TITLES: Final = {RAISED: "Alarm", ENDED: "Over", GOES_ON: "Still"}


def bodies(config: Config, alarm: Alarm, state: str, *, at: float) -> dict[str, bytes]:
    """Return the bytes of a notice, by the ways that the site asked for."""
    said = _said(config, alarm, state, at)
    made = {"webhook": json.dumps(said, ensure_ascii=True).encode("ascii")}
    if config.alerts.mail_host is not None:
        made["mail"] = _mail(config, said, at)
    return {way: made[way] for way in config.alerts.ways}


def hand_over(way: str, body: bytes, alerts: Alerts, *, seconds_max: float) -> str:
    """Hand a notice over, and return "taken" or a fixed word for why not; never raises."""
    try:
        if way == "webhook" and alerts.webhook is not None:
            return _hook(alerts.webhook, body, seconds_max)
        if way == "mail" and alerts.mail_host is not None:
            return _post(alerts, body, seconds_max)
    except (OSError, ValueError, smtplib.SMTPException, urllib.error.URLError) as error:
        # What a server says may hold anything; its kind is enough to know where to look.
        return f"failed_{type(error).__name__.lower()}"
    return "not_wanted"


def _said(config: Config, alarm: Alarm, state: str, at: float) -> dict[str, Any]:
    text = sentence(alarm.kind, alarm.subject, alarm.numbers, zone=config.site.zone)
    return {
        "site": config.site.name,
        "device": config.registry.device or "",
        "alarm": AlarmKind(alarm.kind).word,
        "subject": alarm.subject,
        "state": state,
        "at": as_text(at),
        "since": as_text(alarm.raised_at),
        "text": f"{_TITLES[state]}: {text}",
    }


def _mail(config: Config, said: dict[str, Any], at: float) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = config.alerts.mail_from, ", ".join(config.alerts.mail_to)
    mail["Subject"] = f"Readside, {said['site']}: {said['alarm']} {said['state']}"
    mail["Date"] = formatdate(at)
    mail.set_content(f"{said['text']}\n\n{said['device']} since {said['since']}\n")
    return mail.as_bytes()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Takes no redirect: a notice goes to whom the site named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _hook(address: str, body: bytes, seconds_max: float) -> str:
    headers = {"Content-Type": "application/json", "User-Agent": "readside"}
    request = urllib.request.Request(address, data=body, headers=headers, method="POST")
    opener = urllib.request.build_opener(_Stay)
    try:
        with opener.open(request, timeout=seconds_max) as answer:
            return "taken" if 200 <= answer.status < 300 else f"answered_{answer.status}"
    except urllib.error.HTTPError as error:
        error.close()
        return f"answered_{error.code}"


def _post(alerts: Alerts, body: bytes, seconds_max: float) -> str:
    assert alerts.mail_host is not None
    assert alerts.mail_from is not None
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if alerts.mail_tls == "tls":
        server = smtplib.SMTP_SSL(alerts.mail_host, alerts.mail_port, timeout=seconds_max, context=context)
    else:
        server = smtplib.SMTP(alerts.mail_host, alerts.mail_port, timeout=seconds_max)
    with server:
        if alerts.mail_tls == "starttls":
            server.starttls(context=context)
        refused = server.sendmail(alerts.mail_from, list(alerts.mail_to), body)
    return "taken_in_part" if refused else "taken"
