"""People with browsers: they log in by the form, load pages, and press the buttons that a page shows."""

from __future__ import annotations

import re
from html import unescape

import httpx

from tests.provisioning.fleet import PASSWORD
from tests.provisioning.registry.given import SECONDS_MAX

_PROOF = re.compile(r'name="csrf" value="([^"]*)"')


class Visit:
    """One browser; it keeps its cookies and goes where it is sent."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=SECONDS_MAX, follow_redirects=True)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def text(self, path: str) -> str:
        """A page without its marks, spaces folded."""
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return plain(answer.text)

    def log_in(self, name: str, password: str = PASSWORD, *, wanted: str = "/") -> httpx.Response:
        proof = self.proof(f"/login?next={wanted}")
        form = {"user": name, "password": password, "csrf": proof, "next": wanted}
        return self.client.post("/login", data=form)

    def proof(self, path: str) -> str:
        """What a form of a page carries."""
        found = _PROOF.search(self.get(path).text)
        assert found is not None, path
        return found[1]

    def press(self, path: str, on: str = "/devices", **fields: str) -> httpx.Response:
        """Send a form with the proof of a page of this session."""
        return self.client.post(path, data={"csrf": self.proof(on), **fields})


def plain(page: str) -> str:
    """The text of a page's content, as a person reads it."""
    (content,) = re.findall(r"<main.*?</main>", page, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", content)).split())
