"""The link into the site's own viewer: what may stand in the configuration, and what comes of it."""

from __future__ import annotations

import pytest

from appliance.core.config import ConfigError, parse
from appliance.core.viewerlink import fault_of, filled

OHIF = "https://viewer.example:8443/viewer?StudyInstanceUIDs={study_uid}"
BY_NUMBER = "http://viewer.example/open/{accession_number}"


@pytest.mark.parametrize(
    "link", [OHIF, BY_NUMBER, "https://[2001:db8::1]/{study_uid}?a={accession_number}#x"]
)
def test_a_link_that_names_a_study_is_sound(link):
    assert fault_of(link) == ""


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("javascript:alert('{study_uid}')", "http://"),
        ("file:///{study_uid}", "http://"),
        ("//viewer.example/{study_uid}", "http://"),
        ("https:///{study_uid}", "host"),
        ("https://{study_uid}/", "host"),
        ("https://{study_uid}.viewer.example/", "host"),
        ("https://amina:secret@viewer.example/{study_uid}", "password"),
        ("https://viewer.example/", "names no study"),
        ("https://viewer.example/{patient_name}/{study_uid}", "no other name"),
        ("https://viewer.example/{study_uid}}", "no other name"),
        ("https://viewer.example/{study_uid!r}", "no other name"),
        ("https://viewer.example/a b/{study_uid}", "character"),
        ('https://viewer.example/"{study_uid}', "character"),
        ("https://viewer.example/\n{study_uid}", "character"),
        ("https://viewér.example/{study_uid}", "character"),
        ("https://viewer.example:port/{study_uid}", "not an address"),
    ],
)
def test_any_other_link_is_a_fault_that_says_why(link, word):
    assert word in fault_of(link)


def test_a_configuration_names_the_key_that_is_at_fault(tmp_path):
    tree = {"site": {"name": "x"}, "storage": {"root": str(tmp_path)}}
    assert parse({**tree, "console": {"viewer_link": OHIF}}).console.viewer_link == OHIF
    with pytest.raises(ConfigError, match=r"^console\.viewer_link: must begin with http"):
        parse({**tree, "console": {"viewer_link": "ftp://viewer.example/{study_uid}"}})


def test_a_value_cannot_leave_its_place_in_the_address():
    address = filled(BY_NUMBER, study_uid="1.2.3", accession_number=" ../A 1?x=y&z#{study_uid}é")
    assert address == "http://viewer.example/open/..%2FA%201%3Fx%3Dy%26z%23%7Bstudy_uid%7D%C3%A9"


def test_both_names_are_filled_in():
    link = "https://viewer.example/{study_uid}/{accession_number}/{study_uid}"
    assert filled(link, study_uid="1.2", accession_number="A1") == "https://viewer.example/1.2/A1/1.2"


def test_a_study_without_the_number_that_is_asked_for_has_no_link():
    assert filled(BY_NUMBER, study_uid="1.2", accession_number="  ") is None
    assert filled("", study_uid="1.2", accession_number="A1") is None
    assert filled(OHIF, study_uid="1.2", accession_number="") is not None
