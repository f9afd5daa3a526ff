"""The same answers for a file, a terminal and a page, and what a configuration of them must be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from provisioning.firstboot.steps import STEPS, Kind, Question

PASSWORD = "correct horse & <battery>"
SKIPPED = {"registry": 'No registry here; "bundles" <only>'}
_HASH = re.compile(rb'password_hash = "(\$argon2id\$[^"]+)"')


@dataclass
class Said:
    """Answers of one site."""

    folder: Path

    @property
    def answers(self) -> dict[str, dict[str, Any]]:
        return {
            "network": {"address": "192.0.2.77"},
            "time": {"time_zone": "Europe/Vienna"},
            "site": {"name": 'St "Mary" <b>& Söhne</b> \\ # [x]'},
            "storage": {"root": str(self.folder / "data"), "floor_gib": 2.5, "retain_days": 14},
            "account": {"user": "anna", "password": PASSWORD},
            "dicom": {"ae_title": "BOX ONE", "port": 11113},
            "pacs": {
                "name": "pacs",
                "ae_title": "ARCHIVE",
                "host": "pacs.example.org",
                "port": 104,
                "query": False,
                "outputs": ["sc", "sr"],
            },
            "models": {"names": ["ct-tissue-bands", "ct-phantom-lesion"]},
            "acceptance": {},
        }

    def file(self, path: Path, **changes: Any) -> Path:
        """Write the answers as a file on a stick."""
        tables = self.answers | {key: {"skip": why} for key, why in SKIPPED.items()} | changes
        path.write_text(toml(tables), encoding="utf-8")
        return path

    def typed(self, start: str = "network") -> str:
        """Return what somebody types at the terminal from a step on."""
        keys = [step.key for step in STEPS]
        lines: list[str] = []
        for step in STEPS[keys.index(start) :]:
            if step.key in SKIPPED:
                lines += ["skip", SKIPPED[step.key]]
                continue
            lines.append("answer")
            for question in step.questions:
                answer = typed(self.answers[step.key][question.key])
                lines += [answer, answer] if question.kind is Kind.SECRET else [answer]
        return "\n".join([*lines, "yes", ""])

    def form(self, key: str) -> dict[str, Any]:
        """Return what a browser sends for a step."""
        if key in SKIPPED:
            return {"do": "skip", "reason": SKIPPED[key]}
        step = next(one for one in STEPS if one.key == key)
        return {"do": "answer", **{q.key: _in_form(q, self.answers[key][q.key]) for q in step.questions}}


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """Write tables whose values JSON and TOML write alike."""
    return "\n".join(
        f"[{key}]\n"
        + "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in table.items())
        for key, table in tables.items()
        if table is not None
    )


def typed(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _in_form(question: Question, value: Any) -> Any:
    return value if question.kind is Kind.MANY else typed(value)


def without_salt(written: bytes) -> bytes:
    """Return a configuration whose digest of the password was checked and taken out."""
    (digest,) = _HASH.findall(written)
    assert PasswordHasher().verify(digest.decode(), PASSWORD)
    return written.replace(digest, b"...")
