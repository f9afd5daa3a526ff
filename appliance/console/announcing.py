"""What peers said belongs to a study, in plain sentences: what of it is not here, and what still goes on.

Never: writes a patient's name or identity.
"""

from __future__ import annotations

from appliance.console.text import counted, moment
from appliance.core.words import StudyState
from appliance.ledger import notices
from appliance.ledger.announced import Announced
from appliance.ledger.engine import Ledger
from appliance.ledger.studies import Study


def incomplete(said: Announced) -> str:
    """Say by how much a study that gathers is incomplete; nothing if it is not known to be."""
    return f"; incomplete by {said.absent} of {said.instances} that were announced" if said.absent else ""


def sentences(study: Study, said: Announced) -> list[str]:
    """Say what was announced, what of it is not here, and whether a step of it is still performed."""
    notes = []
    if said.instances:
        here = f"{said.absent} of them never came" if said.absent else "no more of them are waited for"
        notes.append(f"Announced of it: {counted(said.instances, 'image')}; {here}.")
    if said.in_progress and study.state is StudyState.GATHERING:
        notes.append(
            f"In progress: {counted(said.in_progress, 'procedure step')} of it. Until the modality ends it or"
            " the deadline passes, silence does not make the study complete."
        )
    return notes


def only_announced(ledger: Ledger, study_uid: str) -> list[str]:
    """Say what peers said of a study, whether anything of it was ever kept or not."""
    with ledger.read() as tx:
        told = notices.of_study(tx, study_uid)
    return [
        f"{one.peer} announced {counted(one.instances, 'instance')} of it at {moment(one.changed_at)}"
        f" ({one.kind.value}, {one.state.value.lower()})."
        for one in told
    ]
