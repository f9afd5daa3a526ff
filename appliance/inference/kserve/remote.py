"""A model's network on a server of the Open Inference Protocol (KServe v2), Triton among them.

Promises: what leaves the box is the numbers of prepared tensors and a name made of chance; a server that was
lost in the middle has to be loaded, and proven, anew before it is used again.
Never: unloads a model from a server, which others may use; repeats in an error what a server said.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from appliance.inference.engine import (
    BuildProgress,
    BuildReport,
    EnginePlan,
    EngineProvenance,
    InferenceError,
    Probe,
    Tensors,
    key_of,
)
from appliance.inference.kserve.contract import answer_differences
from appliance.inference.kserve.offers import Offer, offer_of
from appliance.inference.kserve.servers import NoOffer, Servers, place
from appliance.inference.kserve.wire import Answer, Question, Trouble, Wire, WireFault
from appliance.inference.onnx_file import OnnxFile, read_network
from appliance.inference.settings import EngineSettings
from models.package import Package


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A server in use."""

    url: str
    wire: Wire
    offer: Offer
    network: OnnxFile


class KServe:
    """Runs a network on the first server of the site that can; see `appliance.inference.engine.Engine`."""

    name = "kserve"

    def __init__(self, settings: EngineSettings) -> None:
        self._limits = settings.limits
        self._servers = Servers(settings.kserve_urls, settings.limits)
        self._use: _Use | None = None
        self._lost: str | None = None
        self._why_none: tuple[str, ...] = ()
        self._provenance = EngineProvenance(text="KServe v2, no server", details={"engine": self.name})

    def probe(self) -> Probe:
        """Say whether any server is live."""
        try:
            _, wire, _ = self._servers.first(self._live)
        except NoOffer as no:
            return Probe(ok=False, reason=" ".join(no.reasons).rstrip("."))
        wire.close()
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        """Name the package, and the first server that can run it; no server when none can.

        No two plans have the same key: others rule what a server holds, so that a verdict on one use of it
        says nothing of the next.
        """
        url, offered, self._why_none = "", {"server": "none"}, ()
        try:
            url, wire, offer = self._servers.first(self._offer(package, read_network(package.onnx_path())))
        except NoOffer as no:
            self._why_none = no.reasons
        else:
            wire.close()
            offered = offer.parts
        parts = {"package": package.digest, "use": secrets.token_hex(8), "url": url, **offered}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make nothing: what the server runs was made there."""
        return BuildReport()

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Have the planned server ready to run the package's network.

        Raises:
            InferenceError: inference.load, it cannot; or no server could, every reason is given.
        """
        self.unload()
        network, url = read_network(plan.package.onnx_path()), plan.parts["url"]
        try:
            if not url:
                raise NoOffer(*self._why_none or ["No server could run it when it was planned."])
            wire, offer = self._servers.ask(url, self._offer(plan.package, network))
        except NoOffer as no:
            raise InferenceError("inference.load", " ".join(no.reasons)) from no
        self._use = _Use(url=url, wire=wire, offer=offer, network=network)
        self._provenance = self._named(self._use)

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Send a batch to the server and wait for its answer.

        Raises:
            InferenceError: inference.deadline, inference.failed, or inference.crashed: the server was lost,
                and every later call fails so until the engine is loaded anew.
        """
        use = self._use
        assert use is not None, "load comes before infer"
        if self._lost is not None:
            raise InferenceError("inference.crashed", self._lost)
        question = Question(
            model=use.offer.model,
            version=use.offer.version,
            inputs=batch,
            outputs=[port.name for port in use.network.outputs],
        )
        try:
            answer = self._asked(use.wire, question, time.monotonic() + deadline_seconds)
        except WireFault as fault:
            self._fail(use, fault, deadline_seconds)
        faults = answer_differences(use.network, answer.outputs)
        if answer.id not in ("", question.id):
            faults.append("it is the answer to another call")
        if faults:
            what = f"The answer of the server {place(use.url)} is wrong: {'; '.join(faults)}."
            raise InferenceError("inference.failed", what)
        return dict(answer.outputs)

    def memory_bytes(self) -> int:
        """Give 0: the network lies in the server's memory."""
        return 0

    def unload(self) -> None:
        """Hang up; the model stays on the server, which others may use."""
        use, self._use, self._lost = self._use, None, None
        if use is not None:
            use.wire.close()

    def provenance(self) -> EngineProvenance:
        """Name the server loaded last, the way to it, and what runs the model there.

        It stays so after `unload`: a job that ended may still have to say who answered it.
        """
        return self._provenance

    def _named(self, use: _Use) -> EngineProvenance:
        protocol = use.wire.protocol
        details = {"engine": self.name, "url": use.url, "protocol": protocol}
        return EngineProvenance(
            text=f"{use.offer.server} (KServe v2 over {protocol})", details=details | use.offer.parts
        )

    def _live(self, wire: Wire) -> None:
        if not wire.live(seconds=self._limits.kserve_control_seconds_max):
            raise NoOffer("it is not live")

    def _offer(self, package: Package, network: OnnxFile) -> Callable[[Wire], Offer]:
        return lambda wire: offer_of(wire, package, network, limits=self._limits)

    def _asked(self, wire: Wire, question: Question, until: float) -> Answer:
        """Ask, and again a few times while nobody listens: then nothing was sent yet."""
        for _ in range(self._limits.kserve_refused_tries_max - 1):
            try:
                return wire.infer(question, seconds=until - time.monotonic())
            except WireFault as fault:
                if fault.trouble is not Trouble.REFUSED:
                    raise
            time.sleep(min(self._limits.kserve_refused_wait_seconds, max(until - time.monotonic(), 0.0)))
        return wire.infer(question, seconds=until - time.monotonic())

    def _fail(self, use: _Use, fault: WireFault, deadline_seconds: float) -> NoReturn:
        """Say what became of a call, and give up a server that is gone or no longer has the model."""
        if fault.trouble in (Trouble.REFUSED, Trouble.GONE):
            self._lose(use, fault.sentence)
        else:
            self._look_after(use)
        server = f"The server {place(use.url)}"
        if fault.trouble is Trouble.LATE:
            sentence = f"{server} did not answer within {deadline_seconds:.0f} seconds."
            raise InferenceError("inference.deadline", sentence) from fault
        word = "inference.failed" if self._lost is None else "inference.crashed"
        raise InferenceError(word, f"{server} did not run the network: {fault.sentence}.") from fault

    def _look_after(self, use: _Use) -> None:
        """After a call that brought no answer: was it the call, or is the server no longer what it was?"""
        seconds = self._limits.kserve_connect_seconds_max
        try:
            if not use.wire.live(seconds=seconds):
                self._lose(use, "it is no longer live")
            elif not use.wire.model_ready(use.offer.model, seconds=seconds):
                self._lose(use, "it no longer has the model ready")
        except WireFault as fault:
            self._lose(use, fault.sentence)

    def _lose(self, use: _Use, reason: str) -> None:
        self._lost = f"The server {place(use.url)} was lost: {reason}."
        self._servers.pass_over(use.url, reason)
