"""What a box speaks on its associations: every pair of SOP class and transfer syntax, in each role.

Promises: what is listed is read from the tables that negotiate, so that the two cannot differ.
Never: opens an association.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.core.config import Config, Peer
from appliance.core.outputs import SOP_CLASSES
from appliance.services.noticing import is_heard as hears_notices
from appliance.services.promising import is_spoken as speaks_commitment
from dicom_node.commitment import commitment_context
from dicom_node.find import find_contexts
from dicom_node.get import get_context
from dicom_node.listener import supported_contexts
from dicom_node.move import move_context
from dicom_node.storage_classes import VERIFICATION, name_of
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, NATIVE


class Role(StrEnum):
    """The part that an application entity takes (PS3.7 7.1)."""

    SCU = "SCU"
    SCP = "SCP"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One SOP class in one role, with the transfer syntaxes in which it is spoken; UIDs."""

    role: Role
    sop_class: str
    syntaxes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the SOP class."""
        return name_of(self.sop_class)


def accepted(config: Config) -> list[Offer]:
    """Return what the listener accepts of a peer's proposal."""
    contexts = supported_contexts(commitment=speaks_commitment(config), notices=hears_notices(config))
    return [
        Offer(
            role=Role.SCP,
            sop_class=str(context.abstract_syntax),
            syntaxes=tuple(str(syntax) for syntax in context.transfer_syntax),
        )
        for context in contexts
    ]


def proposed(config: Config) -> list[Offer]:
    """Return what the box proposes to peers, each SOP class once."""
    offers: dict[str, Offer] = {}
    for sop_class, syntaxes in _proposals(config):
        known = offers[sop_class].syntaxes if sop_class in offers else ()
        joined = tuple(dict.fromkeys([*known, *syntaxes]))
        offers[sop_class] = Offer(role=Role.SCU, sop_class=sop_class, syntaxes=joined)
    return list(offers.values())


def retrieves_by_get(config: Config) -> bool:
    """Say whether studies are fetched by C-GET, on which the box is an SCP of storage (PS3.4 C.4.3)."""
    return any(peer.retrieve == "get" for peer in _asked(config))


def _proposals(config: Config) -> Iterator[tuple[str, Sequence[str]]]:
    if any(peer.reachable for peer in config.peers):
        yield VERIFICATION, NATIVE
    for peer in config.peers:
        for output in peer.outputs if peer.reachable else ():
            yield SOP_CLASSES[output], [EXPLICIT_VR_LITTLE_ENDIAN]
    contexts = [*find_contexts()] if _asked(config) else []
    for peer in _asked(config):
        contexts.append(get_context() if peer.retrieve == "get" else move_context())
    if speaks_commitment(config):
        contexts.append(commitment_context())
    for context in contexts:
        yield str(context.abstract_syntax), [str(syntax) for syntax in context.transfer_syntax]


def _asked(config: Config) -> list[Peer]:
    """Return the peers that the box may query and retrieve from."""
    return [peer for peer in config.peers if "query" in peer.may and peer.reachable]
