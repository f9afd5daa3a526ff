"""The one error of the commands on bundles."""

from __future__ import annotations


class BundleFault(Exception):
    """The command was not carried out; the sentence says why and what to do."""
