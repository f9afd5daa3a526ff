"""Run the checks of a site: side by side where they do not stand on each other, each within its time.

Promises: every check ends, by its own word or by its time; a check that stands on a faulty one is not looked
at, and says because of what; the findings of one check are handed on together.
Never: waits for a check that hangs; its thread is left behind.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from appliance.core import log
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, State, Who, not_looked_at, wrong
from provisioning.doctor.site import Site

OVERDUE: Final = Fault(
    id="doctor.overdue",
    cause="what was looked at did not answer within the time that it has",
    fix="look whether a disk, a network drive or a driver hangs on this machine: `dmesg` tells",
    who=Who.TECHNICIAN,
)
BROKE: Final = Fault(
    id="doctor.broke",
    cause="the check itself failed",
    fix="send the ticket's line; the other checks stand",
    who=Who.US,
)
FAULTS: Final = (OVERDUE, BROKE)
_BLOCKING: Final = (State.FAULT, State.NOT_LOOKED_AT)

Key: TypeAlias = tuple[str, str]
Note: TypeAlias = Callable[[str], None]


def _nothing(_what: str) -> None:
    """Do nothing: the default for `on_begin`."""


@dataclass(frozen=True, kw_only=True)
class _Node:
    """One check with one subject."""

    check: Check
    subject: str

    @property
    def key(self) -> Key:
        return self.check.id, self.subject


@dataclass(kw_only=True)
class Examination:
    """One run of some checks over a site.

    Attributes:
        on_begin: hears of each check that begins, on the thread that runs the examination.
    """

    site: Site
    checks: Sequence[Check]
    on_begin: Note = _nothing
    _done: dict[Key, list[Finding]] = field(default_factory=dict, init=False)
    _until: dict[Key, float] = field(default_factory=dict, init=False)
    _told: queue.Queue[tuple[Key, list[Finding]]] = field(default_factory=queue.Queue, init=False)

    def __post_init__(self) -> None:
        """Lay out what is to be looked at; before that the site's subjects must be known."""
        self._nodes = {node.key: node for check in self.checks for node in self._nodes_of(check)}

    @property
    def size(self) -> int:
        """Return how many looks there are."""
        return len(self._nodes)

    def run(self) -> Iterator[list[Finding]]:
        """Yield what each look came to, as soon as it is known."""
        waiting = list(self._nodes.values())
        while waiting or self._until:
            for node in list(waiting):
                if not self._may_begin(node):
                    continue
                if blocked := self._blocked(node):
                    waiting.remove(node)
                    yield self._end(node.key, [blocked])
                elif len(self._until) < self.site.limits.at_once_max:
                    waiting.remove(node)
                    self._begin(node)
            if self._until:
                yield from self._heard()

    def _nodes_of(self, check: Check) -> list[_Node]:
        known = self.site.read is not None
        subjects = list(check.each(self.site)) if check.each is not None and known else [""]
        return [_Node(check=check, subject=subject) for subject in subjects]

    def _needed(self, node: _Node, ids: Sequence[str]) -> list[Key]:
        """Return the looks that one waits for: those at the same subject, or all where none is at it."""
        found: list[Key] = []
        for wanted in ids:
            same = (wanted, node.subject)
            every = [key for key in self._nodes if key[0] == wanted]
            found += [same] if same in self._nodes else every
        return found

    def _may_begin(self, node: _Node) -> bool:
        awaited = self._needed(node, (*node.check.needs, *node.check.after))
        return all(key in self._done for key in awaited)

    def _blocked(self, node: _Node) -> Finding | None:
        """Return why a look would tell nothing: the fault that is at the bottom of it."""
        for key in self._needed(node, node.check.needs):
            for finding in self._done[key]:
                if finding.state in _BLOCKING:
                    root = finding.fault.id if finding.fault is not None else finding.because
                    text = f"because of {root}" if root else finding.text
                    whose = finding.subject if finding.subject != node.subject else ""
                    return not_looked_at(f"{text} {whose}".rstrip(), because=root)
        return None

    def _begin(self, node: _Node) -> None:
        self.on_begin(f"{node.check.about} {node.subject}".rstrip())
        self._until[node.key] = time.monotonic() + node.check.seconds_max
        threading.Thread(target=self._look, args=(node,), name=f"doctor-{node.check.id}", daemon=True).start()

    def _look(self, node: _Node) -> None:
        """Look, on a thread of its own."""
        try:
            found = list(node.check.look(self.site, node.subject))
        # One check that meets what nobody thought of must not take the others with it; its text may quote
        # what was handled, so only its kind and place are told.
        except Exception as error:  # noqa: BLE001 - the main loop of a check
            found = [wrong(BROKE, f"{type(error).__name__} at {log.where(error)}")]
        self._told.put((node.key, found))

    def _heard(self) -> Iterator[list[Finding]]:
        """Wait for the next look to end, or for the first that is out of time."""
        key = min(self._until, key=lambda each: self._until[each])
        try:
            key, found = self._told.get(timeout=max(0.0, self._until[key] - time.monotonic()))
        except queue.Empty:
            seconds = self._nodes[key].check.seconds_max
            found = [wrong(OVERDUE, f"it had not ended after {seconds:g} s", seconds=seconds)]
        # One that was given up may still come to an end.
        if key in self._until:
            del self._until[key]
            yield self._end(key, found)

    def _end(self, key: Key, found: list[Finding]) -> list[Finding]:
        named = [replace(one, check=key[0], subject=one.subject or key[1]) for one in found]
        self._done[key] = named
        return named
