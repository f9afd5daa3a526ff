"""The page on telemetry shows the closed list as it is."""

from pathlib import Path

from appliance.health.pages import tables

PAGE = Path(__file__).resolve().parents[3] / "docs" / "telemetry.md"


def test_the_page_shows_the_list_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- list -->\n", "<!-- end of list -->"
    assert page.partition(begin)[2].partition(end)[0].strip() == tables().strip()
