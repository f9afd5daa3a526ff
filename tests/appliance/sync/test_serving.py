"""What a worker serves with while versions change: what a job names, and only what was installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.packages import installed_folder
from appliance.inference.choose import MAKERS
from appliance.sync.activate import remove, retire
from appliance.sync.box import ModelBox
from appliance.worker.engines import EngineShelf, ModelGone
from tests.appliance import packages

NAME = packages.NAME


@pytest.fixture
def shelf(box: ModelBox) -> Iterator[EngineShelf]:
    """The engines of a worker that runs while versions change."""
    made = EngineShelf(box.ledger, box.config, makers=MAKERS)
    yield made
    made.close()


def test_a_retired_version_serves_the_jobs_that_name_it_until_it_is_removed(
    box: ModelBox, shelf: EngineShelf, tmp_path: Path
):
    row = packages.put(box.ledger, box.root, packages.bands(tmp_path))
    packages.activate(box.ledger, row)
    retire(box, NAME)
    for digest in (row.digest, packages.shipped().digest):
        with shelf.serve(NAME, digest) as serving:
            assert serving.package.digest == digest
    remove(box, NAME, "1.1.0")
    late = EngineShelf(box.ledger, box.config, makers=MAKERS)
    with pytest.raises(ModelGone, match="no longer on this box"), late.serve(NAME, row.digest):
        pass
    late.close()


@pytest.mark.parametrize("name", ["model.onnx", "manifest.toml", "golden/added.npz"])
def test_changed_files_serve_nobody_and_no_other_version_takes_their_place(
    box: ModelBox, shelf: EngineShelf, tmp_path: Path, name: str
):
    row = packages.activate(box.ledger, packages.put(box.ledger, box.root, packages.bands(tmp_path)))
    changed = installed_folder(box.root, row.digest) / name
    changed.write_bytes(changed.read_bytes() + b"\n" if changed.exists() else b"PK")
    shelf.refresh()
    with pytest.raises(ModelGone), shelf.serve(NAME, row.digest):
        pass
