from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from appliance.cli.app import app
from tests.certificates import Authority


def test_init_names_the_sections_to_edit(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path / "site.toml")])

    assert done.exit_code == 0
    assert "Edit [site], [[peers]] and [[routes]], then: " in done.output


def test_check_config_looks_at_the_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    own, another = authority.issue("box", days=3), authority.issue("another", days=90)
    file = tmp_path / "site.toml"

    def check(certificate: Path, key: Path) -> dict[str, Any]:
        file.write_text(
            f'[site]\nname = "s"\n[storage]\nroot = "{tmp_path}"\n[dicom.tls]\n'
            f'certificate = "{certificate}"\nkey = "{key}"\nca = "{authority.path}"\n'
        )
        done = CliRunner().invoke(app, ["check-config", str(file), "--json"])
        said: dict[str, Any] = json.loads(done.output)
        assert (done.exit_code == 0) is said["ok"]
        return said

    soon = check(own.certificate, own.key)
    assert (soon["ok"], len(soon["warnings"])) == (True, 2)
    assert soon["warnings"][0].startswith("dicom.tls.certificate: is valid for 2 more days, until ")
    own.key.chmod(0o644)
    assert "dicom.tls.key: other users" in check(own.certificate, own.key)["warnings"][0]
    wrong = check(own.certificate, another.key)
    assert wrong["faults"] == ["dicom.tls.key: does not belong to the certificate"]
    missing = check(tmp_path / "none.pem", own.key)
    assert missing["faults"] == ["dicom.tls.certificate: cannot be read: No such file or directory"]
    expired = authority.issue("late", days=-1)
    assert "dicom.tls.certificate: has expired" in check(expired.certificate, expired.key)["warnings"][0]


def test_a_token_is_shown_once_and_its_digest_is_what_the_configuration_takes() -> None:
    shown = dict(
        line.partition(sep)[::2] for line, sep in zip(_run("token").splitlines(), (": ", " = "), strict=True)
    )
    token = shown["Token, shown only now"]
    assert len(token) >= 40
    assert shown["token_sha256"].strip('"') == hashlib.sha256(token.encode()).hexdigest()


def test_check_config_looks_at_the_files_of_dicomweb(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("box", days=3)
    secret = tmp_path / "token"
    file = tmp_path / "site.toml"
    file.write_text(
        f"""
        site.name = "s"
        storage.root = "{tmp_path}"
        [dicomweb]
        host = "0.0.0.0"
        port = 8043
        tls = {{ certificate = "{pair.certificate}", key = "{pair.key}" }}
        clients = [{{ name = "archive", token_sha256 = "{"ab" * 32}" }}]
        [[peers]]
        name = "pacs"
        ae_title = "PACS"
        dicomweb = "http://pacs.example/dicom-web"
        dicomweb_token = "{secret}"
        """
    )
    report = json.loads(_run("check-config", str(file), "--json"))
    assert report["faults"] == ["peers.pacs.dicomweb_token: cannot be read"]
    secret.write_text("x")
    report = json.loads(_run("check-config", str(file), "--json"))
    assert report["faults"] == []
    assert any("in the clear" in one for one in report["warnings"])
    assert any(one.startswith("dicomweb.tls.certificate: is valid for") for one in report["warnings"])
    pair.key.unlink()
    report = json.loads(_run("check-config", str(file), "--json"))
    assert any(one.startswith("dicomweb.tls.key: cannot be read") for one in report["faults"])


def test_check_config_looks_at_the_token_of_the_worklist(tmp_path: Path) -> None:
    secret, file = tmp_path / "token", tmp_path / "site.toml"
    file.write_text(
        f"""
        site.name = "s"
        storage.root = "{tmp_path}"
        [[peers]]
        name = "pacs"
        ae_title = "PACS"
        host = "127.0.0.1"
        port = 104
        may = ["store", "query"]
        [worklist]
        url = "http://worklist.example/dicom-web"
        token = "{secret}"
        station = "BOX^99HOSP"
        """
    )
    assert json.loads(_run("check-config", str(file), "--json"))["faults"] == [
        "worklist.token: cannot be read"
    ]
    secret.write_text("x")
    report = json.loads(_run("check-config", str(file), "--json"))
    assert (report["faults"], len(report["warnings"])) == ([], 1)
    assert "in the clear" in report["warnings"][0]


def _run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments).stdout
