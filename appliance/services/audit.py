"""The audit service: tells the timeline in the trail, signs it now and then, hands it to a repository."""

from __future__ import annotations

import socket
import threading

from appliance.audit.checkpoint import folder_of, open_signer
from appliance.audit.limits import DEFAULT, Limits
from appliance.audit.ship import Shipper
from appliance.audit.syslog import NotHandedOver, Repository
from appliance.audit.trail import Trail
from appliance.core import log
from appliance.core.alive import alive
from appliance.core.config import Audit, Config
from appliance.services.stage import Stage, on_stage

_log = log.get("audit")


def run(config: Config) -> int:
    """Run the audit service until it is told to stop; return the exit code."""
    with on_stage("audit", config) as stage:
        trail = Trail(stage.ledger, config, open_signer(folder_of(config.storage.root)))
        shipping = _start_shipping(stage, config.audit)
        while not stage.stopping.is_set():
            alive()
            if not trail.turn():
                trail.checkpoint()
                stage.stopping.wait(DEFAULT.turn_seconds)
        trail.checkpoint(final=True)
        if shipping is not None:
            shipping.join(DEFAULT.send_seconds_max)
        return stage.exit_code


def _start_shipping(stage: Stage, wanted: Audit) -> threading.Thread | None:
    """Hand the trail on from a thread of its own: a repository that hangs must not hold the trail up."""
    if not wanted.host:
        return None
    assert wanted.ca is not None, "the configuration asks for it"
    repository = Repository(
        host=wanted.host, port=wanted.port, ca=wanted.ca, certificate=wanted.certificate, key=wanted.key
    )
    shipper = Shipper(ledger=stage.ledger, repository=repository, host=socket.gethostname())
    thread = threading.Thread(target=_ship, args=(stage, shipper, DEFAULT), name="ship", daemon=True)
    thread.start()
    return thread


def _ship(stage: Stage, shipper: Shipper, limits: Limits) -> None:
    pause = limits.retry_seconds
    try:
        while not stage.stopping.is_set():
            try:
                shipper.turn()
                pause = limits.retry_seconds
                stage.stopping.wait(limits.turn_seconds)
            except NotHandedOver as error:
                # F59: the trail is kept here, in order, for as long as the repository is away.
                _log.warning(
                    "audit.backlog", rows=shipper.behind(), reason=str(error), again_in_seconds=pause
                )
                stage.stopping.wait(pause)
                pause = min(2 * pause, limits.retry_seconds_max)
    # A thread that died silently would let the trail pile up unseen: the service must start anew.
    except Exception as error:  # noqa: BLE001 - the thread's main loop
        _log.critical("audit.fault", error=type(error).__name__, where=log.where(error))
        stage.fault()
