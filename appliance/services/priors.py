"""Ask peers for earlier studies, and look after the jobs that wait for them: beside the conductor's turns.

Two threads: a peer that hangs keeps new questions waiting, and never a job whose studies are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from appliance.assemble.compare import Comparer
from appliance.assemble.decide import Decider
from appliance.assemble.priors import Question, Rule, Seeker
from appliance.core import log
from appliance.core.config import Config
from appliance.core.priors_section import asked_for_priors
from appliance.ledger.catalogue import Catalogue
from appliance.ledger.reading import LedgerFault
from appliance.routes.expression import compile_study_condition
from appliance.routes.table import RouteTable
from appliance.services.beside import Beside
from appliance.services.stage import Stage
from appliance.services.wire import wire_peer
from appliance.spool.store import Spool
from dicom_node.earlier import EarlierStudy, find_earlier
from dicom_node.limits import Limits as WireLimits

_log = log.get("services")
# A question gives up early enough for the service to end in time, and for the job to be asked about again.
_WIRE = WireLimits(acse_seconds_max=15.0, dimse_seconds_max=20.0, find_seconds_max=20.0)
_Turn = Callable[[Callable[[], bool]], int]


class Comparing:
    """Looks after jobs that wait for earlier studies, where a route asks for any."""

    def __init__(self, stage: Stage, config: Config) -> None:
        self._stage = stage
        rules = rules_of(config)
        self._turns: Mapping[str, _Turn] = _turns(stage, config, rules) if rules else {}
        self._beside = Beside(stage, self._keep, self._turns, called="priors")

    def start(self) -> None:
        """Begin."""
        self._beside.start()

    def join(self) -> None:
        """Wait for what is under way; each question is bounded."""
        self._beside.join()

    def _keep(self, name: str) -> None:
        stage, turn = self._stage, self._turns[name]
        try:
            while not stage.stopping.wait(stage.limits.poll_seconds):
                try:
                    turn(stage.stopping.is_set)
                except LedgerFault:
                    # A full disk, or a ledger locked for too long: what was not written is done again.
                    _log.warning("priors.not_recorded")
        # A thread that died silently would make every job wait to the end of its time.
        except Exception as error:  # noqa: BLE001 - the thread's main loop
            if not stage.stopping.is_set():
                _log.critical("conductor.fault", error=type(error).__name__, where=log.where(error))
                stage.fault()


def _turns(stage: Stage, config: Config, rules: Mapping[str, Rule]) -> dict[str, _Turn]:
    spool, ledger = Spool(config.storage.root), stage.ledger
    # A table of its own: the conductor's belongs to its turns.
    decider = Decider(ledger, RouteTable(config, Catalogue(ledger, config)))

    def renew(study_uid: str, route: str, since: float) -> bool:
        return decider.to_compare(study_uid, route, since=since)

    seeker = Seeker(ledger, spool, rules, PeersOf(config).ask, stage.limits)
    return {"seek": seeker.turn, "compare": Comparer(ledger, spool, renew).turn}


def rules_of(config: Config) -> dict[str, Rule]:
    """Return what each route wants that asks for earlier studies."""
    return {
        route.name: Rule(
            priors=route.priors,
            when=compile_study_condition(route.priors.when) if route.priors.when else None,
            peers=[peer.name for peer in asked_for_priors(route.priors, config.peers)],
        )
        for route in config.routes
        if route.priors is not None
    }


class PeersOf:
    """The site's peers, asked side by side."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def ask(self, names: Sequence[str], question: Question) -> dict[str, Sequence[EarlierStudy]]:
        """Return what each peer has that answered."""
        if not names:
            return {}
        with ThreadPoolExecutor(len(names), "priors ask") as pool:
            said = list(pool.map(lambda name: self._ask_one(name, question), names))
        return {name: found for name, found in zip(names, said, strict=True) if found is not None}

    def _ask_one(self, name: str, question: Question) -> Sequence[EarlierStudy] | None:
        config = self._config
        return find_earlier(
            wire_peer(config.peer(name), config),
            calling_ae=config.dicom.ae_title,
            patient=question.patient,
            first=question.first,
            last=question.last,
            modality=question.modality,
            limits=_WIRE,
        )
