"""The server gives out the public tree with byte ranges, and nothing beside it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from appliance.sync.release import IMAGE, model_path
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.app import application
from provisioning.registry.server.setting import Setting
from tests.provisioning.field import NAME, SERVES, Field


@pytest.fixture
def client(field: Field) -> Iterator[httpx.Client]:
    """A client of the registry's server, which listens on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(application(Setting(folder=field.book.folder)), log_level="critical")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as made:
            yield made
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def place(field: Field) -> str:
    target = field.lists().target(model_path(NAME, SERVES))
    assert target is not None
    return f"/{IMAGE}/targets/{target.place}"


def test_lists_are_asked_for_anew_and_releases_are_kept(field: Field, client: httpx.Client):
    stamp = client.get("/image/metadata/timestamp.json")
    assert (stamp.status_code, stamp.headers["cache-control"]) == (200, "no-cache")
    release = client.get(place(field))
    assert "immutable" in release.headers["cache-control"]


def test_a_part_of_a_release_is_given(field: Field, client: httpx.Client):
    whole = client.get(place(field)).content
    part = client.get(place(field), headers={"Range": "bytes=1000-"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
    assert part.content == whole[1000:]


@pytest.mark.parametrize(
    "path",
    [
        "/../online/director-targets.pem",
        "/%2e%2e/online/director-targets.pem",
        "/image/../../online/director-targets.pem",
        "/online/director-targets.pem",
        "/registry.lock",
        "/image/metadata/",
    ],
)
def test_nothing_beside_the_public_tree_is_given(client: httpx.Client, path: str):
    assert client.get(path).status_code == 404


def test_a_link_out_of_the_tree_leads_nowhere(field: Field, client: httpx.Client):
    (field.public / "key.json").symlink_to(field.book.layout.online / "director-targets.pem")
    assert client.get("/key.json").status_code == 404


def test_it_takes_nothing(client: httpx.Client):
    assert client.put("/image/metadata/timestamp.json", content=b"{}").status_code == 405


def test_a_folder_without_a_registry_is_not_served(tmp_path: Path):
    with pytest.raises(RegistryFault, match="is no registry"):
        application(Setting(folder=tmp_path))
