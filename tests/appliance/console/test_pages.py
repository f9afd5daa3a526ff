"""Every page, empty and filled; whatever a sender wrote stays text."""

from __future__ import annotations

import pytest

from tests.appliance.console.filling import FAILED, GATHERING, HELD, LATE, NORMAL

PAGES = ("/", "/studies?show=attention", "/attention", "/health", "/studies/rows", "/health/rows")


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_an_empty_box(console, page):
    assert console.logged_in().get(page).status_code == 200


@pytest.mark.parametrize(
    "page", [*PAGES, *(f"/studies/{uid}" for uid in (NORMAL, FAILED, HELD, GATHERING, LATE))]
)
def test_pages_of_a_filled_box(filled, page):
    assert filled.logged_in().get(page).status_code == 200
