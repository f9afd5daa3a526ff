"""Asking a worklist: each answer of an origin server has its meaning, and what is no answer its word."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.dicomweb import workitem as wire
from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.outward import WebPeer
from dicom_node.dicomweb.ups import Said, Told, UpsClient
from dicom_node.dicomweb.workitem import Code, Output, Performed, StepState
from dicom_node.limits import Limits
from tests.worklist import JSON, Origin, input_item, serving

WEB = WebLimits(ups_seconds_max=5.0, reply_bytes_max=20_000, ups_page_max=3)
LIMITS = Limits(connect_seconds_max=2.0, dimse_seconds_max=3.0)
OURS, THEIRS = "2.25.111", "2.25.222"
BOX = Code(value="BOX", scheme="99HOSP", meaning="BOX")
DONE = Performed(
    station=BOX,
    workitem_code=Code(value="CT-AI", scheme="99HOSP", meaning="chest"),
    started="20260101120000+0000",
    ended="20260101120500+0000",
    parameters=[(Code(value="111001", scheme="DCM", meaning="Algorithm Name"), "phantom-lesion")],
    outputs=[
        Output(study_uid="1.2", series_uid="1.2.9", references=[("1.2.840.10008.5.1.4.1.1.88.34", "1.2.9.1")],
               ae_title="PACS", url="https://pacs.example/studies/1.2/series/1.2.9")
    ],
)  # fmt: skip
WHY = Code(value="110522", scheme="DCM", meaning="Object Types not supported")


def no_tls() -> ssl.SSLContext:
    raise AssertionError("no TLS here")


def client_of(url: str, *, token_file: Path | None = None) -> UpsClient:
    peer = WebPeer(name="worklist", url=url, token_file=token_file, context=no_tls)
    return UpsClient(peer, requester="THE BOX", limits=LIMITS, web=WEB)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Origin, str]]:
    origin = Origin()
    with serving(origin) as url:
        yield origin, url


@pytest.fixture
def origin(served: tuple[Origin, str]) -> Origin:
    origin = served[0]
    fresh = Origin()
    origin.workitems, origin.asked = fresh.workitems, fresh.asked
    origin.before, origin.after = fresh.before, fresh.after
    origin.requester_in_path = False
    return origin


@pytest.fixture
def client(served: tuple[Origin, str], origin: Origin) -> UpsClient:
    return client_of(served[1])


class TestSearch:
    def test_what_is_scheduled_is_found_by_code_and_by_station(self, origin, client):
        origin.schedule("1.1", code="CT-AI")
        origin.schedule("1.2", code="MR-AI", station="BOX")
        origin.schedule("1.3", code="CT-AI").move("IN PROGRESS")
        assert [one.uid for one in client.search(code="CT-AI").workitems] == ["1.1"]
        assert [one.uid for one in client.search(station="BOX").workitems] == ["1.2"]
        assert [one.uid for one in client.search(station="BOX", code="CT-AI").workitems] == []
        assert client.search(code="CT-AI").word is None

    def test_a_long_list_comes_page_by_page(self, origin, client):
        for number in range(5):
            origin.schedule(f"1.{number}")
        first, second = client.search(code="CT-AI"), client.search(code="CT-AI", offset=3)
        assert ([one.uid for one in first.workitems], first.more) == (["1.0", "1.1", "1.2"], True)
        assert ([one.uid for one in second.workitems], second.more) == (["1.3", "1.4"], False)

    @pytest.mark.parametrize(
        ("status", "word"),
        [
            (401, "worklist.unauthorised"), (403, "worklist.unauthorised"), (404, "worklist.not_found"),
            (400, "worklist.refused"), (503, "worklist.busy"), (500, "worklist.failed"),
            (302, "worklist.redirected"), (413, "worklist.too_large"),
        ],
    )  # fmt: skip
    def test_what_is_no_answer_has_its_word(self, origin, client, status, word):
        origin.before = lambda method, path: status
        assert (client.search(code="CT-AI").word, client.search().workitems) == (word, ())

    def test_nothing_scheduled_is_an_answer(self, client):
        found = client.search(code="CT-AI")
        assert (found.workitems, found.word, found.more) == ((), None, False)

    def test_an_answer_that_has_no_end_is_none(self, origin, client):
        for number in range(3):
            held = origin.schedule(f"1.{number}")
            held.attributes["00741204"] = {"vr": "LO", "Value": ["x" * 20_000]}
        assert client.search(code="CT-AI").word == "worklist.protocol_error"

    def test_nobody_there(self):
        assert client_of("http://127.0.0.1:1").search().word == "worklist.unreachable"

    def test_the_token_is_the_files(self, tmp_path, served, origin):
        absent = client_of(served[1], token_file=tmp_path / "token")
        assert absent.search().word == "worklist.token_file"
        (tmp_path / "token").write_text("secret\n")
        assert absent.search().word is None


class TestRetrieve:
    def test_it_says_what_the_performer_has_to_know_and_nothing_of_the_patient(self, origin, client):
        origin.schedule("1.1", input_item("1.2", series_uid="1.2.3", ae_title="PACS"), station="BOX")
        found = client.retrieve("1.1").workitem
        assert found.inputs == (
            wire.Input(study_uid="1.2", series_uid="1.2.3", ae_titles=("PACS",), urls=()),
        )
        assert (found.state, found.ready, found.inputs_sound) == (StepState.SCHEDULED, True, True)
        assert "SECRET" not in repr(found)

    def test_what_is_not_there(self, client):
        assert client.retrieve("1.9").said is Said.ABSENT

    def test_another_workitem_is_no_answer(self, origin, client):
        origin.schedule("1.1").attributes["00080018"] = {"vr": "UI", "Value": ["1.7"]}
        assert client.retrieve("1.1") == Told(said=Said.UNKNOWN, word="worklist.protocol_error")


class TestOwnership:
    def test_who_claims_first_has_it(self, origin, client):
        held = origin.schedule("1.1")
        assert client.change("1.1", StepState.IN_PROGRESS, OURS).said is Said.DONE
        assert client.change("1.1", StepState.IN_PROGRESS, THEIRS).said is Said.CONFLICT
        assert (held.state, held.transaction_uid) == ("IN PROGRESS", OURS)

    def test_only_the_owner_changes_it(self, origin, client):
        origin.schedule("1.1")
        payload = wire.progress(OURS, percent=40, text="on its way")
        assert client.update("1.1", OURS, payload).said is Said.CONFLICT, "nobody claimed it yet"
        client.change("1.1", StepState.IN_PROGRESS, OURS)
        assert client.update("1.1", OURS, payload).said is Said.DONE
        refused = client.update("1.1", THEIRS, wire.progress(THEIRS, percent=1, text=""))
        assert (refused.said, refused.not_ours) == (Said.REFUSED, True)
        assert client.change("1.1", StepState.CANCELED, THEIRS).not_ours

    def test_it_ends_once_what_a_final_state_needs_is_there(self, origin, client):
        held = origin.schedule("1.1")
        client.change("1.1", StepState.IN_PROGRESS, OURS)
        assert client.change("1.1", StepState.COMPLETED, OURS).said is Said.CONFLICT
        assert client.update("1.1", OURS, wire.completed(OURS, DONE)).said is Said.DONE
        assert client.change("1.1", StepState.COMPLETED, OURS).said is Said.DONE
        # Once more is no error, and another end is.
        assert client.change("1.1", StepState.COMPLETED, OURS).said is Said.DONE
        assert client.change("1.1", StepState.CANCELED, OURS).said is Said.CONFLICT
        assert client.update("1.1", OURS, wire.completed(OURS, DONE)).said is Said.REFUSED
        assert held.states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]

    def test_what_is_written_is_what_a_library_reads(self, origin, client):
        held = origin.schedule("1.1")
        client.change("1.1", StepState.IN_PROGRESS, OURS)
        client.update("1.1", OURS, wire.completed(OURS, DONE))
        (done,) = held.dataset.UnifiedProcedureStepPerformedProcedureSequence
        (output,) = done.OutputInformationSequence
        assert (output.StudyInstanceUID, output.SeriesInstanceUID) == ("1.2", "1.2.9")
        assert output.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.9.1"
        assert output.DICOMRetrievalSequence[0].RetrieveAETitle == "PACS"
        assert output.WADORSRetrievalSequence[0].RetrieveURL.endswith("/studies/1.2/series/1.2.9")
        assert done.PerformedStationNameCodeSequence[0].CodeValue == "BOX"
        assert done.PerformedWorkitemCodeSequence[0].CodeMeaning == "chest"
        assert done.PerformedProcessingParametersSequence[0].TextValue == "phantom-lesion"
        assert held.dataset.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 100

    def test_what_is_canceled_has_a_reason_in_both_ways(self, origin, client):
        held = origin.schedule("1.1")
        assert client.change("1.1", StepState.CANCELED, OURS).said is Said.CONFLICT, "PS3.4 CC: claimed first"
        client.change("1.1", StepState.IN_PROGRESS, OURS)
        told = wire.discontinued(OURS, replace(DONE, outputs=()), why=WHY, text="No series fits.")
        assert client.update("1.1", OURS, told).said is Said.DONE
        assert client.change("1.1", StepState.CANCELED, OURS).said is Said.DONE
        (said,) = held.dataset.ProcedureStepProgressInformationSequence
        assert said.ReasonForCancellation == "No series fits."
        assert said.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110522"

    @pytest.mark.parametrize("in_path", [False, True])
    def test_who_asks_is_named_in_the_query_or_where_the_server_wants_it(self, origin, client, in_path):
        held = origin.schedule("1.1")
        origin.requester_in_path = in_path
        assert client.change("1.1", StepState.IN_PROGRESS, OURS).said is Said.DONE
        assert client.change("1.1", StepState.IN_PROGRESS, THEIRS).said is Said.CONFLICT
        assert (held.requesters, held.states) == (["THE BOX"] * 2, ["SCHEDULED", "IN PROGRESS"])

    @pytest.mark.parametrize("status", [404, 410])
    def test_what_is_gone(self, origin, client, status):
        origin.schedule("1.1")
        origin.before = lambda method, path: status
        assert client.change("1.1", StepState.IN_PROGRESS, OURS).said is Said.ABSENT

    @pytest.mark.parametrize("status", [401, 429, 500, 503])
    def test_of_anything_else_nothing_is_known(self, origin, client, status):
        origin.schedule("1.1")
        origin.before = lambda method, path: status
        assert client.change("1.1", StepState.IN_PROGRESS, OURS).said is Said.UNKNOWN


def test_a_payload_is_an_array_of_one_data_set():
    (one,) = json.loads(wire.state_change(StepState.IN_PROGRESS, OURS))
    assert one == {
        "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
        "00081195": {"vr": "UI", "Value": [OURS]},
    }
    assert JSON == "application/dicom+json"
