"""The judge: the journals against the ledger and the spool, line by line; each line must be 0.

The ledger is read as a plain SQLite file, and bytes are digested anew: nothing is taken from the box's own
counts but its balance, which is a line of its own.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.audit import checkpoint
from appliance.audit.verify import Report, verify
from appliance.ledger import counts
from appliance.ledger.engine import Tx
from appliance.spool.alone import alone
from appliance.spool.extract import instances_in
from appliance.spool.store import Spool
from scripts.night.journal import lines
from scripts.night.pacs import REPORT
from scripts.night.senders import digest_of
from scripts.night.site import ROUTE, NightBox

# Words for errors that nobody foresaw; whatever is no JSON line is one too.
UNFORESEEN = frozenset(
    f"{room}.{kind}"
    for room, kinds in {
        "assessment": ("fault",),
        "assemble": ("fault",),
        "audit": ("fault",),
        "conductor": ("fault",),
        "console": ("fault",),
        "courier": ("fault", "unasked"),
        "disk": ("fault", "digest_mismatch"),
        "engine": ("unforeseen",),
        "inference": ("unforeseen",),
        "job": ("unforeseen",),
        "ledger": ("damaged", "fault"),
        "model": ("unforeseen",),
        "node": ("connection_fault",),
        "receive": ("our_fault",),
        "service": ("fault",),
        "spool": ("fault",),
        "sweep": ("quarantined",),
    }.items()
    for kind in kinds
)
_SETTLED = ("ACCEPTED", "COMMITTED", "SETTLED")


@dataclass(frozen=True, kw_only=True)
class Studies:
    """What the senders say they sent: instances by study, and which are complete and wanted by the route."""

    instances: Mapping[str, int]
    complete: frozenset[str]
    wanted: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the senders and the attackers say of single instances; `acknowledged` as (UID, digest)."""

    tried: int
    answers: Counter[str]
    acknowledged: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The conservation lines, and figures beside them."""

    lines: Mapping[str, int]
    figures: Mapping[str, Any]
    examples: Mapping[str, list[str]]

    @property
    def balance(self) -> int:
        """Return the sum of all lines: 0, or something is wrong."""
        return sum(self.lines.values())


def studies_sent(path: Path) -> Studies:
    """Read which studies were sent, from a senders' journal."""
    instances: dict[str, int] = {}
    wanted, complete = set(), set()
    for line in lines(path):
        if "instances" in line:
            instances[line["study"]] = line["instances"]
            if line["wanted"]:
                wanted.add(line["study"])
        elif "complete" in line:
            complete.add(line["study"])
    return Studies(instances=instances, complete=frozenset(complete), wanted=frozenset(wanted))


def sent(*paths: Path) -> Sent:
    """Read what was answered to each instance."""
    answers, acknowledged, tried = Counter[str](), set(), 0
    for path in paths:
        for line in lines(path):
            if "uid" in line:
                tried += 1
                status = line["status"]
                answers["none" if status is None else f"{status:04X}"] += 1
                if status == 0:
                    acknowledged.add((line["uid"], line["digest"]))
    return Sent(tried=tried, answers=answers, acknowledged=frozenset(acknowledged))


def judge(box: NightBox, *, folder: Path, foreseen: frozenset[str] = frozenset()) -> Verdict:
    """Hold every journal against the box, which is quiet by now; only what it purges must wait for us.

    The words in `foreseen` are no errors in this run.
    """
    with alone(Spool(box.config.storage.root), wait=True):
        return _judge(box, folder, UNFORESEEN - foreseen)


def _judge(box: NightBox, folder: Path, bad_words: frozenset[str]) -> Verdict:
    studies = studies_sent(folder / "senders.jsonl")
    everything = sent(folder / "senders.jsonl", folder / "attackers.jsonl")
    sound = sent(folder / "senders.jsonl")
    accepted = list(lines(folder / "pacs" / "accepted.jsonl"))
    spooled = _spooled(box)
    with closing(_open(box)) as db:
        purged = {tuple(row) for row in db.execute(_PURGED)}
        objects = {tuple(row) for row in db.execute("SELECT sop_instance_uid, digest FROM objects")}
        delivered = {tuple(row) for row in db.execute(_DELIVERED)}
        lost = everything.acknowledged - set(spooled) - purged
        came = {(line["uid"], line["digest"]) for line in accepted}
        contents = Counter(uid for uid, _ in came)
        reports = {(line["uid"], line["digest"]) for line in accepted if line["sop_class"].startswith(REPORT)}
        undecided = _undecided(db, studies)
        answered = _answered(db, studies, reports)
        unforeseen = _unforeseen(box.log_path, bad_words)
        checks: dict[str, Any] = {
            "acknowledged and not in the box, byte for byte": sorted(uid for uid, _ in lost),
            "kept twice": sorted(uid for (uid, _), number in spooled.items() if number > 1),
            "sound images refused for good": [
                status
                for status in sound.answers.elements()
                if status not in ("0000", "none", "A700", "A702")
            ],
            "studies never acknowledged whole": sorted(studies.instances.keys() - studies.complete),
            "complete studies without a decision": undecided,
            "results beyond one for each content, model, route and run": _doubled(db),
            "complete studies without a report on all of it at the PACS": sorted(
                (studies.complete & studies.wanted) - answered
            ),
            "objects the PACS accepted and the ledger lacks": sorted(uid for uid, _ in came - objects),
            "UIDs with two contents at the PACS": sorted(uid for uid, n in contents.items() if n > 1),
            "deliveries said to be accepted that the PACS never had": sorted(
                uid for uid, _ in delivered - came
            ),
            "deliveries said to be committed that the PACS never committed": sorted(
                {uid for (uid,) in db.execute(_COMMITTED)} - _named(folder / "pacs" / "committed.jsonl")
            ),
            "images promised to a modality that the box has not": sorted(
                _named(folder / "promised.jsonl") - {uid for uid, _ in (*spooled, *purged)}
            ),
            "deliveries not settled": _unsettled(db),
            "errors nobody foresaw": unforeseen,
        }
        figures = {
            "studies": len(studies.instances),
            "studies wanted by the route": len(studies.wanted),
            "instances sent": sound.tried,
            "instances acknowledged": len(sound.acknowledged),
            "answers to sound instances": dict(sound.answers.most_common()),
            "malformed data sets acknowledged": len(everything.acknowledged - sound.acknowledged),
            "objects the PACS accepted": len(came),
            "objects it was sent more than once": len(accepted) - len(came),
            "instances purged": len(purged),
            "jobs": dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()),
            "results": dict(db.execute("SELECT outcome, count(*) FROM results GROUP BY outcome").fetchall()),
        }
    trail = _trail(box)
    checks["faults of the audit trail"] = [] if trail.ok else [trail.fault]
    figures["rows of the audit trail"] = trail.rows
    with box.ledger.read() as tx:
        counted = counts.count(tx)
    checks["rows that break a promise (`readside status`)"] = [
        name for name, number in counted.faults.items() for _ in range(number)
    ]
    return Verdict(
        lines={name: len(found) for name, found in checks.items()},
        figures=figures,
        examples={name: list(map(str, found[:5])) for name, found in checks.items() if found},
    )


_PURGED = "SELECT sop_instance_uid, digest FROM instances WHERE state = 'purged'"
_DELIVERED = """SELECT objects.sop_instance_uid, objects.digest FROM deliveries
    JOIN objects ON objects.id = deliveries.object_id WHERE deliveries.state IN ('ACCEPTED', 'COMMITTED')"""

_COMMITTED = """SELECT objects.sop_instance_uid FROM deliveries
    JOIN objects ON objects.id = deliveries.object_id WHERE deliveries.state = 'COMMITTED'"""


def _named(path: Path) -> set[str]:
    return {line["uid"] for line in lines(path)}


def waiting(tx: Tx) -> int:
    """Count what the ledger says is still to be done."""
    counted = counts.count(tx)
    jobs = sum(n for state, n in counted.jobs.items() if state in ("WAITING", "LEASED"))
    jobs += sum(n for state, n in counted.studies.items() if state in ("GATHERING", "READY"))
    return jobs + sum(n for state, n in counted.deliveries.items() if state not in _SETTLED)


def _open(box: NightBox) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{box.config.ledger_url.removeprefix('sqlite:///')}?mode=ro", uri=True)


def _spooled(box: NightBox) -> Counter[tuple[str, str]]:
    """Digest every data set in the spool anew."""
    found: Counter[tuple[str, str]] = Counter()
    for one in instances_in(box.config.storage.root / "kept"):
        with suppress(FileNotFoundError):
            found[one.record.sop_instance_uid, digest_of(b"".join(one.pieces()))] += 1
    return found


def _undecided(db: sqlite3.Connection, studies: Studies) -> list[str]:
    """Return the complete studies whose whole content no route decided on."""
    decided = """SELECT rounds.study_uid, rounds.instances FROM rounds JOIN decisions
        ON decisions.study_uid = rounds.study_uid AND decisions.content_digest = rounds.content_digest
        WHERE decisions.route = ?"""
    whole = {(uid, number) for uid, number in db.execute(decided, (ROUTE,))}
    return sorted(uid for uid in studies.complete if (uid, studies.instances[uid]) not in whole)


def _answered(db: sqlite3.Connection, studies: Studies, reports: set[tuple[str, str]]) -> set[str]:
    """Return the studies of whose whole content the PACS has a report."""
    of_jobs = """SELECT jobs.study_uid, objects.sop_instance_uid, objects.digest,
        (SELECT count(*) FROM job_inputs WHERE job_inputs.job_id = jobs.id) FROM objects
        JOIN results ON results.id = objects.result_id JOIN jobs ON jobs.id = results.job_id"""
    return {
        study_uid
        for study_uid, uid, digest, used in db.execute(of_jobs)
        if (uid, digest) in reports and used == studies.instances.get(study_uid)
    }


def _doubled(db: sqlite3.Connection) -> list[str]:
    same = """SELECT jobs.study_uid FROM results JOIN jobs ON jobs.id = results.job_id
        GROUP BY jobs.study_uid, input_digest, model_digest, jobs.route, run HAVING count(*) > 1"""
    return [row[0] for row in db.execute(same)]


def _trail(box: NightBox) -> Report:
    """Verify the audit trail against its hashes and its signed checkpoints."""
    folder = checkpoint.folder_of(box.config.storage.root)
    key = checkpoint.read_public_key(checkpoint.public_key_path(folder))
    return verify(box.ledger, key, folder=folder)


def _unsettled(db: sqlite3.Connection) -> list[str]:
    marks = ",".join("?" * len(_SETTLED))
    return [
        str(row[0])
        for row in db.execute(f"SELECT word FROM deliveries WHERE state NOT IN ({marks})", _SETTLED)
    ]


def _unforeseen(path: Path, bad_words: frozenset[str]) -> list[str]:
    """Return what of a log is no event, or an event that means that nobody foresaw it."""
    return [said for said, _ in _faults(path, bad_words)]


def _faults(path: Path, bad_words: frozenset[str]) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
            except ValueError:
                yield f"line {number}: {line[:160].strip()}", number
                continue
            if entry["event"] in bad_words:
                yield (
                    f"line {number}: {entry['event']} {entry.get('error', '')} {entry.get('where', '')}",
                    number,
                )
