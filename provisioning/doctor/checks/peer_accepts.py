"""What a destination takes: SOP classes and transfer syntaxes of the results that it is configured to get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.outputs import INSTEAD, SOP_CLASSES, Output
from appliance.services.wire import wire_peer
from dicom_node.accepts import Pair, accepts
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site, destinations_of

NOTHING = Fault(
    id="peer.takes-nothing",
    cause="the PACS takes none of the kinds of object that results are sent as",
    fix="have the box allowed to store these SOP classes, in Explicit VR Little Endian",
    who=Who.PACS,
)
LESS = Fault(
    id="peer.takes-less",
    cause="the PACS does not take every kind of object that it is configured to get",
    fix="have the missing SOP classes allowed, or leave them out of `outputs` of the peer",
    who=Who.PACS,
    grave=False,
)
_SYNTAXES: Final = {
    EXPLICIT_VR_LITTLE_ENDIAN: "Explicit VR Little Endian",
    IMPLICIT_VR_LITTLE_ENDIAN: "Implicit VR Little Endian",
}


def _look(site: Site, name: str) -> Iterator[Finding]:
    peer, config = site.peer(name), site.config
    classes = dict.fromkeys(SOP_CLASSES.values())
    pairs = [(sop_class, syntax) for sop_class in classes for syntax in _SYNTAXES]
    said = accepts(wire_peer(peer, config), calling_ae=config.dicom.ae_title, pairs=pairs, limits=WIRE)
    if not said.answered:
        # It associated for Verification a moment ago: it is storage that it does not want.
        yield wrong(NOTHING, f"it does not associate for storage ({said.word})")
        return
    taken = {sop_class for sop_class, syntax in said.accepted if syntax == EXPLICIT_VR_LITTLE_ENDIAN}
    site.notes["takes", name] = taken
    outputs = [output for output in peer.outputs if SOP_CLASSES[output] in taken]
    text = f"takes {_listed(outputs, said.accepted) or 'nothing'}"
    lacking = [output for output in peer.outputs if output not in outputs]
    if not any(_goes(output, taken) for output in peer.outputs):
        yield wrong(NOTHING, f"{text} of {', '.join(peer.outputs)}")
    elif lacking:
        yield wrong(LESS, f"{text}; not {', '.join(lacking)}")
    else:
        yield sound(text, outputs=", ".join(outputs))


def _goes(output: Output, taken: set[str]) -> bool:
    """Say whether a kind of object, or what stands in for it, can be sent."""
    step: Output | None = output
    while step is not None and SOP_CLASSES[step] not in taken:
        step = INSTEAD.get(step)
    return step is not None


def _listed(outputs: list[Output], accepted: frozenset[Pair]) -> str:
    """Name each output with the syntaxes that it is taken in."""
    taken = {
        output: [name for uid, name in _SYNTAXES.items() if (SOP_CLASSES[output], uid) in accepted]
        for output in outputs
    }
    return "; ".join(f"{output} in {' and '.join(names)}" for output, names in taken.items())


CHECK = Check(
    id="peer-accepts",
    about="what is taken by peer",
    look=_look,
    faults=(NOTHING, LESS),
    needs=("peer-associate",),
    each=destinations_of,
    seconds_max=45.0,
)
