"""One Triton server for a whole test session; a test module asks for it by `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.triton.server import Triton, obstacle


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A server that runs; skipped, with the reason, where it cannot."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    server = Triton(tmp_path_factory.mktemp("triton"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def triton(triton_server: Triton) -> Iterator[Triton]:
    """The server, which a test may kill: it is started again for the next."""
    if not triton_server.running:
        triton_server.start()
    yield triton_server
    if triton_server.running:
        triton_server.resume()
