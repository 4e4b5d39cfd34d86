"""Aggregations: the summary monoid against a computation with fractions, and every edge of a value."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import number
from domain.aggregation import (
    EMPTY,
    Aggregation,
    InvalidAggregation,
    Kind,
    Last,
    Summary,
    added,
    combine,
    distinct_key,
    measured_values,
    quantity,
    read_aggregation,
    summary_of,
    summary_of_all,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NUMERIC = [Kind.sum, Kind.max, Kind.last, Kind.min, Kind.avg]

NUMBERS = st.integers(1 - 10**20, 10**20 - 1).map(Decimal) | st.decimals(
    min_value=-100, max_value=100, places=30, allow_nan=False
)
VALUES = st.one_of(
    NUMBERS,
    NUMBERS.map(number.plain),
    st.booleans(),
    st.sampled_from(["", "twelve", "1e3", "NaN", "-0", "007", Decimal("-0"), Decimal("1E+3")]),
)
METADATA = st.one_of(st.just({}), VALUES.map(lambda value: {"k": value}))
# Few different instants, so that ties are common.
EVENTS = st.lists(st.tuples(st.integers(0, 3).map(lambda s: NOON + timedelta(seconds=s)), METADATA), max_size=12).map(
    lambda events: [(at, position, metadata) for position, (at, metadata) in enumerate(events, 1)]
)

Event = tuple[datetime, int, dict[str, Any]]


def of(kind: Kind) -> Aggregation:
    return Aggregation(kind, None if kind is Kind.count else "k")


def summaries(kind: Kind, events: Sequence[Event]) -> list[Summary]:
    return [summary_of(of(kind), *event) for event in events]


def computed(kind: Kind, events: Sequence[Event]) -> Decimal:
    """The quantity of these events, by way of summaries in the order given."""
    values = [e[2]["k"] for e in events if "k" in e[2]]
    return quantity(
        of(kind),
        reduce(combine, summaries(kind, events), EMPTY),
        len({distinct_key(value) for value in values}),
    )


def as_fraction(value: object) -> Fraction | None:
    """What a meter may use, told apart by trying: no signs but the minus, digits, one point."""
    if isinstance(value, Decimal):
        return Fraction(value)
    if not isinstance(value, str):
        return None
    whole, point, rest = value.removeprefix("-").partition(".")
    digits = [whole, rest] if point else [whole]
    return Fraction(value) if all(part.isascii() and part.isdigit() for part in digits) else None


def naive(kind: Kind, events: Sequence[Event]) -> Fraction:
    """The quantity with nothing but Python's fractions over the whole list."""
    if kind is Kind.count:
        return Fraction(len(events))
    present = [metadata["k"] for _, _, metadata in events if "k" in metadata]
    if kind is Kind.unique:
        meanings = {(type(value) is bool, as_fraction(value) if as_fraction(value) is not None else value)
                    for value in present}  # fmt: skip
        return Fraction(len(meanings))
    usable = [
        (at, position, found)
        for at, position, metadata in events
        if (found := as_fraction(metadata.get("k"))) is not None
    ]
    if not usable:
        return Fraction(0)
    values = [value for _, _, value in usable]
    if kind is Kind.avg:
        # Half away from zero to twelve places.
        scaled = abs(sum(values, Fraction(0)) / len(values)) * 10**12
        rounded = Fraction((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator), 10**12)
        return rounded if sum(values) >= 0 else -rounded
    if kind is Kind.last:
        return max(usable)[2]
    return {Kind.sum: sum, Kind.max: max, Kind.min: min}[kind](values)


@given(st.sampled_from(Kind), EVENTS, st.randoms(use_true_random=False))
def test_any_order_gives_what_a_naive_computation_gives(
    kind: Kind, events: list[Event], shuffle: random.Random
) -> None:
    shuffled = list(events)
    shuffle.shuffle(shuffled)
    assert Fraction(computed(kind, shuffled)) == naive(kind, events)


@given(st.sampled_from(Kind), EVENTS, st.randoms(use_true_random=False))
def test_any_split_gives_the_same_summary(kind: Kind, events: list[Event], choose: random.Random) -> None:
    parts = summaries(kind, events)
    whole = reduce(combine, parts, EMPTY)
    # Combine two arbitrary parts until one is left: every tree of combinations can come up.
    while len(parts) > 1:
        a = parts.pop(choose.randrange(len(parts)))
        b = parts.pop(choose.randrange(len(parts)))
        parts.append(combine(a, b))
    assert (parts[0] if parts else EMPTY) == whole


@given(st.sampled_from(Kind), EVENTS)
def test_adding_an_event_is_combining_with_its_summary(kind: Kind, events: list[Event]) -> None:
    one_step = two_steps = EMPTY
    for event in events:
        one_step = added(one_step, of(kind), *event)
        two_steps = combine(two_steps, summary_of(of(kind), *event))
        assert one_step == two_steps


@given(st.sampled_from([kind for kind in Kind if kind is not Kind.count]), EVENTS.filter(bool))
def test_many_events_at_once_are_the_sum_of_each(kind: Kind, events: list[Event]) -> None:
    values = measured_values(kind, [metadata.get("k") for _, _, metadata in events])
    times, positions = [at for at, _, _ in events], [position for _, position, _ in events]
    each = summaries(kind, events)
    assert summary_of_all(kind, values, times, positions) == reduce(combine, each, EMPTY)
    unmeasured = [index for index, summary in enumerate(each) if summary.unmeasured]
    assert [index for index, value in enumerate(values) if value is None] == unmeasured


@given(st.sampled_from(Kind), EVENTS)
def test_the_empty_summary_is_neutral(kind: Kind, events: list[Event]) -> None:
    whole = reduce(combine, summaries(kind, events), EMPTY)
    assert combine(whole, EMPTY) == whole == combine(EMPTY, whole)


@given(st.sampled_from(Kind), EVENTS)
def test_every_event_either_counts_or_is_unmeasured(kind: Kind, events: list[Event]) -> None:
    whole = reduce(combine, summaries(kind, events), EMPTY)
    assert whole.events + whole.unmeasured == len(events)
    for _, _, metadata in events:
        unmeasured = summary_of(of(kind), NOON, 1, metadata).unmeasured
        if kind is Kind.count:
            assert unmeasured == 0
        elif kind is Kind.unique:
            assert unmeasured == ("k" not in metadata)
        else:
            assert unmeasured == (as_fraction(metadata.get("k")) is None)


@pytest.mark.parametrize("kind", Kind)
def test_an_empty_cycle_gives_zero(kind: Kind) -> None:
    assert quantity(of(kind), EMPTY, 0) == 0
    assert number.plain(quantity(of(kind), EMPTY, 0)) == "0"


@pytest.mark.parametrize("kind", NUMERIC)
def test_only_unmeasured_events_give_zero(kind: Kind) -> None:
    events = [(NOON, 1, {}), (NOON, 2, {"k": "twelve"}), (NOON, 3, {"k": True}), (NOON, 4, {"K": Decimal(1)})]
    assert reduce(combine, summaries(kind, events), EMPTY) == Summary(unmeasured=4)
    assert computed(kind, events) == 0


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.count, "4"),
        (Kind.sum, "-6.5"),
        (Kind.max, "-1"),
        (Kind.min, "-3"),
        (Kind.last, "-2.5"),
        (Kind.avg, "-2.166666666667"),
        (Kind.unique, "4"),
    ],
)
def test_negative_values(kind: Kind, text: str) -> None:
    events = [
        (NOON, 1, {"k": Decimal(-1)}),
        (NOON + timedelta(seconds=1), 2, {"k": "-2.5"}),
        (NOON, 3, {"k": Decimal("-3.0")}),
        (NOON, 4, {"k": "no number"}),
    ]
    assert number.plain(computed(kind, events)) == text


def test_last_goes_by_timestamp_and_then_by_position() -> None:
    early, late = NOON, NOON + timedelta(microseconds=1)
    events = [(late, 1, {"k": Decimal(1)}), (late, 2, {"k": Decimal(2)}), (early, 3, {"k": Decimal(3)})]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]):
        assert computed(Kind.last, [events[i] for i in order]) == 2
    whole = reduce(combine, summaries(Kind.last, events))
    assert whole.last == Last(late, 2, Decimal(2))


def test_an_unusable_value_is_never_the_last() -> None:
    assert computed(Kind.last, [(NOON, 1, {"k": Decimal(7)}), (NOON, 2, {"k": "n/a"}), (NOON, 3, {})]) == 7


def test_minus_zero_is_zero() -> None:
    events = [(NOON, 1, {"k": Decimal("-0")}), (NOON, 2, {"k": "-0.00"})]
    for kind in NUMERIC:
        assert number.plain(computed(kind, events)) == "0"
    assert computed(Kind.unique, [*events, (NOON, 3, {"k": Decimal(0)})]) == 1


def test_huge_digits_are_exact() -> None:
    huge = Decimal("99999999999999999999.999999999999999999999999999999")
    tiny = Decimal("0.000000000000000000000000000001")
    events = [(NOON, n, {"k": huge}) for n in range(1, 1001)] + [(NOON, 1001, {"k": tiny})]
    assert number.plain(computed(Kind.sum, events)) == ("99999999999999999999999.999999999999999999999999999001")
    assert computed(Kind.max, events) == huge
    assert computed(Kind.min, events) == tiny


def test_the_average_is_rounded_half_away_from_zero() -> None:
    half = Decimal("0.000000000001")
    assert computed(Kind.avg, [(NOON, 1, {"k": half}), (NOON, 2, {"k": Decimal(0)})]) == half
    assert computed(Kind.avg, [(NOON, 1, {"k": -half}), (NOON, 2, {"k": Decimal(0)})]) == -half


def test_count_never_looks_at_the_key() -> None:
    for key in (None, "k"):
        assert summary_of(Aggregation(Kind.count, key), NOON, 1, {}) == Summary(events=1)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (Decimal(7), b"n7"),
        (Decimal("7.00"), b"n7"),
        (Decimal("7E+1"), b"n70"),
        ("7", b"n7"),
        ("7.0", b"n7"),
        ("007", b"n7"),
        (Decimal("-0"), b"n0"),
        ("7 ", b"s7 "),
        ("7e0", b"s7e0"),
        ("", b"s"),
        ("n7", b"sn7"),
        ("é", b"s\xc3\xa9"),
        ("e\u0301", b"se\xcc\x81"),
        ("A", b"sA"),
        (True, b"b1"),
        (False, b"b0"),
        ("true", b"strue"),
        ("b1", b"sb1"),
        (Decimal(1), b"n1"),
        ("1" * 21, b"s" + b"1" * 21),
    ],
)
def test_the_bytes_of_a_distinct_value_are_fixed_for_ever(value: object, key: bytes) -> None:
    assert distinct_key(value) == key


@pytest.mark.parametrize("value", [None, 1.5, [], {}])
def test_other_values_have_no_distinct_key(value: object) -> None:
    with pytest.raises(TypeError, match="string, a number or a boolean"):
        distinct_key(value)


@given(VALUES, VALUES)
def test_distinct_keys_are_equal_exactly_for_equal_values(a: object, b: object) -> None:
    first, second = as_fraction(a), as_fraction(b)
    same = first == second if first is not None and second is not None else type(a) is type(b) and a == b
    assert (distinct_key(a) == distinct_key(b)) == (same and (first is None) == (second is None))


@pytest.mark.parametrize(
    ("value", "aggregation"),
    [
        ({"type": "count"}, Aggregation(Kind.count)),
        ({"type": "count", "key": None}, Aggregation(Kind.count)),
        ({"type": "count", "key": ""}, Aggregation(Kind.count)),
        ({"type": "count", "key": "k"}, Aggregation(Kind.count, "k")),
        *(({"type": str(kind), "key": "k"}, Aggregation(kind, "k")) for kind in [*NUMERIC, Kind.unique]),
        ({"type": "sum", "key": "k" * 100}, Aggregation(Kind.sum, "k" * 100)),
    ],
)
def test_aggregations_are_read(value: object, aggregation: Aggregation) -> None:
    read = read_aggregation(value)
    assert read == aggregation
    assert type(read.type) is Kind
    assert msgspec.json.decode(msgspec.json.encode(read), type=Aggregation) == read


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (None, "aggregation", "object"),
        ("count", "aggregation", "object"),
        ({}, "aggregation.type", "one of count, sum, max, last, min, avg, unique"),
        ({"type": "SUM", "key": "k"}, "aggregation.type", "one of"),
        ({"type": ["sum"], "key": "k"}, "aggregation.type", "one of"),
        ({"type": "sum"}, "aggregation.key", "required for sum"),
        ({"type": "unique", "key": None}, "aggregation.key", "required for unique"),
        ({"type": "sum", "key": ""}, "aggregation.key", "1 to 100 characters"),
        ({"type": "sum", "key": "k" * 101}, "aggregation.key", "1 to 100 characters"),
        ({"type": "count", "key": "k" * 101}, "aggregation.key", "1 to 100 characters"),
        ({"type": "sum", "key": 5}, "aggregation.key", "1 to 100 characters"),
        ({"type": "sum", "key": "\ud800"}, "aggregation.key", "lone surrogate"),
        ({"type": "sum", "key": "k", "filter": 1}, "aggregation.filter", "unknown"),
    ],
)
def test_a_broken_aggregation_is_refused_with_field_and_rule(value: object, field: str, rule: str) -> None:
    with pytest.raises(InvalidAggregation) as caught:
        read_aggregation(value)
    assert caught.value.field == field
    assert rule in caught.value.rule
    assert str(caught.value) == f"{field}: {caught.value.rule}"
