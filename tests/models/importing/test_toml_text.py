from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from models.importing.toml_text import written

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
_KEYS = st.text(min_size=1, max_size=8)
_TABLES = st.recursive(
    st.dictionaries(_KEYS, _SCALARS | st.lists(st.integers(), max_size=3), max_size=4),
    lambda inner: st.dictionaries(
        _KEYS, _SCALARS | inner | st.lists(inner, min_size=1, max_size=2), max_size=4
    ),
    max_leaves=8,
)


@given(_TABLES)
def test_what_is_written_is_read_again(parts: dict[str, object]) -> None:
    assert tomllib.loads(written(parts)) == _without_nothing(parts)


def test_a_coded_concept_stays_on_one_line() -> None:
    code = {"value": "78961009", "scheme": "SCT", "meaning": "Spleen"}

    text = written({"output": {"labels": [{"name": "spleen", "type": code}]}})

    assert '[[output.labels]]\nname = "spleen"\ntype = { value = "78961009"' in text


def _without_nothing(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nothing(one) for key, one in value.items() if one is not None}
    return [_without_nothing(one) for one in value] if isinstance(value, list) else value
