"""What a service tells who started it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.alive import Notifier


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        yield ear


def words(ear: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(ear.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_first_word_is_ready_and_the_next_ones_feed_the_watchdog(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": heard.getsockname(), "WATCHDOG_USEC": "60000000"})
    now = [100.0]
    monkeypatch.setattr("appliance.core.alive.time.monotonic", lambda: now[0])
    notifier.alive()
    notifier.alive()
    assert words(heard) == ["READY=1"]
    now[0] += 14
    notifier.alive()
    assert words(heard) == []
    now[0] += 1
    notifier.alive()
    assert words(heard) == ["WATCHDOG=1"]
    notifier.stopping()
    assert words(heard) == ["STOPPING=1"]


def test_without_a_watchdog_it_says_only_that_it_is_ready(heard: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": heard.getsockname()})
    for _ in range(3):
        notifier.alive()
    assert words(heard) == ["READY=1"]


def test_an_abstract_socket_is_one_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("")
        name = ear.getsockname()
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name[1:].decode()})
        notifier.alive()
        assert ear.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nobody/listens/here"}])
def test_where_nobody_listens_nothing_happens(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.alive()
    notifier.stopping()
