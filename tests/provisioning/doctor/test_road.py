"""The road to a host, its proxies, and what time it is at its end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.core.config import Config, parse
from provisioning.doctor.machine import Machine
from provisioning.doctor.road import Unreached, ask, reach, road_to
from provisioning.doctor.site import Site
from provisioning.doctor.timesource import _seconds, _servers, offset_of
from tests.provisioning.doctor.rig import DAY, Web, lists, time_server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class TestRoad:
    def test_ports_and_paths_of_an_address(self):
        road = road_to("https://fleet.example.org/tree/")
        assert (road.host, road.port, road.path, road.proxy) == ("fleet.example.org", 443, "/tree", None)
        assert road_to("http://fleet.example.org:8080").port == 8080

    def test_the_proxy_of_the_environment_and_its_log_in(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("https_proxy", "http://us%40er:pass@proxy.example.org:3128")
        road = road_to("https://fleet.example.org")
        assert road.proxy == ("proxy.example.org", 3128)
        assert road.login == "us@er:pass"
        assert "pass" not in road.named, "what is shown to a person holds no password"
        monkeypatch.setenv("no_proxy", "example.org")
        assert road_to("https://fleet.example.org").proxy is None

    def test_a_proxy_is_asked_for_the_whole_address_in_the_clear(self, monkeypatch: pytest.MonkeyPatch):
        asked: list[str] = []

        def answer(path: str) -> tuple[int, dict[str, str], bytes]:
            asked.append(path)
            return 407, {}, b""

        with Web(answer).serving() as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            road = road_to("http://fleet.example.org/tree")
            with reach(road, seconds_max=2) as line:
                found = ask(line, road, "a/b.json", bytes_max=10)
        assert found.status == 407
        assert asked == ["http://fleet.example.org:80/tree/a/b.json"]

    def test_a_proxy_that_speaks_no_http(self, monkeypatch: pytest.MonkeyPatch):
        def talk(line: socket.socket) -> None:
            line.recv(1024)
            line.sendall(b"220 mail.example.org ESMTP\r\n\r\n")

        with talking(talk) as port:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
            with pytest.raises(Unreached, match="no HTTP") as caught:
                reach(road_to("https://fleet.example.org"), seconds_max=2)
        assert caught.value.word == "proxy_blocks"

    def test_an_answer_is_read_to_its_bound(self):
        with Web(lambda _: (200, {}, b"x" * 100_000)).serving() as web:
            road = road_to(f"http://127.0.0.1:{web.port}")
            with reach(road, seconds_max=2) as line:
                assert len(ask(line, road, "", bytes_max=1_000).body) == 1_000


class TestTime:
    @pytest.mark.parametrize("off_seconds", [0.0, DAY, -DAY])
    def test_a_time_server(self, off_seconds: float):
        with time_server(off_seconds) as server:
            found = offset_of(Site(ntp=server))
        assert found is not None
        assert abs(found.seconds - off_seconds) < 5

    def test_an_answer_to_somebody_else_is_none(self):
        def talk(line: socket.socket) -> None:
            _, caller = line.recvfrom(512)
            line.sendto(bytes([0x24, 2]) + bytes(46), caller)

        with talking(talk, socket.SOCK_DGRAM) as port:
            assert offset_of(Site(ntp=f"127.0.0.1:{port}")) is None

    def test_the_era_that_begins_in_2036(self):
        assert _seconds(bytes(8)) == 2_085_978_496
        assert (
            abs(_seconds((int(time.time()) + 2_208_988_800).to_bytes(4, "big") + bytes(4)) - time.time()) < 5
        )

    def test_the_servers_that_the_machine_is_told_of(self, tmp_path: Path):
        (tmp_path / "etc/systemd").mkdir(parents=True)
        (tmp_path / "etc/systemd/timesyncd.conf").write_text(
            "[Time]\n#NTP=no.example\nNTP=a.example b.example\n"
        )
        (tmp_path / "etc/chrony").mkdir()
        (tmp_path / "etc/chrony/chrony.conf").write_text("pool c.example iburst\nserver d.example\n")
        found = list(_servers(Machine(root=tmp_path)))
        assert found == ["a.example", "b.example", "c.example", "d.example"]

    def test_the_date_of_a_registry(self):
        with Web(lists, clock_off_seconds=DAY).serving() as web:
            site = Site.of(None)
            site.read = _registry_at(f"http://127.0.0.1:{web.port}")
            found = offset_of(site)
        assert found is not None
        assert abs(found.seconds - DAY) < 5


def _registry_at(url: str) -> Config:
    return parse({"site": {"name": "s"}, "storage": {"root": "/x"}, "registry": {"url": url, "device": "d"}})


@contextmanager
def talking(talk: Callable[[socket.socket], None], kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Somebody on loopback who says one thing to the first who calls."""
    with socket.socket(socket.AF_INET, kind) as held:
        held.bind(("127.0.0.1", 0))
        held.settimeout(10)
        if kind == socket.SOCK_STREAM:
            held.listen()

        def serve() -> None:
            if kind == socket.SOCK_STREAM:
                line, _ = held.accept()
                with line:
                    talk(line)
            else:
                talk(held)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield held.getsockname()[1]
        thread.join(10)
