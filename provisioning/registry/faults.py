"""What a command on a registry says when it does nothing."""

from __future__ import annotations


class RegistryFault(Exception):
    """Nothing was published or changed; the sentence says why and what to do."""
