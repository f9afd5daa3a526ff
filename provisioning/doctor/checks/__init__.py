"""Every check there is, in the order in which they are told of."""

from __future__ import annotations

from typing import Final

from provisioning.doctor.check import Check
from provisioning.doctor.checks import (
    audit,
    backup,
    built_engines,
    clock,
    configuration,
    cpu,
    disk_speed,
    encryption,
    engines,
    filesystem,
    gpu,
    ledger,
    memory,
    models,
    peer_accepts,
    peer_associate,
    peer_calls_in,
    peer_echo,
    peer_move,
    peer_store,
    peer_tcp,
    peer_tls,
    permissions,
    ports,
    program,
    services,
    space,
    storage,
    thermals,
    tls_files,
    watchdog,
    writable,
)

CHECKS: Final[tuple[Check, ...]] = tuple(
    module.CHECK
    for module in (
        program,
        configuration,
        clock,
        memory,
        cpu,
        gpu,
        thermals,
        watchdog,
        storage,
        space,
        filesystem,
        writable,
        disk_speed,
        permissions,
        encryption,
        ledger,
        audit,
        backup,
        services,
        ports,
        tls_files,
        peer_tcp,
        peer_tls,
        peer_associate,
        peer_echo,
        peer_calls_in,
        peer_accepts,
        peer_store,
        peer_move,
        engines,
        models,
        built_engines,
    )
)
