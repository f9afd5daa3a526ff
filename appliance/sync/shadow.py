"""Let an installed version run beside the one that serves its name, or end that.

Promises: a version runs beside only after its golden cases came out right on this device, exactly as one that
is to serve; what serves is not touched by any of this.
Never: lets it serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from appliance.core import log
from appliance.inference.engine import BuildProgress
from appliance.ledger import comparisons, shadows, versions
from appliance.ledger.shadows import OtherRuns, Shadow
from appliance.ledger.states import VersionState
from appliance.sync.activate import prepare
from appliance.sync.box import ModelBox, Refused
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import Release
from appliance.sync.standing import Outcome

_log = log.get("models")
# What a person ended, what killed workers and what has seen enough does not begin again by itself.
_REGISTRY = "registry"
_FOR_GOOD = frozenset({"shadow.stopped", "shadow.deaths", "shadow.enough"})


def start(box: ModelBox, name: str, version: str, *, progress: BuildProgress | None = None) -> Shadow:
    """Let an installed version run beside whatever serves its name, after it has passed on this device.

    Raises:
        Refused: it is not here, it serves, nothing serves the name, another version runs beside already, or
            no engine passes.
        Busy: another command works on this box's models.
    """
    box.check_owner()
    if (running := _running(box, name, version)) is not None:
        return running
    prepare(box, name, version, progress=progress)
    with box.ledger.write() as tx:
        row = versions.find(tx, name, version)
        # Another command may have removed it, or let it serve, since it was proved.
        if row is None or not row.here or row.state is VersionState.ACTIVE:
            raise Refused([f"{name} {version} was changed meanwhile; look at `readside model list`"])
        try:
            begun = shadows.begin(tx, name, version, row.digest, by=box.by, at=box.now())
        except OtherRuns as error:
            raise Refused([str(error)]) from error
    _log.info("model.shadow_started", model=name, version=version)
    return begun


def stop(box: ModelBox, name: str, *, reason: str = "shadow.stopped") -> Shadow:
    """End the shadow of a name; what it compared stays.

    Raises:
        Refused: there is none.
    """
    with box.ledger.write() as tx:
        running = shadows.running(tx).get(name)
        if running is None:
            raise Refused([f"no version of {name} runs as a shadow on this box"])
        comparisons.stop(tx, running, reason=reason, by=box.by, at=box.now())
    _log.info("model.shadow_ended", model=name, version=running.version, reason=reason)
    return running


def follow(box: ModelBox, release: Release, *, progress: BuildProgress | None = None) -> Outcome:
    """Let the release run beside that a registry assigned so, in place of one that it assigned before.

    Raises:
        Refusal: HELD, it ran, and a person or the box ended it.
        Refused, Busy: as for `start`.
    """
    asked = replace(box, by=_REGISTRY)
    with box.ledger.read() as tx:
        running, latest = shadows.running(tx).get(release.name), shadows.of_digest(tx, release.digest)
    if latest is not None and latest.word in _FOR_GOOD:
        raise Refusal(
            Word.HELD,
            f"it ran as a shadow and was ended ({latest.word}); `readside model shadow start {release.name}"
            f" {release.version}` begins it again",
        )
    if running is not None and running.started_by == _REGISTRY and running.digest != release.digest:
        stop(asked, release.name, reason="shadow.replaced")
    start(asked, release.name, release.version, progress=progress)
    return Outcome(word=Word.SHADOW)


def withdraw(box: ModelBox, told: Sequence[Outcome]) -> None:
    """End the shadows that a registry began and does not assign any more, or recalled; `told`: of a turn."""
    names = {outcome.model for outcome in told if outcome.word is not Word.RECALLED}
    with box.ledger.read() as tx:
        running = shadows.running(tx)
    for shadow in running.values():
        if shadow.started_by == _REGISTRY and shadow.name not in names:
            stop(replace(box, by=_REGISTRY), shadow.name, reason="shadow.withdrawn")


def _running(box: ModelBox, name: str, version: str) -> Shadow | None:
    """Return the shadow if it runs already, and refuse what needs no proof to be refused."""
    serving = box.catalogue().serving().get(name)
    with box.ledger.read() as tx:
        row, running = versions.find(tx, name, version), shadows.running(tx).get(name)
    if serving is None:
        raise Refused([f"nothing serves {name} on this box: there is nothing to compare with"])
    if row is not None and row.digest == serving.digest:
        raise Refused([f"{name} {version} serves: it cannot run beside itself"])
    if running is not None and (row is None or running.digest != row.digest):
        raise Refused([str(OtherRuns(running))])
    return running
