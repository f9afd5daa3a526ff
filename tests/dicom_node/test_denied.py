"""Why there is no association: a peer's rejection is quoted, wherever the library left it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_P_ABORT

from dicom_node.denied import rejection_of


def association(primitive: object, unread: list[object]) -> Any:
    """What is asked of one that did not come about."""
    return SimpleNamespace(
        acceptor=SimpleNamespace(primitive=primitive),
        dul=SimpleNamespace(to_user_queue=SimpleNamespace(queue=unread)),
    )


def answer(result: int) -> A_ASSOCIATE:
    """An answer to a request; 0 accepts."""
    said = A_ASSOCIATE()
    said.result, said.result_source, said.diagnostic = result, 1, 7
    return said


@pytest.mark.parametrize(
    ("primitive", "unread", "numbers"),
    [
        (answer(1), [], (1, 1, 7)),
        (None, [A_P_ABORT(), answer(2)], (2, 1, 7)),
        (answer(0), [A_P_ABORT()], None),
        (None, [], None),
    ],
)
def test_a_rejection_is_found_though_the_connection_ended_first(
    primitive: object, unread: list[object], numbers: tuple[int, int, int] | None
) -> None:
    assert rejection_of(association(primitive, unread)) == numbers
