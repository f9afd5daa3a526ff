"""The tables of releases on their way to serving, and of what people at the site said about them."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, row_id, text, time, unique_where

# One row for each release that a registry assigned; at most one of a model's is on its way or serves by it.
passages = sa.Table(
    "passages",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    text("name"),
    text("version"),
    # A number of appliance.sync.phase, and the word and the sentence of what it came to.
    sa.Column("phase", sa.Integer, nullable=False),
    text("word"),
    text("sentence"),
    time("assigned_at"),
    time("phase_at"),
    # Jobs up to this one were decided before its activation was due; they are finished first.
    sa.Column("drain_upto", sa.BigInteger, nullable=True),
    time("drain_at", nullable=True),
    # Since when it serves and is watched.
    time("activated_at", nullable=True),
    # When another took its place, or nobody wanted it any more.
    time("ended_at", nullable=True),
    unique_where("uq_passages_open", "name", where="ended_at IS NULL"),
)

# What a person at the site said: hold everything of a model (empty: of all), or keep a model at one version.
controls = sa.Table(
    "controls",
    metadata,
    row_id(),
    text("kind"),
    text("model"),
    text("version", nullable=True),
    text("reason"),
    text("placed_by"),
    time("placed_at"),
    time("until_at"),
    time("ended_at", nullable=True),
    text("ended_by", nullable=True),
    unique_where("uq_controls_open", "kind", "model", where="ended_at IS NULL"),
)

# Releases that a person at the site agreed to.
consents = sa.Table(
    "consents",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    text("model"),
    text("version"),
    text("given_by"),
    time("given_at"),
)
