"""STOW-RS on the wire: what is kept, what is refused and how, and what attackers get."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace
from hashlib import sha256
from xml.etree import ElementTree

import pytest
import structlog

from dicom_node.dicomweb.clients import Client, Clients
from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.status import Status
from dicom_node.tls import Credentials, Files
from tests.certificates import Authority
from tests.dicom_node.dicomweb.client import (
    BOUNDARY,
    CLIENT,
    FAILED,
    OTHER,
    RELATED,
    STORED,
    TOKEN,
    WEB,
    body_of,
    file_of,
    port,
    post,
    raw,
)
from tests.dicom_node.samples import IMPLICIT, LIMITS, REAL_FILES, Shelf, path_of, real, sample

ONE = sample(SOPInstanceUID="2.25.1")
TWO = sample(SOPInstanceUID="2.25.2")
OTHER_STUDY = sample(SOPInstanceUID="2.25.3", StudyInstanceUID="2.25.999")


def refuse(status: Status, word: str = "test"):
    def before(_arrival):
        raise Refusal(status, word, "for the test")

    return before


class TestStore:
    """What honest clients send."""

    def test_real_files_are_kept_byte_for_byte(self):
        files = [path_of(name).read_bytes() for name in REAL_FILES]
        with port() as here:
            reply = post(here.number, body_of(files))
        kept = {
            (one.header.sop_instance_uid, one.header.transfer_syntax_uid, one.data)
            for one in here.shelf.arrivals
        }
        expected = {(s.sop_instance_uid, s.transfer_syntax_uid, s.data) for s in map(real, REAL_FILES)}
        assert kept == expected
        assert reply.status == 200
        assert reply.fields["content-type"] == "application/dicom+json"
        assert sorted(reply.instances(STORED)) == sorted(s.sop_instance_uid for s in map(real, REAL_FILES))
        assert {(a.peer_name, a.calling_ae, a.called_ae) for a in here.shelf.arrivals} == {
            ("archive", "ARCHIVE", "BOX")
        }

    def test_a_chunked_body_and_a_second_request_on_the_connection(self):
        body = body_of([file_of(ONE), file_of(TWO)])
        with port() as here:
            connection = http.client.HTTPConnection("127.0.0.1", here.number, timeout=10)
            for _ in range(2):
                pieces = (body[at : at + 100] for at in range(0, len(body), 100))
                connection.request(
                    "POST", "/studies", pieces,
                    {"Content-Type": RELATED, "Authorization": f"Bearer {TOKEN}"}, encode_chunked=True,
                )  # fmt: skip
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (200, True)
            connection.close()
        assert [a.header.sop_instance_uid for a in here.shelf.arrivals] == ["2.25.1", "2.25.2"] * 2

    def test_xml_for_who_asks_for_it(self):
        with port() as here:
            reply = post(here.number, body_of([file_of(ONE)]), Accept="application/dicom+xml")
        assert reply.fields["content-type"] == "application/dicom+xml"
        assert ElementTree.fromstring(reply.body).tag.endswith("NativeDicomModel")
        assert b"2.25.1<" in reply.body

    def test_expect_100_continue(self):
        body = body_of([file_of(ONE)])
        head = _head(len(body), "Expect: 100-continue\r\n")
        with port() as here, socket.create_connection(("127.0.0.1", here.number), timeout=10) as connection:
            connection.sendall(head)
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            connection.sendall(body)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")

    def test_one_study_by_its_url(self):
        with port() as here:
            reply = post(here.number, body_of([file_of(ONE), file_of(OTHER_STUDY)]), path="/studies/2.25.102")
        assert reply.status == 202
        assert (reply.instances(STORED), reply.instances(FAILED)) == (["2.25.1"], ["2.25.3"])
        assert reply.reasons(FAILED) == [Status.UID_MISMATCH]
        assert [r.word for r in here.refused] == ["receive.study_mismatch"]
        assert [r.study_uid for r in here.refused] == ["2.25.999"]

    def test_answered_only_after_it_is_kept(self):
        may_keep = threading.Event()

        def wait(_arrival):
            may_keep.wait(10)

        shelf = Shelf(before=wait)
        with port(shelf=shelf) as here, socket.create_connection(("127.0.0.1", here.number)) as connection:
            body = body_of([file_of(ONE)])
            connection.sendall(_head(len(body)) + body)
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            may_keep.set()
            connection.settimeout(10)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")

    def test_what_was_whole_when_the_sender_went_away_is_kept_and_logged(self):
        body = body_of([file_of(ONE), file_of(TWO)])
        with port() as here, structlog.testing.capture_logs() as logs:
            with socket.create_connection(("127.0.0.1", here.number), timeout=10) as connection:
                connection.sendall(_head(10**6) + body[:-80])
                _until(lambda: here.shelf.arrivals)
                # Closed like this, the connection is reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _until(lambda: not here.server._open_lines())
        (told,) = [one for one in logs if one["event"] == "dicomweb.aborted"]
        assert (told["peer"], told["instances"], told["kept"]) == ("archive", 1, 1)
        assert [a.header.sop_instance_uid for a in here.shelf.arrivals] == ["2.25.1"]


class TestRefusals:
    """Instances that are refused one by one (PS3.18 Table I.2-2)."""

    @pytest.mark.parametrize(
        ("file", "where", "reason"),
        [
            (b"not DICOM at all" * 20, OTHER, Status.NOT_READABLE),
            (b"", OTHER, Status.NOT_READABLE),
            (file_of(ONE)[:200], OTHER, Status.NOT_READABLE),
            (file_of(TWO)[:-3], FAILED, Status.NOT_READABLE),
            (file_of(TWO, syntax=IMPLICIT), FAILED, Status.NOT_READABLE),
            (file_of(TWO, instance="2.25.9"), FAILED, Status.UID_MISMATCH),
            (file_of(TWO, instance="../etc/passwd"), OTHER, Status.UID_INVALID),
            (file_of(TWO, syntax="1.2.840.10008.1.2.1.99"), FAILED, 0xC122),
            (file_of(replace(TWO, sop_class_uid="1.2.840.10008.1.1")), FAILED, Status.CLASS_NOT_SUPPORTED),
            (file_of(replace(TWO, sop_class_uid="1.2.840.10008.5.1.4.1.1.4")), FAILED, Status.CLASS_MISMATCH),
        ],
    )  # fmt: skip
    def test_one_bad_part_spoils_no_other(self, file, where, reason):
        with port() as here:
            reply = post(here.number, body_of([file, file_of(ONE)]))
            alone = post(here.number, body_of([file]))
        assert (reply.status, alone.status) == (202, 409)
        assert reply.instances(STORED) == ["2.25.1"]
        assert reply.reasons(where) == alone.reasons(where) == [reason]
        assert [a.header.sop_instance_uid for a in here.shelf.arrivals] == ["2.25.1"]
        assert len(here.refused) == 2

    def test_a_part_of_another_type(self):
        with port() as here:
            reply = post(here.number, body_of([file_of(ONE)], kind="application/pdf"))
        assert (reply.status, reply.reasons(OTHER)) == (409, [Status.NOT_READABLE])
        assert here.shelf.arrivals == []

    @pytest.mark.parametrize("status", [Status.NO_SPACE, Status.STORAGE_FAULT, Status.DRAINING])
    def test_what_passes_is_503_with_retry_after(self, status):
        with port(shelf=Shelf(before=refuse(status))) as here:
            reply = post(here.number, body_of([file_of(ONE), file_of(TWO)]))
        assert (reply.status, reply.fields["retry-after"]) == (503, "60")
        assert reply.reasons(FAILED) == [status, status]

    def test_a_full_disk_before_the_first_byte(self):
        class Full:
            def begin(self):
                raise Refusal(Status.NO_SPACE, "disk.floor", "out of resources: no space")

        with port(shelf=Full()) as here:
            reply = post(here.number, body_of([file_of(ONE)]))
        assert (reply.status, reply.reasons(FAILED)) == (503, [Status.NO_SPACE])
        assert [(r.study_uid, r.word) for r in here.refused] == [("2.25.102", "disk.floor")]

    def test_an_error_nobody_foresaw_is_one_instance_s(self):
        def fail_once(arrival):
            if arrival.header.sop_instance_uid == "2.25.1":
                raise RuntimeError("a bug")

        with port(shelf=Shelf(before=fail_once)) as here:
            reply = post(here.number, body_of([file_of(ONE), file_of(TWO)]))
        assert (reply.status, reply.reasons(FAILED), reply.instances(STORED)) == (
            202,
            [Status.OUR_FAULT],
            ["2.25.2"],
        )

    def test_an_instance_beyond_the_bound(self):
        small = replace(LIMITS, instance_bytes_max=len(ONE.data))
        with port(wire=small) as here:
            reply = post(
                here.number, body_of([file_of(replace(TWO, data=TWO.data + b"\0" * 9)), file_of(ONE)])
            )
        assert (reply.status, reply.reasons(FAILED)) == (202, [Status.BOUND_EXCEEDED])


class TestRequests:
    """Whole requests that are answered without a look at their instances."""

    @pytest.mark.parametrize(
        ("how", "status"),
        [
            ({"token": None}, 401),
            ({"token": "wrong"}, 401),
            ({"token": ""}, 401),
            ({"path": "/"}, 404),
            ({"path": "/studies/1.2/series"}, 404),
            ({"path": "/studies/1.2..3"}, 400),
            ({"path": "/studies/" + "1" * 65}, 400),
            ({"method": "GET"}, 405),
            ({"method": "DELETE", "path": "/studies/1.2"}, 405),
            ({"kind": "application/dicom"}, 415),
            ({"kind": "multipart/form-data; boundary=x"}, 415),
            ({"kind": f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'}, 415),
            ({"kind": 'multipart/related; type="application/dicom"'}, 400),
            ({"kind": f"multipart/related; boundary={'x' * 129}"}, 400),
            ({"Content_Encoding": "gzip"}, 415),
        ],
    )
    def test_a_status_for_each(self, how, status):
        with port() as here:
            reply = post(here.number, body_of([file_of(ONE)]), **how)
            assert reply.status == status
            assert post(here.number, body_of([file_of(TWO)])).status == 200
        assert [a.header.sop_instance_uid for a in here.shelf.arrivals] == ["2.25.2"]

    @pytest.mark.parametrize(
        "body",
        [b"", b"x" * 100_000, f"--{BOUNDARY}--\r\n".encode(), body_of([file_of(ONE)], boundary="another")],
    )
    def test_a_body_without_parts_is_400(self, body):
        with port() as here:
            assert post(here.number, body).status == 400

    def test_what_was_whole_before_a_body_went_wrong_is_kept_and_said(self):
        body = body_of([file_of(ONE), file_of(TWO)])
        with port() as here:
            reply = post(here.number, body[:-60])
        assert (reply.status, reply.instances(STORED), reply.reasons(FAILED)) == (
            202,
            ["2.25.1"],
            [Status.NOT_READABLE],
        )

    def test_more_parts_than_are_taken(self):
        with port(web=replace(WEB, parts_max=2)) as here:
            reply = post(here.number, body_of([file_of(ONE)] * 3))
        assert (reply.status, len(here.shelf.arrivals)) == (202, 2)
        assert reply.reasons(OTHER) == [Status.NOT_READABLE]

    @pytest.mark.parametrize("cut", [3, 4, 10, 15])
    def test_a_body_without_its_last_boundary_is_never_all_of_it(self, cut):
        body = body_of([file_of(ONE)])
        with port() as here:
            reply = post(here.number, body[:-cut])
        assert reply.status in (202, 400)

    def test_a_request_that_says_it_is_too_large(self):
        with port(web=replace(WEB, request_bytes_max=100)) as here:
            assert post(here.number, body_of([file_of(ONE)])).status == 413
            pieces = [body_of([file_of(ONE)])]
            assert post(here.number, iter(pieces), Transfer_Encoding="chunked").status in (400, 409)
        assert here.shelf.arrivals == []


class TestWho:
    """Clients, tokens, certificates."""

    def test_a_stranger_is_told_of_once_in_a_while_and_nothing_of_it_is_read(self):
        with port() as here:
            answers = [raw(here.number, _head(10**12, token="wrong"), close=False) for _ in range(3)]
        assert all(a.startswith(b"HTTP/1.1 401") and b"WWW-Authenticate" in a for a in answers)
        assert [(s.word, s.reason, s.address) for s in here.suspects] == [
            ("dicomweb.stranger", "wrong_token", "127.0.0.1")
        ]

    @pytest.mark.parametrize(
        ("user", "token", "status"), [("archive", TOKEN, 200), ("x", TOKEN, 401), ("archive", "", 401)]
    )
    def test_basic_authentication_is_name_and_token(self, user, token, status):
        shown = base64.b64encode(f"{user}:{token}".encode()).decode()
        with port() as here:
            reply = post(here.number, body_of([file_of(ONE)]), token=None, Authorization=f"Basic {shown}")
        assert reply.status == status

    def test_two_clients_are_known_apart(self):
        other = Client(name="x", ae_title="X", token_sha256=frozenset({sha256(b"other").hexdigest()}))
        with port(clients=Clients(known=[CLIENT, other])) as here:
            post(here.number, body_of([file_of(ONE)]), token="other")
        assert [a.peer_name for a in here.shelf.arrivals] == ["x"]

    def test_an_open_port_takes_from_anybody_who_shows_nothing(self):
        anybody = Client(name="anybody", ae_title="ANYBODY")
        with port(clients=Clients(anybody=anybody)) as here:
            assert post(here.number, body_of([file_of(ONE)]), token=None).status == 200
            assert post(here.number, body_of([file_of(ONE)]), token="wrong").status == 401

    def test_a_certificate_or_a_token_under_tls(self, tmp_path):
        authority = Authority(tmp_path)
        ours, theirs = authority.issue("box"), authority.issue("archive")
        foreign = Authority(tmp_path / "foreign").issue("archive")
        print_ = ssl.PEM_cert_to_DER_cert(theirs.certificate.read_text())
        client = replace(CLIENT, certificate_sha256=frozenset({sha256(print_).hexdigest()}))
        tls = Credentials(
            Files(certificate=ours.certificate, key=ours.key, ca=authority.path), callers=ssl.CERT_OPTIONAL
        )

        def status(pair=None, **fields):
            context = ssl.create_default_context(cafile=str(authority.path))
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            connection = http.client.HTTPSConnection("127.0.0.1", here.number, timeout=10, context=context)
            try:
                connection.request(
                    "POST", "/studies", body_of([file_of(ONE)]), {"Content-Type": RELATED, **fields}
                )
                return connection.getresponse().status
            finally:
                connection.close()

        with port(clients=Clients(known=[client]), tls=tls) as here:
            assert status(theirs) == 200
            assert status(Authorization=f"Bearer {TOKEN}") == 200
            assert status() == 401
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                status(foreign)
            # In the clear nothing is answered.
            assert b"HTTP/1.1 2" not in raw(here.number, _head(0))
            assert status(theirs) == 200


class TestAttacks:
    """What no client sends."""

    def test_silent_and_dribbling_connections_cost_others_nothing(self):
        wire, web = replace(LIMITS, network_seconds_max=1.0), replace(WEB, head_seconds_max=1.0)
        with port(wire=wire, web=web) as here:
            silent = [socket.create_connection(("127.0.0.1", here.number), timeout=10) for _ in range(5)]
            silent[0].sendall(b"POST /studies HT")
            silent[1].sendall(_head(1000))
            silent[2].sendall(_head(1000) + b"--" + BOUNDARY.encode())
            assert post(here.number, body_of([file_of(ONE)])).status == 200
            for one in silent:
                while one.recv(1000):
                    pass
                one.close()
            assert post(here.number, body_of([file_of(TWO)])).status == 200

    def test_a_body_that_dribbles_has_a_whole_deadline(self):
        web = replace(WEB, request_seconds_max=1.0)
        with port(web=web) as here, socket.create_connection(("127.0.0.1", here.number), timeout=10) as slow:
            slow.sendall(_head(10**6))
            ended = time.monotonic() + 10
            with pytest.raises(OSError):  # noqa: PT011 - cut, however the system says so
                while time.monotonic() < ended:
                    slow.sendall(b"x")
                    time.sleep(0.05)
            assert post(here.number, body_of([file_of(ONE)])).status == 200

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00" + b"\0" * 600,
            b"GET / HTTP/x.9\r\n\r\n",
            b"POST /studies HTTP/1.1\r\n\r\n",
            b"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /studies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST /studies HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 10**6,
            b"POST /studies HTTP/1.1\r\n" + b"A: x\r\n" * 10**5,
            b"POST /" + b"s" * 10**6 + b" HTTP/1.1\r\n\r\n",
            b"\0" * 10**5,
            b"\x01\x00\0\0\0\xcd\0\1",
        ],
    )
    def test_what_is_no_http_request_is_answered_as_such_or_cut(self, data):
        with port() as here:
            answer = raw(here.number, data)
            assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"401", b"431", b"501")
            assert post(here.number, body_of([file_of(ONE)])).status == 200

    def test_endless_chunk_framing_is_cut(self):
        head = _head(None, "Transfer-Encoding: chunked\r\n")
        with port() as here:
            answer = raw(here.number, head + b"5;" + b"x" * 10**6)
            assert b" 400 " in answer.split(b"\r\n")[0]

    def test_more_at_once_than_are_taken_hear_503(self):
        with port(wire=replace(LIMITS, associations_max=1)) as here:
            with socket.create_connection(("127.0.0.1", here.number), timeout=10) as first:
                first.sendall(_head(1000) + b"--" + BOUNDARY.encode())
                _until(lambda: not here.server._room.is_empty)
                reply = post(here.number, body_of([file_of(ONE)]))
            assert (reply.status, reply.fields["retry-after"]) == (503, "60")
            _until(lambda: here.server._room.is_empty)
            assert post(here.number, body_of([file_of(ONE)])).status == 200

    def test_connections_of_one_address_are_bounded(self):
        wire = replace(LIMITS, connections_per_address_max=3)
        with port(wire=wire) as here:
            held = [socket.create_connection(("127.0.0.1", here.number), timeout=10) for _ in range(4)]
            assert held[0].recv(1) == b"", "the oldest silent one gives way"
            assert post(here.number, body_of([file_of(ONE)])).status == 200, (
                "and so does the next, to a client"
            )
            for one in held:
                one.close()
            _until(lambda: not here.server._open_lines())
            assert post(here.number, body_of([file_of(ONE)])).status == 200

    def test_a_known_client_gives_way_to_nobody(self):
        wire = replace(LIMITS, connections_per_address_max=1)
        body = body_of([file_of(ONE)])
        with (
            port(wire=wire) as here,
            socket.create_connection(("127.0.0.1", here.number), timeout=10) as known,
        ):
            known.sendall(_head(len(body)) + body[:50])
            _until(lambda: not here.server._room.is_empty)
            with socket.create_connection(("127.0.0.1", here.number), timeout=10) as late:
                assert late.recv(1) == b""
            known.sendall(body[50:])
            assert known.recv(100).startswith(b"HTTP/1.1 200")

    def test_a_pixel_that_looks_like_a_boundary_is_no_boundary_unless_it_is_one(self):
        looks = sample(SOPInstanceUID="2.25.5", ImageComments=f"\r\n-{BOUNDARY}\r\n--{BOUNDARY[:-1]}")
        is_one = sample(SOPInstanceUID="2.25.6", ImageComments=f"\r\n--{BOUNDARY}\r\n\r\nrest of it")
        with port() as here:
            assert post(here.number, body_of([file_of(looks)])).instances(STORED) == ["2.25.5"]
            reply = post(here.number, body_of([file_of(is_one)]))
        assert (reply.status, reply.instances(FAILED), reply.reasons(OTHER)) == (
            409,
            ["2.25.6"],
            [Status.NOT_READABLE],
        )

    def test_the_box_drains(self):
        with port() as here, socket.create_connection(("127.0.0.1", here.number), timeout=10) as running:
            body = body_of([file_of(ONE)])
            running.sendall(_head(len(body)) + body[:50])
            _until(lambda: not here.server._room.is_empty)
            draining = threading.Thread(target=here.server.drain, args=(10,))
            draining.start()
            _until(here.server._room.draining.is_set)
            reply = post(here.number, body_of([file_of(TWO)]))
            assert (reply.status, reply.fields["retry-after"]) == (503, "60")
            running.sendall(body[50:])
            assert running.recv(100).startswith(b"HTTP/1.1 200")
            draining.join(10)
            assert not draining.is_alive()

    def test_threads_and_sockets_come_back(self):
        with port(wire=Limits(connections_per_address_max=64, network_seconds_max=5)) as here:
            before = threading.active_count()
            for _ in range(30):
                raw(here.number, _head(1000) + b"--")
            _until(lambda: threading.active_count() <= before and here.server._room.is_empty)
            assert len(here.server._turnstile) == 0


def _head(length: int | None, more: str = "", *, token: str = TOKEN) -> bytes:
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return (
        f"POST /studies HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {RELATED}\r\n{size}{more}\r\n"
    ).encode()


def _until(look, seconds=10.0):
    ended = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < ended, "not within the time"
        time.sleep(0.02)
