"""Where everything lies in a registry: one public tree for origin, mirror, CDN and stick; keys beside it.

Promises: what may be served or copied is `public/` and nothing else.
Never: puts a private key below `public/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.sync.release import DIRECTOR, IMAGE, METADATA, TARGETS


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders of one registry; `folder` is the one that every command names."""

    folder: Path

    @property
    def public(self) -> Path:
        """Return the tree that devices read."""
        return self.folder / "public"

    @property
    def online(self) -> Path:
        """Return the folder of the server's own keys."""
        return self.folder / "online"

    @property
    def authority(self) -> Path:
        """Return the folder of the authority that makes the certificates of devices."""
        return self.online / "ca"

    @property
    def claim_key(self) -> Path:
        """Return the file with the key of the digests of claim codes."""
        return self.online / "claim.key"

    @property
    def lock(self) -> Path:
        """Return the file that keeps two commands apart."""
        return self.folder / "registry.lock"

    @property
    def bundle(self) -> Path:
        """Return the folder of what stamps bundles: its key, and lists of its own."""
        return self.folder / "bundle"

    def metadata(self, repository: str) -> Path:
        """Return the folder of the signed lists of a repository."""
        assert repository in (IMAGE, DIRECTOR)
        return self.public / repository / METADATA

    def targets(self, repository: str) -> Path:
        """Return the folder of the files that the lists of a repository name."""
        assert repository in (IMAGE, DIRECTOR)
        return self.public / repository / TARGETS
