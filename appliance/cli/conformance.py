"""`readside conformance`: the papers stand on the box, not the box on them; they are asked for by name."""

from __future__ import annotations

from importlib import import_module

conformance = import_module("provisioning.papers.commands").conformance
