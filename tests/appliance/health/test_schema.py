"""The closed list: what fits travels unchanged, and nothing else travels at all."""

import gzip
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.codes import Kind
from appliance.health.fields import (
    FEW,
    Choice,
    Count,
    Decimal,
    Flag,
    Histogram,
    Tally,
    Total,
    Whole,
    at_least,
    cells_of,
    few,
    fives,
)
from appliance.health.kinds import KINDS
from appliance.health.limits import BatchLimits
from appliance.health.schema import FORMAT, Record, SchemaFault, decode, encode, fit

COUNTS = st.one_of(st.just(FEW), st.just(0), st.integers(5, 2**40))
TOTALS = st.integers(0, 2**37).map(lambda n: 5 * n)
WORK = {"hour": 480_000, "release": 7}


def values_of(type_):
    match type_:
        case Whole():
            return st.integers(type_.low, type_.high)
        case Decimal():
            return st.floats(type_.low, type_.high)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from([one.value for one in type_.of])
        case Count():
            return COUNTS
        case Total():
            return TOTALS
        case Histogram() | Tally():
            size = len(type_.edges) + 1 if isinstance(type_, Histogram) else len(type_.of)
            cells = TOTALS if type_.fives else COUNTS
            return st.lists(cells, min_size=size, max_size=size).map(tuple)


@st.composite
def records(draw):
    kind = draw(st.sampled_from(Kind))
    needed = {n: values_of(f.type) for n, f in KINDS[kind].fields.items() if f.needed}
    other = {n: values_of(f.type) for n, f in KINDS[kind].fields.items() if not f.needed}
    values = draw(st.fixed_dictionaries(needed, optional=other))
    return Record(
        seq=draw(st.integers(1, 2**53)), at=draw(st.integers(0, 2**32 - 1)), kind=kind, values=values
    )


def packed(rows, form=FORMAT):
    return gzip.compress(json.dumps([form, rows]).encode())


class TestWhatTravels:
    @given(st.lists(records(), max_size=8))
    def test_comes_out_as_it_went_in(self, sent):
        assert decode(encode(sent)) == sent
        assert encode(sent) == encode(sent)

    @given(st.lists(records(), max_size=4))
    def test_holds_no_text_but_the_names_of_fields(self, sent):
        names = {name for schema in KINDS.values() for name in schema.fields}

        def leaves(value):
            if isinstance(value, dict):
                assert set(value) <= names
                value = list(value.values())
            if isinstance(value, list):
                for one in value:
                    yield from leaves(one)
            else:
                yield value

        said = json.loads(gzip.decompress(encode(sent)))
        assert all(isinstance(leaf, int | float) for leaf in leaves(said))

    def test_no_field_has_a_type_for_texts(self):
        for schema in KINDS.values():
            for name, field in schema.fields.items():
                for text in ("", "5", "PLANTED^NAME", b"5"):
                    assert field.type.read(text) is None, name
                    assert field.type.read([text]) is None, name

    def test_every_field_says_what_it_is_for(self):
        for schema in KINDS.values():
            assert schema.says.endswith(".")
            assert all(field.purpose and field.type.words for field in schema.fields.values())


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


class TestWhatDoesNot:
    @given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(gzip.compress)))
    def test_bytes_are_refused_or_are_a_batch(self, data):
        try:
            read = decode(data)
        except SchemaFault:
            return
        assert decode(encode(read)) == read

    @given(JUNK)
    def test_any_json_is_refused_or_is_a_batch(self, said):
        for whole in (said, [FORMAT, said], [FORMAT, [said]], [FORMAT, [[1, 1, 2, said]]]):
            try:
                read = decode(gzip.compress(json.dumps(whole).encode()))
            except SchemaFault:
                continue
            assert decode(encode(read)) == read

    @given(records(), st.text(min_size=1), JUNK)
    def test_an_unknown_field_refuses_the_batch(self, record, name, value):
        if name in KINDS[record.kind].fields:
            return
        bad = [record.seq, record.at, int(record.kind), {**record.values, name: value}]
        with pytest.raises(SchemaFault) as told:
            decode(packed([bad]))
        assert len(name) < 3 or name not in str(told.value)
        with pytest.raises(SchemaFault):
            encode([Record(seq=1, at=1, kind=record.kind, values={**record.values, name: value})])

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("done", 3),
            ("done", -2),
            ("done", 5.0),
            ("done", True),
            ("done", "5"),
            ("done", None),
            ("done", 2**41),
            ("turnaround", [0] * 11),
            ("turnaround", [4] + [0] * 11),
            ("turnaround", [[0]] * 12),
            ("release", 2**48),
            ("release", -1),
            ("hour", 1.5),
        ],
    )
    def test_a_value_out_of_range_refuses_the_batch(self, field, value):
        with pytest.raises(SchemaFault, match="WORK"):
            decode(packed([[1, 1, 2, {**WORK, field: value}]]))

    @pytest.mark.parametrize("seq", [0, -1, 2**53 + 1, 1.0, True, "1", None])
    def test_a_number_that_none_has_refuses_the_batch(self, seq):
        with pytest.raises(SchemaFault):
            decode(packed([[seq, 1, 2, WORK]]))

    def test_a_record_without_what_it_needs_refuses_the_batch(self):
        with pytest.raises(SchemaFault, match="lacks release"):
            decode(packed([[1, 1, 2, {"hour": 1}]]))

    def test_another_form_is_refused(self):
        for form in (0, 2, True, "1", None, 1.0):
            with pytest.raises(SchemaFault, match="does not know"):
                decode(packed([], form))

    def test_a_field_twice_is_refused(self):
        plain = b'[1,[[1,1,2,{"hour":1,"release":7,"done":5,"done":9}]]]'
        with pytest.raises(SchemaFault, match="twice"):
            decode(gzip.compress(plain))

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_what_is_no_number_is_refused(self, number):
        plain = f'[1,[[1,1,3,{{"load":{number}}}]]]'.encode()
        with pytest.raises(SchemaFault):
            decode(gzip.compress(plain))

    def test_depth_without_end_is_refused(self):
        with pytest.raises(SchemaFault):
            decode(gzip.compress(b"[" * 200_000))

    def test_a_number_without_end_is_refused(self):
        with pytest.raises(SchemaFault):
            decode(gzip.compress(b'[1,[[1,1,3,{"lost":' + b"9" * 100_000 + b"}]]]"))


class TestBounds:
    def test_a_bomb_is_not_unpacked(self):
        bomb = gzip.compress(b"[" + b"0," * 40_000_000 + b"0]")
        assert len(bomb) < 1 << 20
        with pytest.raises(SchemaFault, match="unpacks"):
            decode(bomb)

    def test_too_many_bytes_and_records_are_refused(self):
        limits = BatchLimits(batch_bytes_max=1000, plain_bytes_max=2000, records_max=3)
        rows = [[number, 1, 2, WORK] for number in range(1, 5)]
        with pytest.raises(SchemaFault, match="at most 3"):
            decode(packed(rows), limits=limits)
        with pytest.raises(SchemaFault, match="at most 1000"):
            decode(bytes(1001), limits=limits)
        with pytest.raises(SchemaFault, match="at most 3"):
            encode([Record(seq=n, at=1, kind=Kind.WORK, values=WORK) for n in range(1, 5)], limits=limits)

    @pytest.mark.parametrize(
        "change", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: d + d, lambda d: b""]
    )
    def test_a_batch_that_does_not_end_where_it_ends_is_refused(self, change):
        with pytest.raises(SchemaFault):
            decode(change(encode([Record(seq=1, at=1, kind=Kind.WORK, values=WORK)])))

    def test_a_damaged_batch_is_refused(self):
        data = bytearray(encode([Record(seq=1, at=1, kind=Kind.WORK, values=WORK)]))
        data[-6] ^= 0xFF
        with pytest.raises(SchemaFault, match="gzip"):
            decode(bytes(data))


class TestFit:
    @given(records(), st.dictionaries(st.text(), JUNK, max_size=5))
    def test_what_may_not_travel_is_left_out_and_counted(self, record, more):
        unknown = {name: value for name, value in more.items() if name not in record.values}
        kept, dropped = fit(record.kind, {**unknown, **record.values})
        assert dict(record.values).items() <= kept.items()
        assert len(kept) + dropped == len(unknown) + len(record.values)
        encode([Record(seq=1, at=1, kind=record.kind, values=kept)])


class TestCounts:
    @given(st.integers(-10, 10**15))
    def test_one_to_four_are_never_told_apart(self, count):
        assert few(count) == (FEW if 1 <= count <= 4 else min(max(count, 0), 2**40))
        assert Count().read(few(count)) is not None
        assert Total().read(fives(count)) is not None
        assert at_least(few(count)) <= max(count, 0)

    @given(st.lists(st.floats(allow_nan=True)))
    def test_every_number_falls_into_one_cell(self, values):
        cells = cells_of((0.0, 1.0, 2.0), values)
        assert sum(cells) == sum(not math.isnan(value) for value in values)
