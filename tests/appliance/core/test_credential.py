"""Where a secret lies that a setting names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from appliance.core.credential import SecretFile

FILE: TypeAdapter[Path] = TypeAdapter(SecretFile)


def test_a_service_reads_the_copy_that_it_was_handed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/readside-listener.service")
    found = FILE.validate_python("credential:dicom/box.key")
    assert found == Path("/run/credentials/readside-listener.service/dicom_box.key")


def test_root_at_a_prompt_reads_the_file_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert FILE.validate_python("credential:dicom/box.key") == Path("/etc/readside/credentials/dicom/box.key")


def test_any_other_path_is_meant_as_it_stands() -> None:
    assert FILE.validate_python("/etc/readside/box.key") == Path("/etc/readside/box.key")


@pytest.mark.parametrize(
    "wrong", ["box.key", "dicom/", "/box.key", "dicom/..", "dicom/.", "dicom/a/b", "../x/y", "di com/x"]
)
def test_a_path_out_of_the_folder_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="credential:FOLDER/NAME"):
        FILE.validate_python(f"credential:{wrong}")
