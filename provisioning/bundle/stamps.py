"""Who stamps bundles: a key of its own under roots of its own; its theft reaches no box with a network.

Promises: the roots of bundles are signed by the holders of the registry's root and name the same offline keys
for releases; the key that stamps bundles stands in no other root.
Never: puts anything of a root into the next one that was not read from the registry's own, held good.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from appliance.sync.release import DIRECTOR, IMAGE
from provisioning.bundle.faults import BundleFault
from provisioning.registry import keys
from provisioning.registry.book import ONLINE, Book

_KEY, _NEXT = "bundle", ".bundle.new"


def begin(book: Book, holders: Sequence[Path], *, new_key: bool = False) -> None:
    """Make the roots of bundles, or sign them for another year; with `new_key` for another key.

    Raises:
        RegistryFault: too few holders, or the registry is not what they signed.
    """
    with book.alone():
        offline = book.offline_signers(holders)
        place = keys.path_of(book.layout.bundle, _KEY)
        fresh = new_key or not place.is_file()
        path = keys.path_of(book.layout.bundle, _NEXT) if fresh else place
        if fresh:
            path.unlink(missing_ok=True)
        signer = keys.make(path, None) if fresh else keys.load(path, None)
        for repository in (IMAGE, DIRECTOR):
            own = {role: [signer] for role in ONLINE[repository]}
            book.bundle_lists(repository).root_like(book.lists(repository), own, offline)
        if fresh:
            path.rename(place)


def signer_of(book: Book) -> CryptoSigner:
    """Open the key that stamps bundles.

    Raises:
        BundleFault: there is none yet.
    """
    path = keys.path_of(book.layout.bundle, _KEY)
    if not path.is_file():
        raise BundleFault(
            "this registry stamps no bundles yet: the holders of its root make the key for it with"
            " `readside provision bundle init`"
        )
    return keys.load(path, None)
