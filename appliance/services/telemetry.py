"""The telemetry service: sends what waits in the outbox to the registry, and notices to whom the site named.

It opens the outbox and this device's identity and nothing else, so a unit may keep it from spool and ledger.
"""

from __future__ import annotations

import os
import signal
import threading

from appliance.core import log
from appliance.core.alive import alive, stopping
from appliance.core.clock import SYSTEM
from appliance.core.config import Config
from appliance.disk.durable import make_folder
from appliance.health.limits import SEND
from appliance.health.notices import hand_over
from appliance.health.outbox import Outbox, OutboxFault, folder_of
from appliance.health.sender import TAKEN, Posted, Sender
from appliance.inference.lock import locked
from appliance.services.stage import FAULT_EXIT, SUPERVISOR
from appliance.sync import line
from appliance.sync.identity import identity_of
from appliance.sync.line import Declined, LineLimits
from appliance.sync.refusal import Refusal, Word

_log = log.get("telemetry")
PATH = "/api/device/v1/batch"
_TYPE = "application/gzip"
_LOOK_SECONDS = 1.0
_LOCK_SECONDS_MAX = 60.0
# Words of the registry itself: a proxy that answers 400 to everything must not empty the outbox.
_UNFIT = ("schema", "too_large")


def run(config: Config) -> int:
    """Send until told to stop; return the exit code."""
    os.umask(0o077)
    folder = make_folder(folder_of(config.storage.root))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    outbox = Outbox(folder=folder, clock=SYSTEM)
    try:
        with locked(folder / "telemetry.lock", seconds_max=_LOCK_SECONDS_MAX):
            _log.info("service.started", pid=os.getpid(), telemetry=config.registry.told)
            _keep_sending(config, outbox, stop)
            _log.info("service.stopped", exit_code=0)
    except TimeoutError:
        _log.error("service.another_runs")
        return FAULT_EXIT
    stopping()
    return 0


def _keep_sending(config: Config, outbox: Outbox, stop: threading.Event) -> None:
    sender = Sender(outbox=outbox, post=lambda body: post(config, body))
    parent = int(os.environ.get(SUPERVISOR, os.getppid()))
    # The site may have chosen less since these were put in.
    outbox.keep_to(config.registry.told)
    due_at = SYSTEM.elapsed()
    while not stop.is_set() and os.getppid() == parent:
        alive()
        try:
            tell(config, outbox)
            if config.registry.told != "off" and SYSTEM.elapsed() >= due_at:
                due_at = SYSTEM.elapsed() + sender.turn()
        except OutboxFault as error:
            _log.warning("telemetry.outbox_fault", error=type(error).__name__)
            due_at = SYSTEM.elapsed() + SEND.every_seconds
        stop.wait(_LOOK_SECONDS)


def tell(config: Config, outbox: Outbox) -> None:
    """Hand over the notices that are due, and note the bytes of each."""
    for notice in outbox.notices(SEND.notices_max):
        alive()
        number = outbox.depart(notice.way, notice.body)
        answer = hand_over(notice.way, notice.body, config.alerts, seconds_max=SEND.tell_seconds_max)
        outbox.departed(number, answer)
        if answer.startswith(TAKEN):
            outbox.told(notice)
        else:
            _log.warning("alerts.not_taken", way=notice.way, word=answer)
            outbox.untold(notice)


def post(config: Config, body: bytes) -> Posted:
    """Send one batch to the registry."""
    alive()
    try:
        identity = identity_of(config)
        if identity is None:
            return Posted(answer=None, word=Word.NOT_CLAIMED, left=False)
        limits = LineLimits(seconds_max=SEND.send_seconds_max, answer_bytes_max=SEND.answer_bytes_max)
        answer = line.post(config, identity, PATH, body, content_type=_TYPE, limits=limits)
    except Declined as declined:
        unfit = declined.reason in _UNFIT
        pause = declined.retry_after_seconds
        return Posted(answer=None, word=declined.word, unfit=unfit, pause_seconds=pause)
    except Refusal as refusal:
        return Posted(answer=None, word=refusal.word, left=refusal.word is not Word.UNREACHABLE)
    return Posted(answer=answer, word=TAKEN)
