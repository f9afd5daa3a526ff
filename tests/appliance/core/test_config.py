"""The configuration: every fault at once, each named as the file spells it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from appliance.core import config, outputs
from appliance.core.config import ConfigError

WHOLE = """
[site]
name = "St. Elsewhere"

[dicom]
ae_title = "READSIDE"
port = 11112

[[peers]]
name = "pacs"
ae_title = "PACS1"
host = "10.0.0.1"
port = 104
may = ["store", "query"]
outputs = ["sr", "seg"]

[[peers]]
name = "ct1"
ae_title = "CT1"

[storage]
root = "/var/lib/readside"
floor_gib = 1.5

[assembly]
quiet_seconds = 30
confirm_with = "pacs"

[[routes]]
name = "bands"
when = 'Modality == "CT"'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""


def tree(text=WHOLE):
    return tomllib.loads(text)


def faults_of(tree):
    with pytest.raises(ConfigError) as caught:
        config.parse(tree)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def changed(*steps, value):
    """The whole file with one value put in."""
    made = tree()
    place = made
    for step in steps[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[steps[-1]] = value
    return made


def small(**sections):
    return config.parse({"site": {"name": "x"}, "storage": {"root": "/var/lib/x"}, **sections})


def test_a_whole_file_is_read(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(WHOLE, encoding="utf-8")
    read = config.load(path)
    assert read.site.name == "St. Elsewhere"
    assert read.peer("pacs").reachable
    assert not read.peer("ct1").reachable
    assert read.peer("ct1").may == ("store",)
    assert read.storage.floor_bytes == 3 * 2**29
    assert read.ledger_url == "sqlite:////var/lib/readside/ledger.sqlite3"
    assert read.run_dir == Path("/var/lib/readside/run")
    assert read.routes[0].mode == "release"


def test_the_smallest_file_has_defaults_for_the_rest():
    read = config.parse({"site": {"name": "x"}, "storage": {"root": "/data"}})
    assert (read.dicom.ae_title, read.console.host, read.inference.engines) == (
        "READSIDE",
        "127.0.0.1",
        ("cpu",),
    )
    assert read.console.users == ()


def test_a_ledger_elsewhere_is_named_by_its_url():
    read = config.parse(changed("ledger", "url", value="postgresql:///readside"))
    assert read.ledger_url == "postgresql:///readside"


def test_what_was_read_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        config.parse(tree()).site.name = "other"


def test_every_fault_is_reported_at_once():
    broken = tree()
    broken["sight"] = {}
    broken["dicom"] |= {"port": 99999, "colour": "red"}
    broken["peers"][0] |= {"ae_title": "MUCH TOO LONG A TITLE", "may": ["steal"]}
    broken["peers"].append({"name": "ct1", "ae_title": "CT2"})
    broken["storage"] = {}
    broken["assembly"]["quiet_seconds"] = 0
    broken["routes"].append(
        {"name": "lesion", "model": "m", "when": "true", "send_to": ["nobody", "ct1", "pacs"]}
    )
    faults = faults_of(broken)
    starts = [fault.split(":")[0] for fault in faults]
    assert starts == [
        "dicom.port",
        "dicom.colour",
        "peers.pacs.ae_title",
        "peers.pacs.may.0",
        "storage.root",
        "assembly.quiet_seconds",
        "sight",
        "peers",
        "routes.lesion.send_to",
        "routes.lesion.send_to",
    ]
    assert faults[1] == "dicom.colour: this key is not known"
    assert faults[4] == "storage.root: must be given"
    assert faults[-3:] == [
        "peers: 'ct1' stands there twice",
        "routes.lesion.send_to: no peer is called 'nobody'",
        "routes.lesion.send_to: peer 'ct1' needs host and port, or dicomweb, to be sent to",
    ]


@pytest.mark.parametrize(
    ("steps", "value", "where"),
    [
        (("dicom", "prot"), 1, "dicom.prot"),
        (("peers", 0, "hots"), "x", "peers.pacs.hots"),
        (("routes", 0, "whne"), "x", "routes.bands.whne"),
        (("registrie",), {"url": "x"}, "registrie"),
    ],
)
def test_an_unknown_key_is_named_where_it_stands(steps, value, where):
    assert faults_of(changed(*steps, value=value)) == [f"{where}: this key is not known"]


def test_an_entry_without_a_name_is_named_by_its_place():
    broken = tree()
    del broken["peers"][1]["name"]
    assert faults_of(broken) == ["peers.1.name: must be given"]


@pytest.mark.parametrize(
    ("steps", "value", "fault"),
    [
        (("routes", 0, "send_to"), ["pax"], "routes.bands.send_to: no peer is called 'pax'"),
        (
            ("routes", 0, "send_to"),
            ["ct1"],
            "routes.bands.send_to: peer 'ct1' needs host and port, or dicomweb, to be sent to",
        ),
        (("assembly", "confirm_with"), "pax", "assembly.confirm_with: no peer is called 'pax'"),
        (
            ("assembly", "confirm_with"),
            "ct1",
            "assembly.confirm_with: peer 'ct1' needs host and port to be asked",
        ),
        (("peers", 0, "may"), ["store"], "assembly.confirm_with: peer 'pacs' needs \"query\" in its `may`"),
        (
            ("peers", 1, "commitment"),
            True,
            "peers.ct1.commitment: needs host and port of the peer, to ask it",
        ),
        (("peers", 1, "name"), "pacs", "peers: 'pacs' stands there twice"),
        (("peers", 1, "ae_title"), "PACS1", "peers' ae_title: 'PACS1' stands there twice"),
    ],
)
def test_names_must_fit_each_other(steps, value, fault):
    assert fault in faults_of(changed(*steps, value=value))


def test_nothing_is_said_against_a_reference_to_an_entry_that_has_faults_itself():
    assert faults_of(changed("peers", 0, "port", value=0)) == [
        "peers.pacs.port: Input should be greater than or equal to 1"
    ]


def test_every_output_of_the_design_is_accepted_and_no_other():
    assert {"sr", "seg", "gsps", "sc", "text-sr", "pdf"} <= set(outputs.OUTPUTS)
    every = list(outputs.OUTPUTS)
    assert list(config.parse(changed("peers", 0, "outputs", value=every)).peer("pacs").outputs) == every
    (fault,) = faults_of(changed("peers", 0, "outputs", value=["sr", "rtstruct"]))
    assert fault.startswith("peers.pacs.outputs.1: ")


@pytest.mark.parametrize("title", ["", "A" * 17, "BACK\\SLASH", "Ümlaut", "   "])
def test_what_is_no_ae_title_is_refused(title):
    (fault,) = faults_of(changed("dicom", "ae_title", value=title))
    assert fault.startswith("dicom.ae_title: ")


def test_a_passcode_travels_under_tls_only_and_is_somebodys():
    passcodes = {"user_passcode": "/x", "shows_user": "p", "shows_user_passcode": "/y"}
    peer = {"name": "p", "ae_title": "P", **passcodes}
    with pytest.raises(config.ConfigError) as caught:
        config.parse({"site": {"name": "x"}, "storage": {"root": "/data"}, "peers": [peer]})
    assert caught.value.faults == [
        "peers.p.user_passcode: needs user, whose passcode it is",
        "peers.p.user_passcode: would travel in the clear; set tls = true, or leave it out",
        "peers.p.shows_user_passcode: would travel in the clear; set tls = true, or leave it out",
    ]


@pytest.mark.parametrize(("images", "results", "kept"), [(7, 365, 365), (400, 365, 400), (30, 1, 30)])
def test_results_are_kept_no_shorter_than_their_images(images: float, results: float, kept: float):
    storage = {"root": "/data", "retain_days": images, "retain_results_days": results}
    assert config.parse({"site": {"name": "x"}, "storage": storage}).storage.results_days == kept


@pytest.mark.parametrize("wrong", ["peers", "routes", "assembly", "storage"])
def test_a_section_of_the_wrong_kind_is_a_fault_and_no_crash(wrong):
    assert any(fault.startswith(wrong) for fault in faults_of(changed(wrong, value=7)))


def test_a_password_in_clear_text_is_refused_and_not_repeated():
    faults = faults_of(changed("console", "users", value=[{"name": "jo", "password_hash": "hunter2"}]))
    assert faults[0].startswith("console.users.jo.password_hash: ")
    assert "hunter2" not in "\n".join(faults)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        (b"[site\n", "is not TOML"),
        (b"[site]\nname = 'a'\nname = 'b'\n", "is not TOML"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_fault(tmp_path, content, fault):
    path = tmp_path / "site.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    (said,) = caught.value.faults
    assert said.startswith(f"{path}: {fault}")


@pytest.mark.parametrize(
    ("registry", "told"),
    [
        ({}, "off"),
        ({"url": "https://models.example", "device": "box"}, "health"),
        ({"url": "https://models.example", "device": "box", "telemetry": "off"}, "off"),
        ({"url": "https://models.example", "device": "box", "telemetry": "health+drift"}, "health+drift"),
        ({"url": "file:///media/stick", "device": "box", "telemetry": "health"}, "off"),
        ({"telemetry": "health+drift"}, "off"),
    ],
)
def test_numbers_leave_only_for_a_registry_that_is_named(registry, told):
    assert small(registry=registry).registry.told == told


def test_alarms_are_told_by_the_ways_that_are_whole():
    assert small().alerts.ways == ()
    mail = {"mail_host": "mail.example", "mail_from": "box@example.org", "mail_to": ["it@example.org"]}
    both = small(alerts={"webhook": "https://chat.example/x?key=1", **mail}).alerts
    assert both.ways == ("webhook", "mail")
    for lacking in mail:
        with pytest.raises(ConfigError, match=r"alerts\.mail_host: is given together"):
            small(alerts={name: value for name, value in mail.items() if name != lacking})


@pytest.mark.parametrize(
    ("root", "says"), [("var/lib", "absolute path"), ("/" + "x" * 90, "91 bytes long, at most 90")]
)
def test_a_root_that_cannot_hold_the_box_is_a_fault(root, says):
    with pytest.raises(ConfigError) as refused:
        config.parse({"site": {"name": "x"}, "storage": {"root": root}})
    assert [fault for fault in refused.value.faults if says in fault]


def test_an_audit_repository_that_cannot_prove_itself_is_refused():
    (fault,) = faults_of(changed("audit", value={"host": "audit.example"}))
    assert fault.startswith("audit.ca: must be given")


def test_a_certificate_comes_with_its_key():
    audit = {"host": "audit.example", "ca": "/ca.pem", "certificate": "/mine.pem"}
    (fault,) = faults_of(changed("audit", value=audit))
    assert fault.startswith("audit.certificate: is given together with audit.key")


TLS = {"certificate": "/c.pem", "key": "/c.key", "ca": "/ca.pem"}


def with_tls(peer, **section):
    made = tree()
    made["dicom"]["tls"] = TLS | section
    made["peers"][0] |= peer
    return made


def test_tls_takes_fingerprints_as_the_tools_write_them():
    digits = "AB" * 32
    spellings = (digits, ":".join(["ab"] * 32), [digits, "cd" * 32])
    taken = [
        config.parse(with_tls({"certificate_sha256": one})).peers[0].certificate_sha256 for one in spellings
    ]
    assert taken == [("ab" * 32,), ("ab" * 32,), ("ab" * 32, "cd" * 32)]
    made = config.parse(with_tls({"tls": True}))
    assert made.dicom.tls is not None
    assert (made.dicom.tls.port, made.dicom.tls.plain, made.peers[0].tls) == (2762, False, True)


@pytest.mark.parametrize(
    ("made", "fault"),
    [
        (
            tree() | {"peers": [{"name": "p", "ae_title": "P", "tls": True}]},
            "peers.p: tls and certificate_sha256 need",
        ),
        (with_tls({"certificate_sha256": "12"}), "peers.pacs.certificate_sha256.0: "),
        (with_tls({}, plain=True, port=11112), "dicom.tls.port: is dicom.port too"),
        (with_tls({}, colour="red"), "dicom.tls.colour: this key is not known"),
    ],
)
def test_what_tls_needs_is_asked_for(made, fault):
    assert any(said.startswith(fault) for said in faults_of(made)), faults_of(made)
