"""User Identity Negotiation: the box names a user, and lets nobody in who does not name theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from structlog.testing import capture_logs

from dicom_node.echo import echo
from dicom_node.listener import Listener
from dicom_node.roster import OnSuspect, Suspect
from dicom_node.user import User, UserFault
from dicom_node.values import Peer
from tests.dicom_node.samples import LIMITS, Shelf

SECRET = "correct horse"
Start = Callable[..., int]


@pytest.fixture
def passcode(tmp_path: Path) -> Path:
    path = tmp_path / "passcode"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    return path


@pytest.fixture
def started(shelf: Shelf) -> Iterator[Start]:
    """Start listeners that know one peer; return their ports."""
    with ExitStack() as ending:

        def start(peer: Peer, on_suspect: OnSuspect = lambda _suspect: None) -> int:
            listener = Listener(
                ae_title="BOX",
                host="127.0.0.1",
                port=0,
                peers=[peer],
                intake=shelf,
                limits=LIMITS,
                on_suspect=on_suspect,
            )
            ending.callback(listener.stop)
            return listener.start()

        yield start


def shown(kind: int, name: bytes, passcode: bytes | None = None) -> UserIdentityNegotiation:
    item = UserIdentityNegotiation()
    item.user_identity_type, item.primary_field = kind, name
    if passcode is not None:
        item.secondary_field = passcode
    return item


@pytest.mark.parametrize(
    ("item", "known"),
    [
        (shown(2, b"pacs", SECRET.encode()), True),
        (shown(2, b"pacs", b"another"), False),
        (shown(2, b"pac", SECRET.encode()), False),
        (shown(1, b"pacs"), False),
        (shown(5, b"pacs"), False),
        (None, False),
    ],
)
def test_a_name_holds_with_its_passcode_only(passcode: Path, item: object, known: bool) -> None:
    assert User(name="pacs", passcode=passcode).is_shown_in([object(), item]) is known


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"x" * 1025])
def test_a_file_that_holds_no_passcode_is_named_and_not_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "passcode"
    path.write_bytes(content)
    with pytest.raises(UserFault, match="must hold one line") as caught:
        User(name="pacs", passcode=path).item()
    assert str(path) in str(caught.value)
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "word"),
    [("pacs", "echo.ok"), ("other", "echo.rejected"), (None, "echo.rejected")],
)
def test_who_has_to_show_a_user_is_rejected_without(
    started: Start, passcode: Path, user: str | None, word: str
) -> None:
    suspects: list[Suspect] = []
    wanted = User(name="pacs", passcode=passcode)
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=0, shows=wanted)
    port = started(peer, suspects.append)
    shows = None if user is None else User(name=user, passcode=passcode)
    box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port, user=shows)
    with capture_logs() as logs:
        assert echo(box, calling_ae="PACS", limits=LIMITS).word == word
    refused = word != "echo.ok"
    assert [(one.word, one.reason) for one in suspects] == [("roster.user_refused", "user")] * refused
    assert SECRET not in str(logs)


def test_a_new_passcode_holds_at_once(started: Start, tmp_path: Path, passcode: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("old", encoding="utf-8")
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=0, shows=User(name="p", passcode=theirs))
    port = started(peer)
    box = Peer(
        name="box", ae_title="BOX", host="127.0.0.1", port=port, user=User(name="p", passcode=passcode)
    )
    assert echo(box, calling_ae="PACS", limits=LIMITS).word == "echo.rejected"
    theirs.write_text(SECRET, encoding="utf-8")
    assert echo(box, calling_ae="PACS", limits=LIMITS).word == "echo.ok"
    passcode.unlink()
    assert echo(box, calling_ae="PACS", limits=LIMITS).word == "echo.user_file"
    theirs.unlink()
    passcode.write_text(SECRET, encoding="utf-8")
    assert echo(box, calling_ae="PACS", limits=LIMITS).word == "echo.rejected", "none can be known"


def test_a_user_that_nobody_asked_for_is_ignored(started: Start, passcode: Path) -> None:
    peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=0)
    port = started(peer)
    box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port, user=User(name="somebody"))
    assert echo(box, calling_ae="PACS", limits=LIMITS).word == "echo.ok"
    assert echo(replace(box, user=None), calling_ae="PACS", limits=LIMITS).word == "echo.ok"
