"""The tables of what is known about the box's work in numbers: arrivals and work by hour, inputs, alarms.

An hour is whole hours since 1970, UTC. None of these rows names a patient, a study or a person.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, row_id, text, time, unique_where

# How many series began to arrive in an hour, by modality; "" is the hour itself: it has been counted.
arrival_hours = sa.Table(
    "arrival_hours",
    metadata,
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("modality", sa.Text, primary_key=True),
    sa.Column("series", sa.Integer, nullable=False),
)

# What one package did in one hour, as a table of counts and cells.
work_hours = sa.Table(
    "work_hours",
    metadata,
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("model_digest", sa.Text, primary_key=True),
    sa.Column("numbers", sa.JSON, nullable=False),
)

# What a model was given and what it answered, in numbers; only where the site chose "health+drift".
figures = sa.Table(
    "figures",
    metadata,
    sa.Column("result_id", sa.BigInteger, sa.ForeignKey("results.id"), primary_key=True, autoincrement=False),
    time("at"),
    text("model_digest"),
    sa.Column("vendor", sa.Integer, nullable=False),
    sa.Column("numbers", sa.JSON, nullable=False),
    sa.Index("ix_figures_stratum", "model_digest", "vendor", "result_id"),
    sa.Index("ix_figures_at", "at"),
)

# What is wrong, since when; a row stays when it is over.
alarms = sa.Table(
    "alarms",
    metadata,
    row_id(),
    sa.Column("kind", sa.Integer, nullable=False),
    # A modality, a service, a model: names of the box's own, never a peer's text.
    text("subject"),
    sa.Column("numbers", sa.JSON, nullable=False),
    time("raised_at"),
    time("ended_at", nullable=True),
    unique_where("uq_alarms_open", "kind", "subject", where="ended_at IS NULL"),
    sa.Index("ix_alarms_raised_at", "raised_at"),
)
