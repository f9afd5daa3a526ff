"""One check: what it looks at, what it stands on, and every fault that it may name.

Promises: a check names only faults that it lists.
Never: looks by itself; `provisioning.doctor.examine` says when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from provisioning.doctor.finding import Fault, Finding
from provisioning.doctor.site import Site

Look: TypeAlias = Callable[[Site, str], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check, in a file of its own.

    Attributes:
        id: its stable name.
        about: what it looks at, in a few words.
        look: looks at one subject; raises nothing that it can name.
        faults: all that it may find.
        needs: checks without whose success it would only find their faults once more.
        after: checks that it waits for, whatever they find.
        each: the subjects of a site, peers say; without it there is one, the box itself.
        of_site: whether it needs a configuration.
        asked: whether it writes into systems that are not ours, and so runs only when it was asked for.
        seconds_max: how long it may take with one subject.
    """

    id: str
    about: str
    look: Look
    faults: tuple[Fault, ...]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    each: Callable[[Site], Sequence[str]] | None = None
    of_site: bool = True
    asked: bool = False
    seconds_max: float = 15.0
