"""Asking a peer whether it is there: what it says when it is not willing, and what it may leave out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pynetdicom import AE

from dicom_node.echo import answers, echo
from dicom_node.errors import NoAssociation
from dicom_node.storage_classes import VERIFICATION
from dicom_node.values import AeTitle
from tests.dicom_node.samples import CT, LIMITS, serving


def test_a_peer_that_offers_verification_and_one_that_does_not():
    for sop_class, offered in ((VERIFICATION, True), (CT, False)):
        entity = AE("PACS")
        entity.add_supported_context(sop_class)
        with serving(entity) as peer:
            assert answers(peer, calling_ae="BOX", limits=LIMITS) is offered
            assert echo(peer, calling_ae="BOX", limits=LIMITS).ok is offered


@pytest.mark.parametrize(
    ("known", "numbers"), [("calling", (1, 1, 3)), ("called", (1, 1, 7))], ids=["calling", "called"]
)
def test_a_rejection_brings_the_numbers_that_say_why(known: str, numbers: tuple[int, int, int]):
    entity = AE("PACS")
    entity.add_supported_context(VERIFICATION)
    entity.require_called_aet = True
    entity.require_calling_aet = ["SOMEBODY"] if known == "calling" else []
    with serving(entity) as peer, pytest.raises(NoAssociation) as caught:
        title = "ANOTHER" if known == "called" else "PACS"
        answers(replace(peer, ae_title=AeTitle.parse(title)), calling_ae="BOX", limits=LIMITS)
    assert (caught.value.reason, caught.value.rejection) == ("rejected", numbers)
