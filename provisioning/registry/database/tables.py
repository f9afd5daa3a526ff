"""The registry's tables. `migrations/` builds them; a test holds the two together.

Rows of accounts, slots, devices, audit and alerts are never deleted; sessions end, records age out.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger import columns
from appliance.ledger.columns import row_id, sequence, text, time, unique_where

metadata = sa.MetaData(naming_convention=columns.metadata.naming_convention)

# Conditions of partial indexes, which queries repeat word for word.
ENROLLED = "state = 'enrolled'"
OPEN = "closed_at IS NULL"
UNDER_WAY = "stage IN ('running', 'paused')"


accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    text("password_hash"),
    text("role"),
    time("created_at"),
    time("disabled_at", nullable=True),
)

# Tokens are kept as digests: who reads the database cannot log in with what is there.
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_digest", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey("accounts.name"), nullable=False),
    time("created_at"),
    time("expires_at"),
    sa.Index("ix_sessions_account", "account"),
)

# Every act of a person or of the roll-out's controller, chained by hashes from the first to the last.
audit = sa.Table(
    "audit",
    metadata,
    sequence(),
    time("at"),
    text("who"),
    text("act"),
    text("subject"),
    text("before"),
    text("after"),
    text("why"),
    text("hash"),
    sa.Index("ix_audit_subject", "subject", "seq"),
)

# A position at a site: AE title, pins and floors belong to it, whatever hardware stands there.
slots = sa.Table(
    "slots",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    text("site"),
    text("gpu"),
    text("vendor"),
    sa.Column("ring", sa.Integer),
    # Until when its silence is planned.
    time("offline_until", nullable=True),
    time("created_at"),
    time("retired_at", nullable=True),
)

# Hardware with a key of its own; `id` is the SHA-256 of the key's SubjectPublicKeyInfo, in hexadecimal.
devices = sa.Table(
    "devices",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("slot", sa.Text, sa.ForeignKey("slots.name"), nullable=False),
    text("serial"),
    text("public_key"),
    text("state"),
    time("enrolled_at", nullable=True),
    time("last_seen_at", nullable=True),
    sa.Index("ix_devices_slot", "slot"),
    unique_where("uq_devices_enrolled", "slot", where=ENROLLED),
)

# The newest record of each kind, for each release it speaks of (0: of none). `release` is
# `appliance.sync.release.reference` of a package digest, `kind` the number in `appliance.health.schema`.
states = sa.Table(
    "states",
    metadata,
    sa.Column("device", sa.Text, sa.ForeignKey("devices.id"), primary_key=True),
    sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("release", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    time("at"),
    time("received_at"),
    sa.Column("numbers", sa.JSON, nullable=False),
    sa.Index("ix_states_release", "kind", "release"),
)

# What devices reported, until it ages out. `device` is `telemetry.number` of the device's id: eight bytes in
# place of 64 characters in every row and index.
records = sa.Table(
    "records",
    metadata,
    sa.Column("device", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("release", sa.BigInteger, nullable=False),
    time("at"),
    time("received_at"),
    sa.Column("numbers", sa.JSON, nullable=False),
    sa.PrimaryKeyConstraint("device", "seq"),
    sa.Index("ix_records_at", "kind", "at"),
)

# What is wrong now, and what was; one open row for each subject and kind.
alerts = sa.Table(
    "alerts",
    metadata,
    row_id(),
    text("kind"),
    text("subject"),
    time("opened_at"),
    time("closed_at", nullable=True),
    # Numbers alone.
    sa.Column("detail", sa.JSON, nullable=False),
    # Told outside, of the opening and of the end.
    time("told_open_at", nullable=True),
    time("told_closed_at", nullable=True),
    sa.Index("ix_alerts_opened_at", "opened_at"),
    unique_where("uq_alerts_open", "kind", "subject", where=OPEN),
)

# Which of several processes does what only one may do.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    text("owner"),
    time("until"),
)

# Invitations to a slot. Of the code a keyed digest is kept: who reads the database cannot claim with it.
claims = sa.Table(
    "claims",
    metadata,
    row_id(),
    sa.Column("slot", sa.Text, sa.ForeignKey("slots.name"), nullable=False),
    text("digest"),
    # Whether it may take an occupied slot over.
    sa.Column("replaces", sa.Boolean, nullable=False),
    time("created_at"),
    time("expires_at"),
    sa.Column("tries", sa.Integer, nullable=False),
    # By whom it was used; the same key may ask again, if the answer was lost.
    time("used_at", nullable=True),
    text("device", nullable=True),
    time("withdrawn_at", nullable=True),
    sa.Index("ix_claims_slot", "slot"),
)

# Every certificate that was made for a device's key; `serial` in hexadecimal.
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, sa.ForeignKey("devices.id"), nullable=False),
    text("slot"),
    text("pem"),
    time("begins_at"),
    time("ends_at"),
    time("revoked_at", nullable=True),
    sa.Index("ix_certificates_device", "device", "ends_at"),
)

# Devices whose certificate ended before they came back: a person lets each in again, once.
returns = sa.Table(
    "returns",
    metadata,
    sa.Column("device", sa.Text, sa.ForeignKey("devices.id"), primary_key=True),
    time("asked_at"),
    time("approved_at", nullable=True),
)

# Roll-outs: what one is going to do (`plan`, never changed), and where it stands.
rollouts = sa.Table(
    "rollouts",
    metadata,
    row_id(),
    text("model"),
    text("version"),
    text("stage"),
    # Whether the controller still looks at it.
    sa.Column("open", sa.Boolean, nullable=False),
    text("made_by"),
    time("made_at"),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    # What the gate of the ring that is under way said last, with every number behind it.
    sa.Column("judgement", sa.JSON(none_as_null=True), nullable=True),
    time("judged_at", nullable=True),
    sa.Index("ix_rollouts_model", "model"),
    # Of one model one release at a time is under way.
    unique_where("uq_rollouts_under_way", "model", where=UNDER_WAY),
)

# What happened to a roll-out, each decision with its evidence; the state follows from these rows alone.
rollout_events = sa.Table(
    "rollout_events",
    metadata,
    sa.Column("rollout", sa.BigInteger, sa.ForeignKey("rollouts.id"), primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    time("at"),
    text("who"),
    text("kind"),
    sa.Column("event", sa.JSON, nullable=False),
)
