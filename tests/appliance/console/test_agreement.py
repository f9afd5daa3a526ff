"""What the console says of versions that run beside others: how far they agree, and never who is right."""

from __future__ import annotations

from pathlib import Path

from appliance.console import agreement
from appliance.health import kinds
from appliance.ledger import agreements, comparisons, shadows
from appliance.ledger.comparisons import Word
from models import beside
from models.beside import Pair
from tests.appliance import packages

NAME = packages.NAME


def answer(console):
    return console.logged_in().get("/api/v1/models").json()


def test_what_runs_beside_is_shown_with_how_far_it_agrees(console, tmp_path: Path, clock):
    assert "<h2>Beside</h2>" not in console.logged_in().get("/models").text
    row = packages.put(console.ledger, console.root, packages.bands(tmp_path / "made"))
    with console.ledger.write() as tx:
        begun = shadows.begin(tx, NAME, row.version, row.digest, by="jo", at=clock.now())
        between = agreements.Between(
            name=NAME,
            old_digest=packages.shipped().digest,
            old_version="1.0.0",
            new_digest=row.digest,
            new_version=row.version,
        )
        for new in ("finding", "no finding", "finding"):
            pair = Pair(outcomes=("finding", new), numbers={"bone: Volume": (10.0, 11.0)})
            agreements.add(tx, between, pair, at=clock.now())
        agreements.pass_over(tx, between, "shadow.no_time", at=clock.now())
    page = console.logged_in().get("/models").text
    assert "1.1.0 beside 1.0.0" in page
    assert "2 of 3, 66.7%" in page
    assert "bone: Volume: new less old" in page
    assert "not compared: the box was never idle for long enough" in page
    assert "jo let ct-tissue-bands 1.1.0 run beside the version that serves." in page
    beside = answer(console)["beside"]
    assert beside["shadows"][0]["version"] == "1.1.0"
    (told,) = beside["agreements"]
    assert (told["studies"], told["not_compared"]) == (3, {"shadow.no_time": 1})
    assert told["outcomes"] == {"both": 2, "only_old": 1, "only_new": 0, "neither": 0, "open": 0}
    assert told["numbers"]["bone: Volume"]["limits"] == [1.0, 1.0]
    with console.ledger.write() as tx:
        comparisons.stop(tx, begun, reason="shadow.stopped", by="jo", at=clock.now())
    assert "a person ended it" in console.logged_in().get("/models").text


def test_every_word_of_a_comparison_has_its_reason():
    for word in Word:
        if word is not Word.COMPARED:
            assert not agreement.reason(word).endswith(word), word


def test_what_may_leave_a_site_has_the_cells_that_are_counted():
    assert beside.DIFFERENCE_EDGES == kinds.DIFFERENCE
    assert beside.RATIO_EDGES == kinds.RATIO
