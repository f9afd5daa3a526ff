"""The log: one JSON object a line, and libraries that keep their mouths shut."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import structlog

from appliance.core import log
from appliance.core.words import short

TALKATIVE = """
import logging, warnings
from appliance.core import log
log.configure("listener")
logging.getLogger("pynetdicom.acse").error("Doe^Jane")
warnings.warn("Invalid value for VR DS: 'Doe^Jane'")
log.get("spool").info("receive.kept", study="abc", size=3)
"""


@pytest.fixture(autouse=True)
def _as_it_was():
    levels = {name: logging.getLogger(name).level for name in log._THIRD_PARTY}
    with warnings.catch_warnings():
        yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_an_event_is_one_line_of_json_with_its_service_and_room(capsys):
    log.configure("worker")
    log.get("worker").warning("job.failed", study=short("1.2.3"), job=42)
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "job.failed",
        "level": "warning",
        "service": "worker",
        "room": "worker",
        "study": short("1.2.3"),
        "job": 42,
    }


def test_a_silenced_process_says_nothing(capsys):
    log.silence()
    log.get("demo").error("receive.fault")
    assert capsys.readouterr().out == ""


def test_what_libraries_say_of_a_patient_reaches_no_log():
    root = Path(__file__).resolve().parents[3]
    said = subprocess.run(
        [sys.executable, "-c", TALKATIVE], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert "Doe" not in said.stdout + said.stderr
    assert json.loads(said.stdout)["event"] == "receive.kept"
