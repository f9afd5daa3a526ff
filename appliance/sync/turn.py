"""One look at the registry: believe, agree, permit, fetch, prove, let serve; or say why not.

Promises: what serves goes on serving whatever the registry, the network or the stick does; a release serves
only after it was assigned and signed, and passed its golden cases on this device; each reason has its word in
the log, the timeline and the status.
Never: tries again what this device rejected, or undoes what a person chose at the box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.core import log
from appliance.core.packages import installed_folder
from appliance.disk.durable import NoSpace, make_folder
from appliance.disk.space import Floor
from appliance.inference.engine import BuildProgress
from appliance.inference.lock import locked
from appliance.ledger import events, versions
from appliance.ledger.states import VersionState
from appliance.ledger.versions import Version
from appliance.sync import provenance
from appliance.sync.activate import activate
from appliance.sync.assignment import Wanted, agreed, assigned_to, not_held, permit, releases_of
from appliance.sync.box import ModelBox, Refused, Rejected
from appliance.sync.carrier import Carrier
from appliance.sync.fetch import clear, fetch
from appliance.sync.floors import FloorBook, Floors, book_of
from appliance.sync.floors import Refused as Kept
from appliance.sync.gates import Gates
from appliance.sync.install import install
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.phase import Phase, phase_of
from appliance.sync.refusal import PASSING, Refusal, Word
from appliance.sync.release import BUNDLE, DIRECTOR, IMAGE, Assigned
from appliance.sync.retention import tidy
from appliance.sync.shadow import follow, withdraw
from appliance.sync.sources import first_good
from appliance.sync.standing import Outcome, Standing, fresh, read_standing, registry_folder, write_standing
from appliance.sync.steps import Steps
from appliance.sync.store import Busy
from appliance.sync.trust import Listing, Trust, clock_fault

_log = log.get("registry")
ROOT_FILES = {IMAGE: "image.root.json", DIRECTOR: "director.root.json"}
_SENTENCE_CHARACTERS_MAX = 500


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What both repositories say at one moment; `shadows` must never serve."""

    image: Listing
    lines: list[Assigned]
    shadows: list[Assigned]


@dataclass(kw_only=True)
class Syncer:
    """Brings what the registry assigns onto a box; `stopping` ends a fetch, which is resumed later.

    `bundle` gives the folder with the roots of bundles, where the carrier is one: they are not the network's.
    """

    box: ModelBox
    carrier: Carrier
    limits: FetchLimits = FETCH
    stopping: Callable[[], bool] = lambda: False
    progress: BuildProgress | None = None
    bundle: Callable[[], Path] | None = None
    any_time: bool = False

    def turn(self, *, again: bool = False) -> Standing:
        """Take one look and do what is due; `again` forgets what was held against packages.

        Raises:
            Refused: what is written would belong to another user than the box's.
            NoSpace, DiskFault: the disk has no room for the status, or failed.
        """
        self.box.check_owner()
        outcomes: list[Outcome]
        try:
            with self._alone():
                outcomes = self._taken(again=again)
        except Refusal as refusal:
            outcomes = [Outcome(word=refusal.word, sentence=refusal.sentence)]
        except NoSpace:
            outcomes = [_no_room()]
        return self._told(outcomes)

    def _taken(self, *, again: bool) -> list[Outcome]:
        floors = self._floors()
        if again:
            floors = self._book.change(Floors.forgiven)
        seen = self._look(floors)
        self._steps.withdrawn({(line.name, line.version) for line in seen.lines})
        brought = [self._one(line, seen, self._bring) for line in seen.lines]
        waiting = [outcome for outcome in brought if outcome is not None]
        settled: list[Outcome | None] = []
        if len(waiting) < len(brought):
            # It may have taken hours: what is paused or recalled meanwhile does not begin to serve.
            seen = self._look(self._floors())
            done = {outcome.model for outcome in waiting}
            settled = [self._one(line, seen, self._serve) for line in seen.lines if line.name not in done]
        recalled = list(self._recalled(seen.image))
        named = {outcome.digest for outcome in recalled}
        shadowed = [one for line in seen.shadows if (one := self._one(line, seen, self._beside))]
        withdraw(self.box, shadowed)
        told = [*waiting, *(outcome for outcome in settled if outcome is not None), *shadowed]
        refused = [outcome for outcome in told if not outcome.is_well]
        rest = [outcome for outcome in told if outcome.is_well and outcome.digest not in named]
        clear(self._fetched, but=frozenset(line.sha256 for line in seen.lines))
        self._tidy()
        return [*refused, *recalled, *rest] or [Outcome(word=Word.CURRENT)]

    def _tidy(self) -> None:
        """Remove what nothing needs any more; another command on the models only puts it off."""
        try:
            tidy(self.box)
        except Busy:
            _log.info("registry.untidied")

    def _look(self, floors: Floors) -> Seen:
        """Return what both repositories say, from the first source whose lists hold."""
        return first_good(self.carrier, lambda source: self._look_at(source, floors))

    def _look_at(self, source: Carrier, floors: Floors) -> Seen:
        """Return what both repositories say, and raise the floors by it."""
        now = self.box.now()
        if (fault := clock_fault(now, floors.clock_at, limits=self.limits)) is not None:
            raise fault
        director, image = self._trust(DIRECTOR, source), self._trust(IMAGE, source)
        assigning, listing = director.refresh(), image.refresh()
        if listing.keys == floors.targets_keys and listing.version < floors.targets_version:
            raise Refusal(
                Word.ROLLBACK,
                f"the list of releases is number {listing.version}, and this device has seen number"
                f" {floors.targets_version}",
            )
        past = min(now, assigning.stamped_at, listing.stamped_at)
        self._book.change(lambda kept: kept.held_good(listing.version, listing.keys).at_least(past))
        assigned = assigned_to(self._device, director, assigning)
        return Seen(
            image=listing,
            lines=[line for line in assigned if not line.shadow],
            shadows=[line for line in assigned if line.shadow],
        )

    def _one(self, line: Assigned, seen: Seen, act: Callable[[Wanted], Outcome | None]) -> Outcome | None:
        """Do something for one model; what is wrong with it does not hold up the others."""
        outcome: Outcome | None
        digest = ""
        try:
            wanted = agreed(line, seen.image)
            digest = wanted.release.digest
            if not line.shadow and self._serves(wanted):
                outcome = self._steps.serving(wanted.release)
            else:
                floors = self._floors()
                permit(wanted.release, seen.image, floors, self.box.config, **self._way_back(line.name))
                not_held(wanted, floors)
                self._check_maker(wanted)
                outcome = act(wanted)
        except Refusal as refusal:
            outcome = Outcome(word=refusal.word, sentence=refusal.sentence)
        except Rejected as rejected:
            outcome = Outcome(word=Word.REJECTED, sentence=_short(rejected))
        except Refused as refused:
            outcome = Outcome(word=Word.BOX_REFUSED, sentence=_short(refused))
        except Busy as busy:
            outcome = Outcome(word=Word.BUSY, sentence=str(busy))
        except NoSpace:
            outcome = _no_room()
        if outcome is None:
            return None
        named = replace(outcome, model=line.name, version=line.version, digest=digest)
        named = replace(named, phase=named.phase or phase_of(named.word))
        # A passage leads to serving; a shadow is on no such way.
        return named if line.shadow else self._steps.told(named)

    def _way_back(self, name: str) -> dict[str, str]:
        """Return what serves because it was assigned, and what served before it."""
        with self.box.ledger.read() as tx:
            active = versions.active(tx).get(name)
        if active is None or active.former_digest is None:
            return {}
        if self._floors().settled.get(name) != active.digest:
            return {}
        return {"back_from": active.digest, "back_to": active.former_digest}

    def _check_maker(self, wanted: Wanted) -> None:
        """Hold a release against who may have made it, where the site asks for that; its files, once here."""
        folder = installed_folder(self.box.root, wanted.release.digest)
        keys = self.box.config.registry.provenance
        provenance.check(wanted.provenance, keys, self._trust(IMAGE, self.carrier).target_bytes, folder)

    def _bring(self, wanted: Wanted) -> Outcome | None:
        """Fetch and install a release, and build its engine where it must wait; None when it could serve."""
        release = wanted.release
        if (held := self._steps.held(release)) is not None:
            return held
        row = self._row(release.digest)
        if row is None or not row.here:
            self._steps.enter(release, Phase.FETCHING)
            self._fetch(wanted)
            self._steps.enter(release, Phase.VERIFIED)
        if self.stopping():
            raise _stopped()
        with self._remembering(release.digest):
            return self._steps.shut(release, self.progress)

    def _fetch(self, wanted: Wanted) -> None:
        release = wanted.release
        self._make_room(wanted.target.length + 2 * release.needs.unpacked_bytes)
        path = fetch(self.carrier, wanted.target, self._fetched, limits=self.limits, told=self._heard)
        with self._remembering(release.digest):
            try:
                install(self.box, path, expected=release.digest, progress=self.progress)
            except Rejected:
                path.unlink()
                raise
        path.unlink()

    def _make_room(self, size_bytes: int) -> None:
        room = Floor(path=self.box.root, floor_bytes=self.box.config.storage.floor_bytes)
        try:
            room.admit(size_bytes)
        except NoSpace:
            self._tidy()
            room.admit(size_bytes)

    def _serve(self, wanted: Wanted) -> Outcome | None:
        """Let an installed release serve, unless the site or a study that is under way keeps it waiting."""
        release, row = wanted.release, self._row(wanted.release.digest)
        if row is None or not row.here:
            return None
        if self.stopping():
            raise _stopped()
        with self._remembering(release.digest):
            # Asked once more: a person may have said something while others were brought.
            wait = self._steps.shut(release, self.progress) or self._steps.draining(release)
            if wait is not None:
                return wait
            self._steps.enter(release, Phase.ACTIVATING)
            former = self._steps.former(release)
            activate(self.box, release.name, release.version, former=former, progress=self.progress)
        self._settle(wanted)
        return replace(self._steps.serving(release), word=Word.ACTIVATED)

    def _beside(self, wanted: Wanted) -> Outcome:
        """Let a release run beside the one that serves."""
        row = self._row(wanted.release.digest)
        if row is None or not row.here:
            self._fetch(wanted)
        with self._remembering(wanted.release.digest):
            return follow(self.box, wanted.release, progress=self.progress)

    def _settle(self, wanted: Wanted) -> None:
        """Remember that a release serves because it was assigned: nothing older follows it."""
        release = wanted.release
        self._book.change(lambda floors: floors.served(release.name, release.digest, release.counter))

    def _serves(self, wanted: Wanted) -> bool:
        with self.box.ledger.read() as tx:
            active = versions.active(tx).get(wanted.release.name)
        serves = active is not None and active.digest == wanted.release.digest
        floors = self._floors()
        if serves and floors.settled.get(wanted.release.name) != wanted.release.digest:
            self._settle(wanted)
        return serves

    def _recalled(self, image: Listing) -> Iterator[Outcome]:
        """Say which of the versions that serve were recalled; taking one away is a person's decision."""
        with self.box.ledger.read() as tx:
            active = versions.active(tx)
        for row in active.values():
            for release in releases_of(row.name, image):
                if release.digest == row.digest and release.recalled:
                    sentence = f"it serves here and was recalled: {release.recalled}"
                    named = {"model": row.name, "version": row.version, "digest": row.digest}
                    yield Outcome(word=Word.RECALLED, sentence=sentence, phase=Phase.COMMITTED, **named)

    @contextmanager
    def _remembering(self, digest: str) -> Iterator[None]:
        """Remember a package that was rejected."""
        try:
            yield
        except Rejected as rejected:
            kept = Kept(word=Word.REJECTED, sentence=str(rejected), at=self.box.now())
            self._book.change(lambda floors: floors.rejected(digest, kept))
            raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        path = make_folder(self._folder) / "turn.lock"
        try:
            with locked(path, seconds_max=self.limits.turn_wait_seconds_max):
                yield
        except TimeoutError as error:
            raise Refusal(Word.BUSY, "another turn is under way on this box") from error

    def _told(self, outcomes: list[Outcome]) -> Standing:
        """Tell log, timeline and status."""
        at, before = self.box.now(), read_standing(self.box.root)
        well = all(outcome.is_well for outcome in outcomes)
        well_at = at if well else None if before is None else before.well_at
        standing = Standing(at=at, well_at=well_at, outcomes=tuple(outcomes))
        for outcome in outcomes:
            if not outcome.is_well:
                said = {"model": outcome.model, "version": outcome.version, "reason": outcome.sentence}
                _log.warning(_event(outcome), word=outcome.word.value, **said)
        with self.box.ledger.write() as tx:
            for outcome in fresh(outcomes, before):
                if not outcome.is_well:
                    detail = {"model": outcome.model, "version": outcome.version, "by": self.box.by}
                    events.add(tx, _event(outcome), at=at, reason=outcome.word.value, **detail)
        write_standing(self.box.root, standing)
        return standing

    def _trust(self, repository: str, source: Carrier) -> Trust:
        name = repository if self.bundle is None else f"{BUNDLE}{repository}"
        roots = self.box.config.registry.roots if self.bundle is None else self.bundle()
        try:
            root = (roots / ROOT_FILES[repository]).read_bytes()
        except OSError as error:
            raise Refusal(
                Word.NOT_CLAIMED,
                f"{ROOT_FILES[repository]} is not in registry.roots: `readside registry claim` makes it",
            ) from error
        return Trust(
            repository=repository,
            folder=self._folder / "trust" / name,
            root=root,
            carrier=source,
            clock=self.box.ledger.clock,
            limits=self.limits,
            named=name,
        )

    def _heard(self, have: int, of: int) -> None:
        if self.stopping():
            raise _stopped()
        if self.progress is not None:
            self.progress(have / max(of, 1), "fetching")

    def _row(self, digest: str) -> Version | None:
        with self.box.ledger.read() as tx:
            row = versions.of_digest(tx, digest)
        return None if row is None or row.state is VersionState.REJECTED else row

    def _floors(self) -> Floors:
        return self._book.read()

    @property
    def _book(self) -> FloorBook:
        return book_of(self.box.config)

    @property
    def _steps(self) -> Steps:
        return Steps(box=self.box, gates=Gates(config=self.box.config, any_time=self.any_time))

    @property
    def _device(self) -> str:
        device = self.box.config.registry.device
        if device is None:
            raise Refusal(
                Word.NOT_CLAIMED, "registry.device says what this box was claimed as; it is not given"
            )
        return device

    @property
    def _folder(self) -> Path:
        return registry_folder(self.box.root)

    @property
    def _fetched(self) -> Path:
        return self._folder / "fetched"


def _event(outcome: Outcome) -> str:
    return "registry.away" if outcome.word in PASSING else "registry.refused"


def _short(refused: Refused) -> str:
    """Return the reasons within a bound; a row keeps all of them."""
    return str(refused)[:_SENTENCE_CHARACTERS_MAX]


def _stopped() -> Refusal:
    return Refusal(Word.STOPPED, "the service was told to stop; what came is kept")


def _no_room() -> Outcome:
    return Outcome(word=Word.NO_ROOM, sentence="the box's disk has no room for it above the floor")
