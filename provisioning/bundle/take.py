"""Take a bundle from a stick onto a box: the same turn as over a network, under the roots of bundles.

Promises: what the stick says is believed only under a root that was signed by the holders of the root which
this box was claimed with; the box's floors are the ones that the network raises too.
Never: lets a bundle in where the site has a network and did not ask for bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.disk.durable import make_folder, write_file
from appliance.inference.engine import BuildProgress
from appliance.sync.box import ModelBox
from appliance.sync.carrier import NotThere, read_all
from appliance.sync.limits import FETCH, FetchLimits
from appliance.sync.refusal import Refusal, Word
from appliance.sync.release import BUNDLE, DIRECTOR, METADATA
from appliance.sync.standing import Standing, registry_folder
from appliance.sync.trust import Trust, hold_first_root
from appliance.sync.turn import ROOT_FILES, Syncer
from provisioning.bundle import parts
from provisioning.bundle.carry import Stick
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT, BundleLimits
from provisioning.bundle.parts import Cut
from provisioning.registry.limits import DEFAULT as REGISTRY

_ROOT_BYTES_MAX = 512_000
_FOLDER = "bundle"


@dataclass(kw_only=True)
class Taking:
    """One box and one stick; with `any_time` a person at the box does not wait for a window."""

    box: ModelBox
    stick: Stick
    limits: FetchLimits = FETCH
    bounds: BundleLimits = DEFAULT
    progress: BuildProgress | None = None
    stopping: Callable[[], bool] = lambda: False
    any_time: bool = False

    def turn(self, *, again: bool = False) -> Standing:
        """Take one turn with the stick; what is wrong with it is told as for any turn.

        Raises:
            Refused, NoSpace, DiskFault: as for a turn.
        """
        self.stick.listed = self._listed
        return Syncer(
            box=self.box,
            carrier=self.stick,
            # A stamp of a bundle holds longer than one of a server: its date of making counts for the clock.
            limits=replace(self.limits, stamp_seconds=float(REGISTRY.bundle_seconds)),
            bundle=self._roots,
            progress=self.progress,
            stopping=self.stopping,
            any_time=self.any_time,
        ).turn(again=again)

    def _roots(self) -> Path:
        """Return the folder with the roots of bundles; the first stick brings them.

        Raises:
            Refusal: this box takes no bundles, the stick has none, or they are not of this box's registry.
        """
        if not self.box.config.registry.takes_bundles:
            raise Refusal(
                Word.BOX_REFUSED,
                "this box has a registry of its own at registry.url: a bundle is taken only with"
                " registry.bundles = true",
            )
        folder = make_folder(self._folder)
        for repository, name in ROOT_FILES.items():
            if (folder / name).exists():
                continue
            data, trust = self._first_root(repository), self._trust(repository, b"")
            trust.own_root(data)
            hold_first_root(data, self._claimed(name))
            write_file(folder / name, data)
        return folder

    def _first_root(self, repository: str) -> bytes:
        path = f"{repository}/{METADATA}/1.root.json"
        try:
            return read_all(self.stick, path, bytes_max=_ROOT_BYTES_MAX, limits=self.limits)
        except NotThere as error:
            raise Refusal(Word.NOT_A_REGISTRY, "this stick holds no bundle, or not all of one") from error

    def _claimed(self, name: str) -> bytes:
        try:
            return (self.box.config.registry.roots / name).read_bytes()
        except OSError as error:
            raise Refusal(
                Word.NOT_CLAIMED, f"{name} is not in registry.roots: this box was claimed nowhere"
            ) from error

    def _listed(self, sha256: str) -> Sequence[Cut]:
        """Return the signed parts of a file, from the lists that this turn held good."""
        trust = self._trust(DIRECTOR, (self._folder / ROOT_FILES[DIRECTOR]).read_bytes())
        target = trust.believed().targets.get(parts.list_path(sha256))
        if target is None:
            return ()
        try:
            return parts.list_of(trust.target_bytes(target), sha256, limits=self.bounds)
        except BundleFault as error:
            raise Refusal(Word.UNKNOWN_FORM, str(error)) from error

    def _trust(self, repository: str, root: bytes) -> Trust:
        named = f"{BUNDLE}{repository}"
        return Trust(
            repository=repository,
            folder=registry_folder(self.box.root) / "trust" / named,
            root=root,
            carrier=self.stick,
            clock=self.box.ledger.clock,
            limits=self.limits,
            named=named,
        )

    @property
    def _folder(self) -> Path:
        return registry_folder(self.box.root) / _FOLDER
