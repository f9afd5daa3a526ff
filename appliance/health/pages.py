"""The closed list as the documentation shows it; a test holds the page to it."""

from __future__ import annotations

from appliance.health.kinds import KINDS, Schema


def tables() -> str:
    """Return every kind of record and each number in it, as Markdown."""
    return "\n".join(_table(f"{kind.value} {kind.name}", schema) for kind, schema in KINDS.items())


def _table(title: str, schema: Schema) -> str:
    level = "health+drift" if schema.with_drift else "health"
    head = [
        f"### {title}",
        "",
        f"{schema.says} Level `{level}`; a registry keeps it for {schema.keep_days} days.",
        "",
        "| number | what it may be | unit | purpose |",
        "|---|---|---|---|",
    ]
    rows = []
    for name, field in schema.fields.items():
        shown = f"`{name}` (needed)" if field.needed else f"`{name}`"
        rows.append(f"| {shown} | {field.type.words} | {field.unit} | {field.purpose} |")
    return "\n".join([*head, *rows, ""])
