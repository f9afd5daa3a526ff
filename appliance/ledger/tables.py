"""The tables. `migrations/` builds them; a test holds the two together.

Rows are never deleted but for console sessions, old numbers and what old notices named; an instance whose
bytes were purged keeps its row.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger import (
    audit_tables,
    columns,
    commitment_tables,
    fetch_tables,
    health_tables,
    notice_tables,
    passage_tables,
    prior_tables,
    shadow_tables,
    worklist_tables,
)
from appliance.ledger.columns import refer, row_id, text, time, unique_where

# Who takes it from here has every table in it.
metadata = columns.metadata
audit = audit_tables.audit
audit_checkpoints = audit_tables.audit_checkpoints
audit_shipped = audit_tables.audit_shipped
commitments = commitment_tables.commitments
uncommitted = commitment_tables.uncommitted
promises = commitment_tables.promises
fetches = fetch_tables.fetches
notices = notice_tables.notices
announced = notice_tables.announced
passages = passage_tables.passages
controls = passage_tables.controls
consents = passage_tables.consents
arrival_hours = health_tables.arrival_hours
work_hours = health_tables.work_hours
figures = health_tables.figures
alarms = health_tables.alarms
shadows = shadow_tables.shadows
comparisons = shadow_tables.comparisons
agreements = shadow_tables.agreements
workitems = worklist_tables.workitems
workitem_inputs = worklist_tables.workitem_inputs
worklist_looks = worklist_tables.worklist_looks
prior_asks = prior_tables.prior_asks
priors = prior_tables.priors

# The condition of a partial index, which queries repeat word for word.
UNSETTLED = "state IN ('PENDING', 'SENDING', 'LATER')"

# One row for every distinct instance acknowledged; not `current` once other bytes came under its UID.
instances = sa.Table(
    "instances",
    metadata,
    row_id(),
    text("study_uid"),
    text("series_uid"),
    text("sop_instance_uid"),
    text("sop_class_uid"),
    text("transfer_syntax_uid"),
    text("digest"),
    text("file"),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("pixel_offset", sa.BigInteger),
    sa.Column("pixel_bytes", sa.BigInteger),
    sa.Column("facts", sa.JSON, nullable=False),
    text("calling_ae"),
    time("received_at"),
    text("state"),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Column("copies", sa.Integer, nullable=False),
    sa.UniqueConstraint("study_uid", "series_uid", "sop_instance_uid", "digest", name="uq_instances_content"),
    sa.UniqueConstraint("file", "offset", name="uq_instances_place"),
    sa.Index("ix_instances_study", "study_uid", "series_uid"),
    sa.Index("ix_instances_state", "state", "received_at"),
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    sa.Column("series_uid", sa.Text, primary_key=True),
    time("first_at"),
    time("last_at"),
    time("complete_at", nullable=True),
    # What was measured and read of it once it fell quiet: the variables of a route.
    sa.Column("facts", sa.JSON),
    sa.Index("ix_series_first_at", "first_at"),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    text("state"),
    text("reason", nullable=True),
    time("first_at"),
    time("last_at"),
    time("gathering_since"),
    time("ready_at", nullable=True),
    text("content_digest", nullable=True),
    time("asked_at", nullable=True),
    sa.Column("asked_count", sa.Integer),
    sa.Column("asked_kept", sa.Integer),
    sa.Index("ix_studies_state", "state", "last_at"),
)

# Each time a study became ready with content it never had before.
rounds = sa.Table(
    "rounds",
    metadata,
    row_id(),
    text("study_uid"),
    text("content_digest"),
    time("ready_at"),
    text("reason"),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("routes", sa.Integer),
    sa.UniqueConstraint("study_uid", "content_digest", name="uq_rounds_content"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    row_id(),
    text("study_uid"),
    text("series_uid"),
    text("route"),
    text("mode"),
    text("model_name"),
    text("model_version"),
    text("model_digest"),
    text("input_digest"),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    text("state"),
    # Why the model must not run on this input; such a job only writes a "not eligible" result.
    text("refusal", nullable=True),
    text("word", nullable=True),
    text("reason", nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("kills", sa.Integer, nullable=False),
    sa.Column("notice_attempts", sa.Integer, nullable=False),
    text("owner", nullable=True),
    time("lease_until", nullable=True),
    time("not_before"),
    time("created_at"),
    time("finished_at", nullable=True),
    sa.UniqueConstraint("study_uid", "input_digest", "model_digest", "route", "run", name="uq_jobs_work"),
    sa.Index("ix_jobs_state", "state", "not_before"),
    # How the jobs of one version end: a new one is watched by that every few seconds.
    sa.Index("ix_jobs_model", "model_digest", "finished_at"),
)

# Exactly which instances a job works on: revisions and late arrivals after the decision do not change it.
job_inputs = sa.Table(
    "job_inputs",
    metadata,
    sa.Column("job_id", sa.BigInteger, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("instance_id", sa.BigInteger, sa.ForeignKey("instances.id"), primary_key=True),
)

# One row for each study content and active route, with its reason (P3). "No match" is a row too.
decisions = sa.Table(
    "decisions",
    metadata,
    row_id(),
    text("study_uid"),
    text("content_digest"),
    text("route"),
    text("verdict"),
    text("reason"),
    refer("job_id", "jobs", nullable=True),
    time("decided_at"),
    # [{"series_uid", "number", "description", "chosen", "sentence"}], one for every series of the study.
    sa.Column("series", sa.JSON, nullable=False),
    sa.UniqueConstraint("study_uid", "content_digest", "route", name="uq_decisions_route"),
)

results = sa.Table(
    "results",
    metadata,
    row_id(),
    refer("job_id", "jobs"),
    text("study_uid"),
    text("route"),
    text("outcome"),
    text("statement"),
    text("engine"),
    text("stepped_down", nullable=True),
    text("evidence_digest"),
    # [[SOP Instance UID, digest]] of exactly what was used (P7).
    sa.Column("evidence", sa.JSON, nullable=False),
    # [{"name", "value", "unit", "segment"}] for the console.
    sa.Column("measurements", sa.JSON, nullable=False),
    sa.Column("seconds", sa.JSON, nullable=False),
    refer("supersedes_id", "results", nullable=True),
    time("created_at"),
    sa.UniqueConstraint("job_id", name="uq_results_job"),
    sa.Index("ix_results_study", "study_uid", "id"),
    sa.Index("ix_results_created_at", "created_at"),
)

objects = sa.Table(
    "objects",
    metadata,
    row_id(),
    refer("result_id", "results"),
    text("output"),
    text("sop_class_uid"),
    text("sop_instance_uid"),
    text("series_uid"),
    text("transfer_syntax_uid"),
    text("series_description"),
    text("modality"),
    text("digest"),
    text("file"),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    text("preview_file", nullable=True),
    # When the box gave the bytes up; the row stays.
    time("purged_at", nullable=True),
    sa.UniqueConstraint("sop_instance_uid", name="uq_objects_sop_instance_uid"),
    sa.Index(
        "ix_objects_kept",
        "result_id",
        sqlite_where=sa.text("purged_at IS NULL"),
        postgresql_where=sa.text("purged_at IS NULL"),
    ),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    row_id(),
    refer("object_id", "objects"),
    text("peer"),
    text("state"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("refusals", sa.Integer, nullable=False),
    time("due_at"),
    time("lease_until", nullable=True),
    sa.Column("status", sa.Integer),
    text("word", nullable=True),
    time("created_at"),
    time("settled_at", nullable=True),
    text("settled_by", nullable=True),
    # The output that the peer asked for and does not take, where this object stands in for it.
    text("instead_of", nullable=True),
    sa.UniqueConstraint("object_id", "peer", name="uq_deliveries_object"),
    sa.Index("ix_deliveries_state", "state", "due_at"),
    # What is still to be sent to a peer, in the order it was made: the courier asks every second.
    sa.Index(
        "ix_deliveries_unsettled",
        *("peer", "object_id", "due_at", "state"),
        sqlite_where=sa.text(UNSETTLED),
        postgresql_where=sa.text(UNSETTLED),
    ),
)

# What each destination said it takes when it was last asked; one that never answered has no row.
acceptances = sa.Table(
    "acceptances",
    metadata,
    sa.Column("peer", sa.Text, primary_key=True),
    sa.Column("sop_class_uid", sa.Text, primary_key=True),
    sa.Column("transfer_syntax_uid", sa.Text, primary_key=True),
    sa.Column("accepted", sa.Boolean, nullable=False),
    time("asked_at"),
)

# Studies that a PACS has and the box has not, or not whole. A row stays when it ended, and says how.
missed = sa.Table(
    "missed",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    sa.Column("peer", sa.Text, primary_key=True),
    text("state"),
    # Images that the peer has and the box has not.
    sa.Column("absent", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    # What the last fetch came to.
    text("word", nullable=True),
    time("first_at"),
    time("due_at"),
    time("tried_at", nullable=True),
    time("ended_at", nullable=True),
    sa.Index("ix_missed_state", "state", "peer", "due_at"),
)

# When each PACS last answered what it has, and how many studies it named.
looks = sa.Table(
    "looks",
    metadata,
    sa.Column("peer", sa.Text, primary_key=True),
    time("at"),
    sa.Column("studies", sa.Integer, nullable=False),
)

# What a person said of a result, in an SR that refers to its objects (IHE AIRA); later ones erase nothing.
assessments = sa.Table(
    "assessments",
    metadata,
    row_id(),
    refer("result_id", "results"),
    text("study_uid"),
    text("sop_instance_uid"),
    # accepted | modified | rejected
    text("verdict"),
    # The tracking UID of the finding that was judged; empty for the whole result.
    text("tracking_uid"),
    text("calling_ae"),
    time("assessed_at"),
    sa.UniqueConstraint("sop_instance_uid", "result_id", "tracking_uid", name="uq_assessments_document"),
)

# One row for every model package that was brought to this box by a command, with what came of it.
# A version number means one digest for ever; only what was rejected may come again with other bytes.
model_versions = sa.Table(
    "model_versions",
    metadata,
    row_id(),
    text("name"),
    text("version"),
    # Empty where the package could not even be opened.
    text("digest"),
    text("state"),
    text("source"),
    # What was checked on this device, with which engine, and why it was refused.
    sa.Column("evidence", sa.JSON, nullable=False),
    # What served this name until this version was activated: where a rollback goes.
    text("former_digest", nullable=True),
    # Counts the changes of the row; the sum over all rows tells whether anything changed.
    sa.Column("moves", sa.Integer, nullable=False),
    time("fetched_at"),
    time("changed_at"),
    time("activated_at", nullable=True),
    time("removed_at", nullable=True),
    sa.UniqueConstraint("name", "version", "digest", name="uq_model_versions_digest"),
    unique_where("uq_model_versions_active", "name", where="state = 'ACTIVE'"),
    unique_where("uq_model_versions_version", "name", "version", where="state <> 'REJECTED'"),
)

# The timeline: what happened to a study and to the box, in words, without patient data.
events = sa.Table(
    "events",
    metadata,
    row_id(),
    time("at"),
    text("word"),
    text("study_uid", nullable=True),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("ix_events_study", "study_uid", "at"),
    sa.Index("ix_events_at", "at"),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("pid", sa.Integer, nullable=False),
    time("started_at"),
    time("beat_at"),
    sa.Column("detail", sa.JSON, nullable=False),
)

# Tokens are kept as digests: who reads the ledger cannot log in with what is there.
console_tokens = sa.Table(
    "console_tokens",
    metadata,
    sa.Column("token_digest", sa.Text, primary_key=True),
    text("kind"),
    text("username"),
    time("created_at"),
    time("expires_at"),
)
