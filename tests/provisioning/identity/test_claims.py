"""Who is let in, and who is not: every wrong way looks the same from outside."""

from __future__ import annotations

import base64
from dataclasses import replace

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from appliance.sync import softkey
from appliance.sync.csr import as_base64, request_for
from appliance.sync.est import ENROL, RENEW, WELCOME, Desk
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import sign
from provisioning.identity import code as codes
from provisioning.identity.enrol import EnrolFault
from provisioning.registry import ca, enrolment
from provisioning.registry.ca import RequestFault
from provisioning.registry.database import audit, certificates, claims, devices
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.words import DeviceState
from provisioning.registry.faults import RegistryFault
from tests.provisioning.identity.town import DAY, SLOT


def posted(town, slot, code, body, *, content_type="application/pkcs10"):
    return httpx.post(
        town.url + ENROL, content=body, auth=(slot, code), headers={"Content-Type": content_type}, timeout=30
    )


@pytest.fixture
def request_of_a_key(tmp_path):
    return as_base64(request_for(softkey.make(tmp_path / "some.key"), SLOT))


def test_every_wrong_way_looks_the_same(town, request_of_a_key):
    right, other = town.invite(), town.invite("box-2")
    over = town.invite("box-3", days=1)
    town.machine("used").enrol(other)
    town.clock.advance(1 * DAY)
    withdrawn = town.invite("box-4")
    town.invite("box-4")
    answers = [
        posted(town, SLOT, codes.make(), request_of_a_key),
        posted(town, "nowhere", right.code, request_of_a_key),
        posted(town, SLOT, other.code, request_of_a_key),
        posted(town, "box-2", other.code, request_of_a_key),
        posted(town, "box-3", over.code, request_of_a_key),
        posted(town, "box-4", withdrawn.code, request_of_a_key),
        posted(town, SLOT, "", request_of_a_key),
        posted(town, "", right.code, request_of_a_key),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["www-authenticate"] for answer in answers}) == 1
    assert posted(town, SLOT, right.code, request_of_a_key).status_code == 200


def test_the_fifth_wrong_code_locks(town, request_of_a_key):
    right = town.invite()
    for _ in range(claims.TRIES_MAX):
        assert posted(town, SLOT, codes.make(), request_of_a_key).status_code == 401
    assert posted(town, SLOT, right.code, request_of_a_key).status_code == 401
    with town.office.database.read() as tx:
        assert devices.device_of(tx, SLOT) is None
        assert [act.act for act in audit.acts(tx, limit=1)] == ["claim.lock"]
    # A new invitation opens the slot again.
    assert posted(town, SLOT, town.invite().code, request_of_a_key).status_code == 200


def test_a_slip_of_the_pen_is_not_counted(town, request_of_a_key):
    right = town.invite()
    slip = right.code[:-1] + ("0" if right.code[-1] != "0" else "1")
    for _ in range(claims.TRIES_MAX):
        assert posted(town, SLOT, slip, request_of_a_key).status_code == 401
    with town.office.database.read() as tx:
        claim = claims.newest(tx, SLOT)
    assert claim is not None
    assert claim.tries == 0


def test_the_database_holds_no_code(town):
    invitation = town.invite()
    whole = b"".join(path.read_bytes() for path in town.office.book.folder.glob("registry.sqlite*"))
    assert SLOT.encode() in whole
    assert invitation.code.encode() not in whole


def test_the_same_key_may_ask_again_and_no_other(town):
    invitation = town.invite()
    box = town.machine("first")
    once = box.enrol(invitation)
    again = box.enrol(invitation)
    assert (once.device, once.certificate.pem) == (again.device, again.certificate.pem)
    with pytest.raises(EnrolFault, match="does not take this slot and code"):
        town.machine("thief").enrol(invitation)
    town.clock.advance(8 * DAY)
    with pytest.raises(EnrolFault, match="does not take this slot and code"):
        box.enrol(invitation)


def test_an_occupied_slot_is_not_taken_over_by_the_way(town):
    early = town.invite()
    late = town.invite()
    with pytest.raises(EnrolFault, match="ask for a new invitation"):
        town.machine("first").enrol(early)
    town.machine("first").enrol(late)
    with pytest.raises(RegistryFault, match="--replace"):
        town.invite()
    # Somebody was invited into a slot that was empty then.
    with town.office.database.write() as tx:
        claims.add(
            tx,
            slot=SLOT,
            digest=town.office.digest(SLOT, late.code),
            replaces=False,
            at=town.clock.now(),
            expires_at=town.clock.now() + DAY,
        )
    with pytest.raises(EnrolFault, match="the slot has a device"):
        town.machine("second").enrol(late)


def test_a_key_comes_in_once_in_its_life(town):
    box = town.machine("first")
    box.enrol(town.invite())
    town.machine("second").enrol(town.invite(replaces=True))
    with pytest.raises(EnrolFault, match="--new-key"):
        box.enrol(town.invite(replaces=True))
    first = box.key.id
    claimed = box.enrol(town.invite(replaces=True), new_key=True)
    assert claimed.device != first


def test_a_revoked_device_is_known_nowhere(town):
    box = town.machine("first")
    claimed = box.enrol(town.invite())
    enrolment.end(town.office, claimed.device, DeviceState.REVOKED, who="kim", why="stolen")
    desk = box.desk
    for asked in (desk.welcome, desk.leave, lambda: desk.renew(SLOT, request_for(desk.key, SLOT))):
        with pytest.raises(Refusal) as refused:
            asked()
        assert refused.value.word is Word.NOT_CLAIMED
    with pytest.raises(RegistryFault, match="no device"):
        enrolment.end(town.office, claimed.device, DeviceState.REVOKED, who="kim")
    # Its slot is free, its assignment waits there.
    assert town.machine("second").enrol(town.invite()).slot == SLOT


def test_a_retired_slot_is_not_invited_to(town):
    town.invite()
    with town.office.database.write() as tx:
        devices.change_slot(tx, SLOT, retired_at=town.clock.now())
    with pytest.raises(RegistryFault, match="retired"):
        town.invite()
    with pytest.raises(RegistryFault, match="no name"):
        enrolment.invite(town.office, Slot(name="a/b"), url=town.url, who="jo")


def test_the_wrong_key_renews_nothing(town, tmp_path):
    box = town.machine("first")
    box.enrol(town.invite())
    key, other = box.key, softkey.make(tmp_path / "other.key")
    # A device that is known asks for a certificate of another key.
    body = as_base64(request_for(other, SLOT))
    headers = sign(key, method="POST", path=RENEW, body=body, at=town.clock.now())
    answer = httpx.post(
        town.url + RENEW, content=body, headers={**headers, "Content-Type": "application/pkcs10"}, timeout=30
    )
    assert (answer.status_code, answer.json()["reason"]) == (400, "key")
    # Somebody who is not known signs.
    with pytest.raises(Refusal) as refused:
        Desk(url=town.url, key=other, clock=town.clock).welcome()
    assert refused.value.word is Word.NOT_CLAIMED


def test_a_clock_that_is_wrong_is_called_that(town):
    box = town.machine("first")
    box.enrol(town.invite())
    key = box.key
    for seconds, word in ((-400, Word.CLOCK_BEHIND), (400, Word.CLOCK_AHEAD)):
        with pytest.raises(Refusal) as refused:
            Desk(
                url=town.url, key=key, clock=replace(town.clock, seconds=town.clock.now() + seconds)
            ).welcome()
        assert refused.value.word is word


def test_a_request_is_good_for_300_seconds_and_only_for_what_it_is(town):
    box = town.machine("first")
    box.enrol(town.invite())
    key = box.key
    headers = sign(key, method="POST", path=WELCOME, body=b"{}", at=town.clock.now())

    def sent(path=WELCOME, body=b"{}"):
        return httpx.post(town.url + path, content=body, headers=headers, timeout=30).status_code

    assert sent() == 200
    # The same again within the time is let through: nothing that is asked so does harm twice.
    assert sent() == 200
    assert sent(body=b"{} ") == 401
    assert sent(path="/api/device/v1/decommission") == 401
    town.clock.advance(301)
    assert sent() == 401


def test_what_is_no_request_is_not_answered_with_a_certificate(town, request_of_a_key):
    code = town.invite().code
    other = ed25519.Ed25519PrivateKey.generate()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    foreign = base64.b64encode(csr.sign(other, None).public_bytes(Encoding.DER))
    wide = base64.b64encode(
        csr.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    )
    der = bytearray(base64.b64decode(request_of_a_key))
    der[-1] ^= 1
    for body in (b"", b"!", b"AAAA", foreign, wide, base64.b64encode(der), b"A" * 30_000):
        assert posted(town, SLOT, code, body).status_code == 400
    assert posted(town, SLOT, code, request_of_a_key, content_type="text/plain").status_code == 400
    # None of this used the code up.
    answer = posted(town, SLOT, code, request_of_a_key)
    assert answer.headers["content-type"].startswith("application/pkcs7-mime")
    found = load_der_pkcs7_certificates(base64.b64decode(answer.content))
    assert len(found) == 2


def test_a_certificate_says_what_the_registry_says(town, tmp_path):
    """Names and extensions of a request are not taken over, but for the hardware's number in the list."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    request = ca.request_of(csr.public_bytes(Encoding.DER))
    (authority,) = town.office.authorities()
    made = authority.issue(request, SLOT, now=town.clock.now()).certificate
    assert made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == SLOT
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    made.verify_directly_issued_by(authority.certificate)
    with pytest.raises(RequestFault, match="longer"):
        ca.request_of(b"\0" * 9_000)


def test_a_next_authority_overlaps_the_first(town):
    box = town.machine("first")
    box.enrol(town.invite())
    (old,) = town.office.authorities()
    ca.add(town.office.book.layout.authority, now=town.clock.now())
    new, still = town.office.authorities()
    assert still.certificate == old.certificate
    cacerts = httpx.get(f"{town.url}/.well-known/est/cacerts", timeout=30)
    assert len(load_der_pkcs7_certificates(base64.b64decode(cacerts.content))) == 2
    # Who came before renews with the new one and is given both.
    town.clock.advance(120)
    desk = box.desk
    answer = desk.renew(SLOT, request_for(desk.key, SLOT))
    x509.load_pem_x509_certificate(answer.certificate.pem).verify_directly_issued_by(new.certificate)
    assert len(desk.welcome().authorities) == 2
    town.clock.seconds = old.certificate.not_valid_after_utc.timestamp()
    with pytest.raises(RegistryFault, match="no authority there holds"):
        town.office.authorities()


def test_roots_that_are_not_the_invitations_are_not_believed(town):
    box = town.machine("first")
    invitation = replace(town.invite(), anchor="00" * 16)
    with pytest.raises(EnrolFault, match="somebody is in between"):
        box.enrol(invitation)
    assert {path.name for path in box.roots.iterdir()} == {"device.key"}


def test_a_renewal_that_is_asked_twice_is_one(town):
    box = town.machine("first")
    box.enrol(town.invite())
    town.clock.advance(120)
    body = as_base64(request_for(box.key, SLOT))
    headers = sign(box.key, method="POST", path=RENEW, body=body, at=town.clock.now())
    headers["Content-Type"] = "application/pkcs10"
    answers = [httpx.post(town.url + RENEW, content=body, headers=headers, timeout=30) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    with town.office.database.read() as tx:
        assert len(certificates.of_device(tx, box.key.id)) == 2


def test_without_tls_and_anchor_nobody_is_believed(town):
    box = town.machine("first")
    for url in ("http://models.example.org", "http://[::1"):
        with pytest.raises(EnrolFault, match=r"without TLS|address"):
            box.enrol(replace(town.invite(), url=url, anchor=""))
    assert not box.roots.exists()
    assert box.enrol(replace(town.invite(), anchor="")).slot == SLOT


def test_a_server_without_its_keys_enrols_nobody(town, request_of_a_key):
    code = town.invite().code
    town.office.book.layout.online.rename(town.folder / "elsewhere")
    answer = posted(town, SLOT, code, request_of_a_key)
    assert (answer.status_code, answer.json()["reason"]) == (503, "closed")
    assert httpx.get(f"{town.url}/.well-known/est/cacerts", timeout=30).status_code == 503
