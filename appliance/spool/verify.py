"""Check that the bytes of instances are still those that were kept (F41)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from appliance.core.instance import Instance
from appliance.spool.record import digest_of
from appliance.spool.store import Spool

_THREADS = 2


def damaged(spool: Spool, instances: Sequence[Instance]) -> list[Instance]:
    """Return the instances whose bytes are gone or no longer fit their digest."""
    with ThreadPoolExecutor(_THREADS) as pool:
        sound = pool.map(lambda instance: _is_sound(spool, instance), instances)
    return [instance for instance, good in zip(instances, sound, strict=True) if not good]


def _is_sound(spool: Spool, instance: Instance) -> bool:
    try:
        data = spool.read(instance.location)
    except OSError:
        return False
    return digest_of(data) == instance.digest
