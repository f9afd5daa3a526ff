"""Commands that only look: status, studies, why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from appliance.cli.terms import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, opened_ledger, out, print_json
from appliance.console.announcing import only_announced
from appliance.console.explain import why as explain_why
from appliance.console.worklist import standing as worklist_standing
from appliance.core.alarming import AlarmKind, sentence
from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.disk.space import free_bytes
from appliance.health.outbox import Outbox, folder_of
from appliance.ledger import (
    alarms,
    announced,
    commitments,
    controls,
    counts,
    deliveries,
    events,
    fetches,
    jobs,
    missing,
    passages,
    promises,
    results,
    services,
)
from appliance.ledger import studies as study_rows
from appliance.ledger.engine import Ledger, Tx
from appliance.sync.phase import Phase
from appliance.sync.standing import read_standing

_LATEST = 50
_NEVER_KEPT = "no instance of this study was ever kept here"


def status(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show what the box holds, whether it adds up, and which services are alive."""
    with opened_ledger(config) as (read, ledger), ledger.read() as tx:
        counted = counts.count(tx)
        alive = services.everyone(tx)
        reconciled = missing.standing(tx, read.reconcile.peers)
        worklist = worklist_standing(tx, read)
        uncommitted, promised = commitments.standing(tx), promises.standing(tx)
        said = announced.standing(tx)
        wrong = alarms.current(tx)
        coming, holds = passages.under_way(tx), controls.everything(tx, at=ledger.clock.now())
    report: dict[str, Any] = asdict(counted) | {"balance": counted.balance}
    report["services"] = {s.name: {"pid": s.pid, "beat_at": as_text(s.beat_at)} for s in alive}
    report["missed"] = reconciled.studies
    report["reconcile"] = {
        "waiting": reconciled.waiting,
        **{peer: None if at is None else as_text(at) for peer, at in reconciled.looked_at.items()},
    }
    report["announced"] = asdict(said)
    standing = read_standing(read.storage.root)
    report["registry"] = None if standing is None else standing.as_json()
    report["releases"] = [_release(passage) for passage in coming]
    report["holds"] = [_hold(control) for control in holds]
    report["uncommitted"] = {
        peer: {"to_ask": s.to_ask, "asked": s.asked, "oldest_at": as_text(s.oldest_at)}
        for peer, s in uncommitted.items()
    }
    report["promises"] = promised
    report["worklist"] = None if worklist is None else worklist.as_json()
    report["alerts"] = [
        {
            "alarm": AlarmKind(one.kind).word,
            "subject": one.subject,
            "since": as_text(one.raised_at),
            "sentence": sentence(one.kind, one.subject, one.numbers, zone=read.site.zone),
        }
        for one in wrong
    ]
    report["telemetry"] = _telemetry(read)
    report["disk_free_bytes"] = free_bytes(read.storage.root)
    if as_json:
        print_json(report)
        return
    table = Table("what", "count", box=None)
    for name, value in report.items():
        table.add_row(name, _plain(value))
    out.print(table)


def _release(passage: passages.Passage) -> dict[str, Any]:
    return {
        "model": passage.name,
        "version": passage.version,
        "phase": Phase(passage.phase).text,
        "since": as_text(passage.phase_at),
        "word": passage.word,
        "why": passage.sentence,
    }


def _hold(control: controls.Control) -> dict[str, Any]:
    return {
        "kind": control.kind.value,
        "model": control.model or "every model",
        "version": control.version,
        "until": as_text(control.until_at),
        "by": control.placed_by,
        "why": control.reason,
    }


def _telemetry(read: Config) -> dict[str, Any]:
    """Return what the site lets out, and how far it came; asking makes no file."""
    folder = folder_of(read.storage.root)
    report: dict[str, Any] = {"level": read.registry.told, "told_by": list(read.alerts.ways)}
    if not folder.is_dir():
        return report | {"waiting": 0, "heard_at": None, "lost": 0}
    outbox = Outbox(folder=folder)
    heard = outbox.number("heard_at")
    report |= {"waiting": outbox.backlog(), "lost": int(outbox.number("lost") or 0)}
    return report | {"heard_at": None if heard is None else as_text(heard)}


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_plain(one) for one in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "-"
    return str(value)


def studies(
    study_uid: Annotated[str | None, typer.Argument(help="Show this study's timeline.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List the newest studies, or show one study's timeline."""
    with opened_ledger(config) as (_, ledger):
        if study_uid is None:
            _list_studies(ledger, as_json=as_json)
        else:
            _show_study(ledger, study_uid, as_json=as_json)


def _list_studies(ledger: Ledger, *, as_json: bool) -> None:
    with ledger.read() as tx:
        listed = [_summary(tx, study) for study in study_rows.latest(tx, _LATEST)]
        asked = [one for one in fetches.latest(tx, _LATEST) if one.ended_at is None]
    if as_json:
        print_json({"studies": listed, "fetches": [asdict(one) for one in asked]})
        return
    # A UID cut short is of no use to `readside why`; whatever else is too wide is folded.
    study = Column("study", no_wrap=True)
    table = Table(study, "state", "instances", "last arrival", "outcomes", box=None)
    for row in listed:
        table.add_row(
            *(str(row[k]) for k in ("study_uid", "state", "instances", "last_at")), ", ".join(row["outcomes"])
        )
    out.print(table)
    for one in asked:
        tried = f", {one.tries} tries, last {one.word}" if one.tries else ""
        out.print(f"{one.study_uid} is being fetched from {one.peer}{tried}", markup=False)


def _summary(tx: Tx, study: study_rows.Study) -> dict[str, Any]:
    return {
        "study_uid": study.study_uid,
        "state": study.state.value,
        "reason": study.reason,
        "instances": study_rows.count_of(tx, study.study_uid),
        "last_at": as_text(study.last_at),
        "outcomes": [f"{r.route}: {r.outcome}" for r in results.of_study(tx, study.study_uid)],
    }


def _show_study(ledger: Ledger, study_uid: str, *, as_json: bool) -> None:
    with ledger.read() as tx:
        study = study_rows.find(tx, study_uid)
        asked = [asdict(one) for one in fetches.of_study(tx, study_uid)]
        if study is None and not asked:
            fail(_NEVER_KEPT)
        summary: dict[str, Any] = {"study_uid": study_uid} if study is None else _summary(tx, study)
        whole = summary | {
            "fetches": asked,
            "timeline": [asdict(e) | {"at": as_text(e.at)} for e in events.of_study(tx, study_uid)],
            "series": [asdict(s) for s in study_rows.series_of(tx, study_uid)],
            "jobs": [asdict(j) for j in jobs.of_study(tx, study_uid)],
            "results": [asdict(r) for r in results.of_study(tx, study_uid)],
            "deliveries": [asdict(d) for d in deliveries.of_study(tx, study_uid)],
        }
    if as_json:
        print_json(whole)
        return
    for event in whole["timeline"]:
        detail = "  ".join(f"{k}={v}" for k, v in event["detail"].items() if v is not None)
        out.print(f"{event['at']}  {event['word']:<24} {detail}", markup=False)


def why(
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say why each model ran, or did not, on a study, with a sentence for every series."""
    with opened_ledger(config) as (_, ledger):
        explanation = explain_why(ledger, study_uid)
        told = [] if explanation is not None else only_announced(ledger, study_uid)
    if explanation is None:
        fail(" ".join(["no instance of this study was ever kept here.", *told]) if told else _NEVER_KEPT)
    if as_json:
        print_json(explanation.as_dict())
        return
    for line in explanation.lines():
        out.print(line, markup=False)
