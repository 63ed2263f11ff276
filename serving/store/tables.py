"""The tables as statements use them. `migrations.py` makes them, in the database's own words."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Double, Integer, MetaData, Table, Text

METADATA: Final = MetaData()

INCIDENTS: Final = Table(
    "incidents",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("instance", Text),
    Column("model", Text),
    Column("version", Text),
    Column("cause", Text),
    Column("monitor", Text),
    Column("metric", Text),
    Column("severity", Text),
    Column("state", Text),
    Column("opened_at", Double),
    Column("updated_at", Double),
    Column("closed_at", Double),
    Column("body", Text),
)
"""One row an incident; `body` is the whole of it as JSON, and the other columns are for queries."""

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("instance", Text),
    Column("receiver", Text),
    Column("created_at", Double),
    Column("body", Text),
)
"""What webhooks have still to be told."""

WATCH_STATES: Final = Table(
    "watch_states",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("body", Text),
)
"""Since when verdicts are known or not."""

DEPLOYMENTS: Final = Table(
    "deployments",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("revision", Text, primary_key=True),
    Column("at", Double),
)
"""When each version was served first."""

SCHEMA_VERSION: Final = Table("schema_version", METADATA, Column("version", Integer))
