"""What the last turn came to is read back as it was written; a file of another form is as good as none."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.sync.phase import Phase
from appliance.sync.refusal import Word
from appliance.sync.standing import Outcome, Standing, read_standing, registry_folder, write_standing

SOAKS = Outcome(
    word=Word.CURRENT,
    sentence="watched",
    model="bands",
    version="1.2.0",
    phase=Phase.SOAK,
    digest="sha256:" + "a" * 64,
)


def test_a_standing_is_read_back_as_it_was(tmp_path: Path):
    written = Standing(at=1.0, well_at=None, outcomes=(SOAKS, Outcome(word=Word.UNREACHABLE)))
    write_standing(tmp_path, written)
    assert read_standing(tmp_path) == written
    assert [one["phase"] for one in written.as_json()["outcomes"]] == ["soak", "unknown"]


def test_a_file_of_before_phases_were_is_read(tmp_path: Path):
    write_standing(tmp_path, Standing(at=1.0, well_at=None, outcomes=(SOAKS,)))
    path = registry_folder(tmp_path) / "status.json"
    said = json.loads(path.read_text())
    for name in ("phase", "digest"):
        del said["outcomes"][0][name]
    path.write_text(json.dumps(said))
    read = read_standing(tmp_path)
    assert read is not None
    assert read.outcomes[0].phase is Phase.UNKNOWN
    said["outcomes"][0]["phase"] = 99
    path.write_text(json.dumps(said))
    assert read_standing(tmp_path) is None
