"""What `readside doctor` looks at, one thing after the other; each says what is wrong and what to do.

Promises: nothing of the box changes: what is written to try the disk is removed, and the ledger is opened as
a service would open it. Never: shows patient data.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from appliance.cli import certificates
from appliance.cli.terms import BAD_USE, fail
from appliance.core.clock import SYSTEM, as_text
from appliance.core.config import Config, ConfigError, load
from appliance.core.packages import find_packages
from appliance.disk.durable import DiskFault, NoSpace, remove_file, write_file
from appliance.disk.space import free_bytes
from appliance.inference.choose import open_now
from appliance.inference.engine import InferenceError
from appliance.inference.life import CRASHES
from appliance.inference.makers import MAKERS
from appliance.inference.parity import verdict_of
from appliance.inference.process import hosted
from appliance.inference.quarantine import Quarantine
from appliance.inference.settings import EngineSettings, settings_of
from appliance.inference.sidecar import Sidecar
from appliance.inference.store import EngineStore
from appliance.ledger.catalogue import packages_now
from appliance.ledger.engine import LedgerRefused, open_ledger
from appliance.routes.table import compile_routes
from appliance.services.wire import wire_peer
from dicom_node.echo import echo
from dicom_node.limits import Limits
from models.package import Package

Found = tuple[dict[str, Package], list[str]]
_TRIAL_BYTES = 2**20
_TRIAL = ".readside-doctor"
# This version cannot run in a year before it was written; a clock that says so has lost its battery.
_EPOCH_MIN = 1_767_225_600.0  # 2026-01-01
_AHEAD_SECONDS_MAX = 300.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: the thing.
        ok: whether it is as it should be.
        text: what was found.
        to_do: what to do about it; "" when it is as it should be.
    """

    what: str
    ok: bool
    text: str
    to_do: str = ""


def sound(what: str, text: str) -> Check:
    """Say that a thing is as it should be."""
    return Check(what=what, ok=True, text=text)


def wrong(what: str, text: str, to_do: str) -> Check:
    """Say that a thing is not as it should be."""
    return Check(what=what, ok=False, text=text, to_do=to_do)


def of_program() -> Iterator[Check]:
    """Look at what needs no configuration: the program, the clock, the packages that ship."""
    yield sound("program", f"readside {version('readside')}")
    yield _clock(None)
    yield from _models(packages_of(None), ("cpu",), EngineSettings())


def of_site(path: Path) -> Iterator[Check]:
    """Look at a whole installation, as its configuration describes it."""
    yield sound("program", f"readside {version('readside')}")
    try:
        config = load(path)
        compile_routes(config)
    except ConfigError as error:
        for fault in error.faults:
            yield wrong("configuration", fault, f"edit it, then: readside check-config {path}")
        return
    yield sound("configuration", "has no fault")
    yield _clock(config)
    yield from _storage(config)
    yield _ledger(config)
    yield from _certificates(config)
    yield from _peers(config)
    settings = settings_here(config)
    here: list[str] = []
    for name in config.inference.engines:
        check = _engine(name, settings)
        yield check
        if check.ok:
            here.append(name)
    yield from _models(packages_of(config), here or config.inference.engines, settings)
    yield from _store(config)


def settings_here(config: Config) -> EngineSettings:
    """Give a site's settings; without the store where another user owns it, who could not read our files."""
    settings = settings_of(config)
    root = config.storage.root
    if root.is_dir() and root.stat().st_uid == os.geteuid():
        return settings
    return EngineSettings(
        limits=settings.limits,
        device=settings.device,
        memory_bytes_max=settings.memory_bytes_max,
        kserve_urls=settings.kserve_urls,
    )


def packages_of(config: Config | None) -> Found:
    """Find what serves on a box; what ships and lies in its folders where its ledger cannot be opened."""
    if config is None:
        return find_packages(())
    try:
        return packages_now(config)
    except LedgerRefused:
        return find_packages(config.models.folders)


def no_model(name: str, packages: Collection[str], faults: Sequence[str]) -> NoReturn:
    """End where no package serves under a name: one that is there and cannot be used is not "unknown"."""
    reasons = [fault for fault in faults if f" {name} " in fault]
    if reasons:
        fail("; ".join(reasons))
    fail(f"no model is called {name!r}; there are: {', '.join(sorted(packages))}", code=BAD_USE)


def _clock(config: Config | None) -> Check:
    now = SYSTEM.now()
    if now < _EPOCH_MIN:
        return wrong(
            "clock", f"says {as_text(now)}", "set the clock; let chrony or systemd-timesyncd keep it"
        )
    newest = 0.0 if config is None else _newest(config.storage.root)
    if newest > now + _AHEAD_SECONDS_MAX:
        return wrong(
            "clock",
            f"says {as_text(now)}, and a file of the box is from {as_text(newest)}",
            "look whether the clock went back; let chrony or systemd-timesyncd keep it",
        )
    return sound("clock", f"says {as_text(now)}; compare it with the hospital's")


def _newest(root: Path) -> float:
    """Give the time of the newest file directly under the storage root."""
    if not root.is_dir():
        return 0.0
    return max((entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(root)), default=0.0)


def _storage(config: Config) -> Iterator[Check]:
    root = config.storage.root
    if not root.is_dir():
        yield wrong(
            "storage", "the storage root is not there", "start the box once: readside run --config ..."
        )
        return
    trial = root / f"{_TRIAL}.{os.getpid()}"
    began = time.monotonic()
    try:
        write_file(trial, bytes(_TRIAL_BYTES))
        remove_file(trial)
    except (NoSpace, DiskFault, OSError) as error:
        yield wrong(
            "storage",
            f"a file could not be written and synced ({type(error).__name__})",
            "run this as the user the box runs as; then look at the disk and its mount options",
        )
        return
    yield sound("storage", f"a file of 1 MiB was durable after {time.monotonic() - began:.2f} s")
    free, floor = free_bytes(root), config.storage.floor_bytes
    if free < floor:
        yield wrong(
            "free space",
            f"{_gib(free)} GiB, less than the floor of {_gib(floor)} GiB",
            "make room on the disk",
        )
    else:
        yield sound("free space", f"{_gib(free)} GiB; receiving stops at {_gib(floor)} GiB")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f}"


def _ledger(config: Config) -> Check:
    # Opening makes it: that is for the user the box runs as.
    if not config.ledger.url and not (config.storage.root / "ledger.sqlite3").is_file():
        return wrong("ledger", "is not there yet", "start the box once: readside run --config ...")
    try:
        ledger = open_ledger(config.ledger_url)
    except LedgerRefused as error:
        return wrong("ledger", "cannot be opened", str(error))
    dialect = ledger.dialect
    ledger.close()
    return sound("ledger", f"opens ({dialect})")


def _certificates(config: Config) -> Iterator[Check]:
    if config.dicom.tls is None:
        return
    if found := certificates.faults(config) or certificates.warnings(config):
        yield from (
            wrong("TLS", one, 'see "TLS" in docs/pacs.md; new files need no restart') for one in found
        )
        return
    yield sound("TLS", "certificate, key and authorities go together and are valid for a month and more")


def _peers(config: Config) -> Iterator[Check]:
    for peer in config.peers:
        what = f"peer {peer.name}"
        if not peer.reachable:
            by_web = "takes results by STOW-RS, which is not tried here"
            yield sound(what, "has no address here: it only sends" if peer.dicomweb is None else by_web)
            continue
        result = echo(wire_peer(peer, config), calling_ae=config.dicom.ae_title, limits=Limits())
        if result.ok:
            yield sound(what, "answers C-ECHO")
            continue
        status = "" if result.status is None else f", status {result.status:#06x}"
        yield wrong(
            what,
            f"does not answer C-ECHO ({result.word}{status})",
            f"look at its address {peer.host}:{peer.port}, the network between, and whether it knows the "
            f"AE title {config.dicom.ae_title}",
        )


def _engine(name: str, settings: EngineSettings) -> Check:
    what = f"engine {name}"
    try:
        engine = hosted(MAKERS)[name](settings)
        probe = engine.probe()
    except InferenceError as error:
        return wrong(what, error.sentence, "install it, or take it out of [inference] engines")
    engine.unload()
    if not probe.ok:
        return wrong(what, f"not here: {probe.reason}", "correct it, or take it out of [inference] engines")
    return sound(what, "can run here")


def _mending(fault: str) -> str:
    if "as installed" in fault:
        return "install it again from its package: readside model install PACKAGE"
    return "readside model check FOLDER tells all that is wrong with a package"


def _models(found: Found, engines: Sequence[str], settings: EngineSettings) -> Iterator[Check]:
    packages, faults = found
    for fault in faults:
        yield wrong("models", fault, _mending(fault))
    for package in packages.values():
        yield _model(package, engines, settings)


def _model(package: Package, engines: Sequence[str], settings: EngineSettings) -> Check:
    """Open a model as the worker does, and say on which engine its golden cases agree."""
    what = f"model {package.manifest.name}"
    try:
        opened = open_now(package, engines, settings=settings, makers=hosted(MAKERS))
    except InferenceError as error:
        return wrong(what, error.sentence, "correct the engines under [inference], or the package")
    text = opened.engine.provenance().text
    opened.engine.unload()
    if opened.upgrade is not None:
        return sound(what, f"its golden cases agree. {opened.stepped_down}")
    if opened.stepped_down is not None:
        return wrong(
            what,
            f"its golden cases agree, but on a lesser engine. {opened.stepped_down}",
            "correct what keeps the better engine from this model, or accept the slower one",
        )
    return sound(what, f"its golden cases agree on {text}")


def _store(config: Config) -> Iterator[Check]:
    settings = settings_of(config)
    if settings.store is None:
        return
    store = EngineStore(root=settings.store, limits=settings.limits)
    kept = store.entries() if os.access(settings.store, os.R_OK | os.X_OK) else ()
    for key, sidecar in kept:
        yield from _built(key[7:19], sidecar)
    try:
        crashed = Quarantine(root=settings.store / CRASHES, limits=settings.limits).entries()
    except InferenceError as error:
        yield wrong("crashes", error.sentence, "run this as the user the box runs as")
        return
    for crashes, quarantined in crashed:
        yield _crashed(
            crashes.key[7:19], f"{crashes.engine} for {crashes.model}", len(crashes.at), quarantined
        )


def _built(key: str, sidecar: Sidecar | str) -> Iterator[Check]:
    what = f"built engine {key}"
    if isinstance(sidecar, str):
        yield wrong(what, sidecar, "nothing: it is built anew when it is needed")
        return
    engine = f"{sidecar.engine} for {sidecar.model}"
    again = f"readside doctor --clear {key} lets it be built anew"
    verdict = None if sidecar.verdict is None else verdict_of(sidecar.verdict)
    if sidecar.failure:
        yield wrong(what, f"{engine}: {sidecar.failure}", f"correct the cause; {again}")
    elif verdict is not None and not verdict.ok:
        yield wrong(what, f"{engine} is refused: {verdict.sentence}", f"keep to another engine; or {again}")


def _crashed(key: str, engine: str, times: int, quarantined: bool) -> Check:
    what = f"engine {key}"
    if not quarantined:
        return sound(what, f"{engine} ended its process once; it is still tried")
    return wrong(
        what,
        f"{engine} ended its process {times} times and is left alone",
        f"update the driver or the library; readside doctor --clear {key} lets it be tried again",
    )
