"""What an address of the configuration is, without asking anybody: a number, and this machine's own."""

from __future__ import annotations

import ipaddress


def is_number(host: str) -> bool:
    """Say whether a host is given by its IP address and needs no looking up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    return host == "localhost" or (is_number(host) and ipaddress.ip_address(host).is_loopback)
