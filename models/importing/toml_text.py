"""Write a manifest, or part of one, as TOML (1.0) that people go on editing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def written(parts: Mapping[str, Any]) -> str:
    """Write a table of plain values, lists and tables; None is left out."""
    return "\n".join(_table(parts, ())).strip() + "\n"


def value_text(value: Any) -> str:
    """Write one value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {value_text(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inner} }}" if inner else "{}"
    return f"[{', '.join(value_text(one) for one in value)}]"


def _table(parts: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    present = {key: value for key, value in parts.items() if value is not None}
    for key, value in present.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{_key(key)} = {value_text(value)}"
    for key, value in present.items():
        name = ".".join(_key(one) for one in (*path, key))
        if _is_table(value):
            yield from ("", f"[{name}]", *_table(value, (*path, key)))
        elif _is_tables(value):
            for one in value:
                yield from ("", f"[[{name}]]", *_table(one, (*path, key)))


def _is_table(value: Any) -> bool:
    """Tell tables that get a heading from those written on one line: coded concepts have no heading."""
    return isinstance(value, Mapping) and not set(value) <= {"value", "scheme", "meaning"}


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain and key else _text(key)


def _text(text: str) -> str:
    """Write a text in quotes: JSON's escapes are TOML's, but for the one character JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
