"""The worklist as a site's configuration means it: whom the box trusts."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config, parse
from appliance.services.wire import worklist_peer
from dicom_node.dicomweb.ups import UpsClient
from tests.certificates import Authority
from tests.worklist import Origin, serving

PEER = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["store", "query"]}


def site(url: str, folder: Path, ca: Path) -> Config:
    ours = Authority(folder / "ours").issue("box")
    tls = {"certificate": str(ours.certificate), "key": str(ours.key), "ca": str(ca)}
    return parse(
        {
            "site": {"name": "s"},
            "dicom": {"tls": tls},
            "storage": {"root": "/x"},
            "peers": [PEER],
            "worklist": {"url": url, "station": "BOX"},
        }
    )


def asked(config: Config) -> str | None:
    return UpsClient(worklist_peer(config), requester=config.dicom.ae_title).search(station="BOX").word


def test_under_tls_the_worklist_proves_itself_first(tmp_path: Path) -> None:
    known, foreign = Authority(tmp_path / "known"), Authority(tmp_path / "foreign")
    origin = Origin()
    with serving(origin, known.issue("worklist")) as url:
        assert asked(site(url, tmp_path, known.path)) is None
        assert asked(site(url, tmp_path, foreign.path)) == "worklist.tls_foreign_ca"
        wrong_name = url.replace("127.0.0.1", "localhost")
        assert asked(site(wrong_name, tmp_path, known.path)) == "worklist.tls_wrong_name"
    assert len(origin.asked) == 1, "nothing is asked of who is not proven"
