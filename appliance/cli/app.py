"""All commands under one name, for who looks at them all: tests, and pages that are made from them."""

from __future__ import annotations

from appliance.cli.entry import command_line

app = command_line()
