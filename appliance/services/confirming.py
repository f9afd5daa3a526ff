"""Ask the confirming peer from a thread of its own: a peer that hangs must not hold the conductor up.

Promises: a study is asked about when its pause ends, not at the next look of a clock, and an answer wakes the
conductor.
"""

from __future__ import annotations

import math
import threading
from contextlib import closing

from appliance.assemble.confirm import Confirmer
from appliance.core import log
from appliance.core.config import Config
from appliance.queue.bell import BellCord
from appliance.queue.tickets import Bell, Ticket
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from dicom_node.limits import Limits as WireLimits
from dicom_node.query import count_instances

_log = log.get("conductor")
# Between two looks nothing is due: no more than this, and the conductor's own turns are no closer.
_LOOK_SECONDS_MIN = 0.02


def start_confirming(stage: Stage, config: Config) -> threading.Thread | None:
    """Start the thread where the site names a peer to count against."""
    if config.assembly.confirm_with is None:
        return None
    peer = wire_peer(config.peer(config.assembly.confirm_with), config)
    wire = WireLimits()

    def ask(study_uid: str) -> int | None:
        return count_instances(peer, calling_ae=config.dicom.ae_title, study_uid=study_uid, limits=wire)

    confirmer = Confirmer(stage.ledger, config.assembly, ask)
    thread = threading.Thread(target=_confirm, args=(stage, config, confirmer), name="confirm", daemon=True)
    thread.start()
    return thread


def _confirm(stage: Stage, config: Config, confirmer: Confirmer) -> None:
    try:
        with closing(BellCord(config.run_dir)) as cord:
            while not stage.stopping.wait(_pause_seconds(stage, config, confirmer)):
                if confirmer.turn():
                    cord.ring(Ticket(Bell.ARRIVED))
    # A thread that died silently would leave every study to its quiet time: the service must start anew.
    except Exception as error:  # noqa: BLE001 - the thread's main loop
        _log.critical("conductor.fault", error=type(error).__name__, where=log.where(error))
        stage.fault()


def _pause_seconds(stage: Stage, config: Config, confirmer: Confirmer) -> float:
    """Return how long until a study is due; one that began meanwhile is due no sooner than its pause ends."""
    longest = min(stage.limits.poll_seconds, config.assembly.confirm_settle_seconds)
    due_in = confirmer.next_due_at - stage.ledger.clock.now()
    return max(min(due_in if math.isfinite(due_in) else longest, longest), _LOOK_SECONDS_MIN)
