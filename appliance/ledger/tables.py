"""The tables. `migrations/` builds them; a test holds the two together.

Times are seconds since the Unix epoch, UTC, as doubles.
Rows are never deleted but for console sessions; an instance whose bytes were purged keeps its row.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    # SQLite makes a row id only of INTEGER; PostgreSQL wants eight bytes.
    return sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )


def _seq() -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("seq", kind, primary_key=True, autoincrement=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _refer(name: str, to: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.ForeignKey(f"{to}.id"), nullable=nullable, index=True)


def _unique_where(name: str, *columns: str, where: str) -> sa.Index:
    return sa.Index(name, *columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


# The condition of a partial index, which queries repeat word for word.
UNSETTLED = "state IN ('PENDING', 'SENDING', 'LATER')"

# One row for every distinct instance acknowledged; not `current` once other bytes came under its UID.
instances = sa.Table(
    "instances",
    metadata,
    _id(),
    _text("study_uid"),
    _text("series_uid"),
    _text("sop_instance_uid"),
    _text("sop_class_uid"),
    _text("transfer_syntax_uid"),
    _text("digest"),
    _text("file"),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("pixel_offset", sa.BigInteger),
    sa.Column("pixel_bytes", sa.BigInteger),
    sa.Column("facts", sa.JSON, nullable=False),
    _text("calling_ae"),
    _time("received_at"),
    _text("state"),
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
    _time("first_at"),
    _time("last_at"),
    _time("complete_at", nullable=True),
    # What was measured and read of it once it fell quiet: the variables of a route.
    sa.Column("facts", sa.JSON),
)

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    _text("state"),
    _text("reason", nullable=True),
    _time("first_at"),
    _time("last_at"),
    _time("gathering_since"),
    _time("ready_at", nullable=True),
    _text("content_digest", nullable=True),
    _time("asked_at", nullable=True),
    sa.Column("asked_count", sa.Integer),
    sa.Column("asked_kept", sa.Integer),
    sa.Index("ix_studies_state", "state", "last_at"),
)

# Each time a study became ready with content it never had before.
rounds = sa.Table(
    "rounds",
    metadata,
    _id(),
    _text("study_uid"),
    _text("content_digest"),
    _time("ready_at"),
    _text("reason"),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("routes", sa.Integer),
    sa.UniqueConstraint("study_uid", "content_digest", name="uq_rounds_content"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    _text("study_uid"),
    _text("series_uid"),
    _text("route"),
    _text("mode"),
    _text("model_name"),
    _text("model_version"),
    _text("model_digest"),
    _text("input_digest"),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    _text("state"),
    # Why the model must not run on this input; such a job only writes a "not eligible" result.
    _text("refusal", nullable=True),
    _text("word", nullable=True),
    _text("reason", nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("kills", sa.Integer, nullable=False),
    sa.Column("notice_attempts", sa.Integer, nullable=False),
    _text("owner", nullable=True),
    _time("lease_until", nullable=True),
    _time("not_before"),
    _time("created_at"),
    _time("finished_at", nullable=True),
    sa.UniqueConstraint("study_uid", "input_digest", "model_digest", "route", "run", name="uq_jobs_work"),
    sa.Index("ix_jobs_state", "state", "not_before"),
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
    _id(),
    _text("study_uid"),
    _text("content_digest"),
    _text("route"),
    _text("verdict"),
    _text("reason"),
    _refer("job_id", "jobs", nullable=True),
    _time("decided_at"),
    # [{"series_uid", "number", "description", "chosen", "sentence"}], one for every series of the study.
    sa.Column("series", sa.JSON, nullable=False),
    sa.UniqueConstraint("study_uid", "content_digest", "route", name="uq_decisions_route"),
)

results = sa.Table(
    "results",
    metadata,
    _id(),
    _refer("job_id", "jobs"),
    _text("study_uid"),
    _text("route"),
    _text("outcome"),
    _text("statement"),
    _text("engine"),
    _text("stepped_down", nullable=True),
    _text("evidence_digest"),
    # [[SOP Instance UID, digest]] of exactly what was used (P7).
    sa.Column("evidence", sa.JSON, nullable=False),
    # [{"name", "value", "unit", "segment"}] for the console.
    sa.Column("measurements", sa.JSON, nullable=False),
    sa.Column("seconds", sa.JSON, nullable=False),
    _refer("supersedes_id", "results", nullable=True),
    _time("created_at"),
    sa.UniqueConstraint("job_id", name="uq_results_job"),
    sa.Index("ix_results_study", "study_uid", "id"),
)

objects = sa.Table(
    "objects",
    metadata,
    _id(),
    _refer("result_id", "results"),
    _text("output"),
    _text("sop_class_uid"),
    _text("sop_instance_uid"),
    _text("series_uid"),
    _text("transfer_syntax_uid"),
    _text("series_description"),
    _text("modality"),
    _text("digest"),
    _text("file"),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    _text("preview_file", nullable=True),
    sa.UniqueConstraint("sop_instance_uid", name="uq_objects_sop_instance_uid"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    _id(),
    _refer("object_id", "objects"),
    _text("peer"),
    _text("state"),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("refusals", sa.Integer, nullable=False),
    _time("due_at"),
    _time("lease_until", nullable=True),
    sa.Column("status", sa.Integer),
    _text("word", nullable=True),
    _time("created_at"),
    _time("settled_at", nullable=True),
    _text("settled_by", nullable=True),
    # The output that the peer asked for and does not take, where this object stands in for it.
    _text("instead_of", nullable=True),
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
    _time("asked_at"),
)

# Studies that a PACS has and the box has not, or not whole. A row stays when it ended, and says how.
missed = sa.Table(
    "missed",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    sa.Column("peer", sa.Text, primary_key=True),
    _text("state"),
    # Images that the peer has and the box has not.
    sa.Column("absent", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    # What the last fetch came to.
    _text("word", nullable=True),
    _time("first_at"),
    _time("due_at"),
    _time("tried_at", nullable=True),
    _time("ended_at", nullable=True),
    sa.Index("ix_missed_state", "state", "peer", "due_at"),
)

# When each PACS last answered what it has, and how many studies it named.
looks = sa.Table(
    "looks",
    metadata,
    sa.Column("peer", sa.Text, primary_key=True),
    _time("at"),
    sa.Column("studies", sa.Integer, nullable=False),
)

# What a person said of a result, in an SR that refers to its objects (IHE AIRA); later ones erase nothing.
assessments = sa.Table(
    "assessments",
    metadata,
    _id(),
    _refer("result_id", "results"),
    _text("study_uid"),
    _text("sop_instance_uid"),
    # accepted | modified | rejected
    _text("verdict"),
    # The tracking UID of the finding that was judged; empty for the whole result.
    _text("tracking_uid"),
    _text("calling_ae"),
    _time("assessed_at"),
    sa.UniqueConstraint("sop_instance_uid", "result_id", "tracking_uid", name="uq_assessments_document"),
)

# One row for every model package that was brought to this box by a command, with what came of it.
# A version number means one digest for ever; only what was rejected may come again with other bytes.
model_versions = sa.Table(
    "model_versions",
    metadata,
    _id(),
    _text("name"),
    _text("version"),
    # Empty where the package could not even be opened.
    _text("digest"),
    _text("state"),
    _text("source"),
    # What was checked on this device, with which engine, and why it was refused.
    sa.Column("evidence", sa.JSON, nullable=False),
    # What served this name until this version was activated: where a rollback goes.
    _text("former_digest", nullable=True),
    # Counts the changes of the row; the sum over all rows tells whether anything changed.
    sa.Column("moves", sa.Integer, nullable=False),
    _time("fetched_at"),
    _time("changed_at"),
    _time("activated_at", nullable=True),
    _time("removed_at", nullable=True),
    sa.UniqueConstraint("name", "version", "digest", name="uq_model_versions_digest"),
    _unique_where("uq_model_versions_active", "name", where="state = 'ACTIVE'"),
    _unique_where("uq_model_versions_version", "name", "version", where="state <> 'REJECTED'"),
)

# The timeline: what happened to a study and to the box, in words, without patient data.
events = sa.Table(
    "events",
    metadata,
    _id(),
    _time("at"),
    _text("word"),
    _text("study_uid", nullable=True),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Index("ix_events_study", "study_uid", "at"),
    sa.Index("ix_events_at", "at"),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("pid", sa.Integer, nullable=False),
    _time("started_at"),
    _time("beat_at"),
    sa.Column("detail", sa.JSON, nullable=False),
)

# Tokens are kept as digests: who reads the ledger cannot log in with what is there.
console_tokens = sa.Table(
    "console_tokens",
    metadata,
    sa.Column("token_digest", sa.Text, primary_key=True),
    _text("kind"),
    _text("username"),
    _time("created_at"),
    _time("expires_at"),
)

# The audit trail: one PS3.15 A.5 message for each row, chained by hashes from the first to the last.
# `event_id` is the row of the timeline that it tells of; none for what the trail says of itself.
audit = sa.Table(
    "audit",
    metadata,
    _seq(),
    sa.Column("event_id", sa.BigInteger, sa.ForeignKey("events.id"), nullable=True, unique=True),
    _time("at"),
    _text("body"),
    _text("hash"),
)

# Signed states of the chain; the same lines stand in a file beside the ledger and leave by syslog.
audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    _seq(),
    _time("at"),
    _text("hash"),
    _text("key_id"),
    _text("signature"),
)

# How far the trail was handed to each audit repository.
audit_shipped = sa.Table(
    "audit_shipped",
    metadata,
    sa.Column("repository", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    _time("at"),
)
