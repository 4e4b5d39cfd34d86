"""Meter filters: what matches, what is refused, and the exact way to JSON and back."""

import json
import operator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import filter as meter_filter
from domain import number
from domain.filter import (
    CLAUSES_MAX,
    NESTING_MAX,
    Condition,
    Conjunction,
    Filter,
    InvalidFilter,
    Operator,
    keys_of,
    matches,
    read_filter,
    why_not,
    write_filter,
)

ORDERED = {
    "equals": operator.eq,
    "not_equals": operator.ne,
    "greater_than": operator.gt,
    "greater_than_or_equals": operator.ge,
    "less_than": operator.lt,
    "less_than_or_equals": operator.le,
}
NEGATIVE = {"not_equals", "does_not_contain"}


def condition(compared: str, value: object, key: str = "k") -> dict[str, object]:
    return {"key": key, "operator": compared, "value": value}


def both(*clauses: object) -> dict[str, object]:
    return {"conjunction": "and", "clauses": list(clauses)}


def either(*clauses: object) -> dict[str, object]:
    return {"conjunction": "or", "clauses": list(clauses)}


def holding(compared_with: object, metadata: dict[str, object]) -> set[str]:
    """The operators with which a condition of this value holds."""
    return {str(each) for each in Operator if matches(read_filter(both(condition(each, compared_with))), metadata)}


LESS = {"not_equals", "less_than", "less_than_or_equals"}
EQUAL = {"equals", "greater_than_or_equals", "less_than_or_equals"}
GREATER = {"not_equals", "greater_than", "greater_than_or_equals"}


@pytest.mark.parametrize(
    ("actual", "expected", "result"),
    [
        # A number condition: numbers, and text in plain decimal notation.
        (Decimal(5), Decimal(10), LESS | {"does_not_contain"}),
        (Decimal("10.0"), Decimal(10), EQUAL | {"does_not_contain"}),
        (Decimal(10), 10, EQUAL | {"does_not_contain"}),
        ("10", Decimal(10), EQUAL | {"does_not_contain"}),
        ("9", Decimal(10), LESS | {"does_not_contain"}),
        ("010.00", Decimal(10), EQUAL | {"does_not_contain"}),
        ("-0", Decimal(0), EQUAL | {"does_not_contain"}),
        ("1e1", Decimal(10), NEGATIVE),
        (" 10", Decimal(10), NEGATIVE),
        ("ten", Decimal(10), NEGATIVE),
        (True, Decimal(1), NEGATIVE),
        (False, Decimal(0), NEGATIVE),
        # A text condition: text only, by code points.
        ("abc", "abc", EQUAL | {"contains"}),
        ("abcd", "bc", LESS | {"contains"}),
        ("ABC", "abc", LESS | {"does_not_contain"}),
        ("abc", "", GREATER | {"contains"}),
        ("9", "10", GREATER | {"does_not_contain"}),
        ("10", "9", LESS | {"does_not_contain"}),
        ("é", "z", GREATER | {"does_not_contain"}),
        ("\U0001f600", "\uffff", GREATER | {"does_not_contain"}),
        ("straße", "strasse", GREATER | {"does_not_contain"}),
        (Decimal(10), "10", NEGATIVE),
        (True, "true", NEGATIVE),
        # A boolean condition: booleans only.
        (True, True, EQUAL | {"does_not_contain"}),
        (False, False, EQUAL | {"does_not_contain"}),
        (False, True, LESS | {"does_not_contain"}),
        (True, False, GREATER | {"does_not_contain"}),
        ("true", True, NEGATIVE),
        (Decimal(1), True, NEGATIVE),
        (Decimal(0), False, NEGATIVE),
        ("1", True, NEGATIVE),
    ],
)
def test_the_condition_decides_how_to_compare(actual: object, expected: object, result: set[str]) -> None:
    assert holding(expected, {"k": actual}) == result


@pytest.mark.parametrize("expected", ["x", "", True, False, Decimal(0)])
def test_without_the_key_no_condition_holds(expected: object) -> None:
    assert holding(expected, {}) == set()
    assert holding(expected, {"K": expected, "k ": expected}) == set()


def test_numbers_compare_exactly() -> None:
    big, bigger = Decimal("99999999999999999999.000000000000000000000000000001"), Decimal(10**20 - 1)
    assert holding(bigger, {"k": big}) == GREATER | {"does_not_contain"}
    assert holding(Decimal("0.1"), {"k": Decimal("0.1000000000000000055511151231257")}) == GREATER | {
        "does_not_contain"
    }


def test_no_filter_passes_everything() -> None:
    assert matches(None, {})
    assert matches(None, {"k": "v"})


@pytest.mark.parametrize(
    ("metadata", "passes"),
    [
        ({}, False),
        ({"origin": "JFK"}, False),
        ({"origin": "JFK", "distance": Decimal(1000)}, False),
        ({"origin": "JFK", "distance": Decimal(1001)}, True),
        ({"origin": "LGA", "distance": Decimal(1001)}, False),
        ({"vip": True}, True),
        ({"vip": True, "origin": "LGA"}, True),
    ],
)
def test_filters_nest_and_mix(metadata: dict[str, object], passes: bool) -> None:
    long_from_jfk = both(condition("equals", "JFK", "origin"), condition("greater_than", Decimal(1000), "distance"))
    assert matches(read_filter(either(long_from_jfk, condition("equals", True, "vip"))), metadata) is passes


def nested(levels: int) -> dict[str, object]:
    inner: dict[str, object] = both(condition("equals", "v"))
    for _ in range(levels):
        inner = both(inner)
    return inner


def test_nesting_has_a_bound() -> None:
    assert matches(read_filter(nested(NESTING_MAX)), {"k": "v"})
    with pytest.raises(InvalidFilter, match="deeper than 3 levels") as caught:
        read_filter(nested(NESTING_MAX + 1))
    assert caught.value.field == "filter" + ".clauses[0]" * 4
    with pytest.raises(InvalidFilter, match="deeper"):
        read_filter(nested(100_000))


def test_clauses_have_a_bound() -> None:
    one = condition("equals", "v")
    assert len(read_filter(both(*[one] * CLAUSES_MAX)).clauses) == 10
    for clauses in ([], [one] * 11):
        with pytest.raises(InvalidFilter, match="1 to 10 clauses"):
            read_filter(both(*clauses))


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        (None, "filter", "object"),
        ([], "filter", "object"),
        ("and", "filter", "object"),
        ({}, "filter.conjunction", "required"),
        ({"conjunction": "and"}, "filter.clauses", "required"),
        ({"conjunction": None, "clauses": []}, "filter.conjunction", "required"),
        ({"conjunction": "AND", "clauses": [condition("equals", 1)]}, "filter.conjunction", "'and' or 'or'"),
        ({"conjunction": ["and"], "clauses": [condition("equals", 1)]}, "filter.conjunction", "or 'or'"),
        ({"conjunction": "and", "clauses": {}}, "filter.clauses", "list"),
        ({"conjunction": "and", "clauses": "x"}, "filter.clauses", "list"),
        ({**both(condition("equals", 1)), "not": True}, "filter.not", "unknown"),
        (both(5), "filter.clauses[0]", "object"),
        (both(condition("equals", 1), {}), "filter.clauses[1].key", "required"),
        (both({"key": "k", "operator": "equals"}), "filter.clauses[0].value", "required"),
        (both(condition("equals", None)), "filter.clauses[0].value", "required"),
        (both({"key": "k", "value": 1}), "filter.clauses[0].operator", "required"),
        (both({**condition("equals", 1), "case": 1}), "filter.clauses[0].case", "unknown"),
        (both(condition("equals", 1, "")), "filter.clauses[0].key", "1 to 100 characters"),
        (both(condition("equals", 1, "k" * 101)), "filter.clauses[0].key", "1 to 100 characters"),
        (both({"key": 5, "operator": "equals", "value": 1}), "filter.clauses[0].key", "1 to 100 characters"),
        (both(condition("equals", 1, "\ud800")), "filter.clauses[0].key", "lone surrogate"),
        (both(condition("like", 1)), "filter.clauses[0].operator", "one of equals, not_equals"),
        (both({"key": "k", "operator": [1], "value": 1}), "filter.clauses[0].operator", "one of equals"),
        (both(condition("equals", "v" * 501)), "filter.clauses[0].value", "500 characters"),
        (both(condition("equals", "\udfff")), "filter.clauses[0].value", "lone surrogate"),
        (both(condition("equals", 10**20)), "filter.clauses[0].value", "20 digits before"),
        (both(condition("equals", Decimal("1e-31"))), "filter.clauses[0].value", "30 after"),
        (both(condition("equals", Decimal("NaN"))), "filter.clauses[0].value", "finite"),
        (both(condition("equals", 1.5)), "filter.clauses[0].value", "string, a number or a boolean"),
        (both(condition("equals", [1])), "filter.clauses[0].value", "string, a number or a boolean"),
        (both(condition("equals", {"a": 1})), "filter.clauses[0].value", "string, a number or a boolean"),
        (both(either(condition("no", 1))), "filter.clauses[0].clauses[0].operator", "one of"),
        (both(condition("equals", 1), either(5)), "filter.clauses[1].clauses[0]", "object"),
    ],
)  # fmt: skip
def test_a_broken_filter_is_refused_with_field_and_rule(value: object, field: str, rule: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        read_filter(value)
    assert caught.value.field == field
    assert rule in caught.value.rule
    assert str(caught.value) == f"{field}: {caught.value.rule}"


def test_the_path_starts_where_the_caller_says() -> None:
    with pytest.raises(InvalidFilter) as caught:
        read_filter({}, "meter.filter")
    assert caught.value.field == "meter.filter.conjunction"


def test_the_limits_themselves_are_accepted() -> None:
    read = read_filter(both(condition("equals", "v" * 500, "k" * 100)))
    assert read == Filter(Conjunction.all_of, (Condition("k" * 100, Operator.equals, "v" * 500),))


def test_an_absent_key_is_not_the_text_none() -> None:
    assert not matches(read_filter(both(condition("equals", "None"))), {})


# 1.50 and 1.5 are one number; a filter keeps the number, not its spelling.
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**13), max_value=10**13)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.one_of(TEXT, st.sampled_from(["1", "1.0", "true", ""]), st.booleans(), NUMBERS)
CONDITIONS = st.builds(Condition, TEXT.filter(bool), st.sampled_from(Operator), VALUES)


def filters(levels: int) -> st.SearchStrategy[Filter]:
    clause = CONDITIONS if levels == 0 else st.one_of(CONDITIONS, filters(levels - 1))
    return st.builds(Filter, st.sampled_from(Conjunction), st.lists(clause, min_size=1, max_size=4).map(tuple))


def typed(f: Filter) -> Any:
    """Equality of Python holds True and 1 for the same; with the type beside the value they differ."""
    return f.conjunction, [
        typed(clause) if isinstance(clause, Filter) else (clause, type(clause.value)) for clause in f.clauses
    ]


@given(filters(NESTING_MAX))
def test_to_json_and_back_is_the_same_filter(f: Filter) -> None:
    text = msgspec.json.encode(write_filter(f))
    by_library = msgspec.json.Decoder(float_hook=Decimal).decode(text)
    assert typed(read_filter(by_library)) == typed(f)
    assert typed(read_filter(json.loads(text, parse_int=Decimal, parse_float=Decimal))) == typed(f)
    assert msgspec.json.encode(write_filter(read_filter(by_library))) == text


def test_numbers_are_written_as_json_numbers() -> None:
    f = read_filter(both(condition("greater_than", Decimal("1E+3")), condition("equals", "1000")))
    assert msgspec.json.encode(write_filter(f)) == (
        b'{"conjunction":"and","clauses":[{"key":"k","operator":"greater_than","value":1000},'
        b'{"key":"k","operator":"equals","value":"1000"}]}'
    )


METADATA = st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2)
FEW_KEYS = st.builds(Condition, st.sampled_from(["a", "b"]), st.sampled_from(Operator), VALUES)


def by_the_book(c: Condition, metadata: dict[str, Any]) -> bool:
    """The rules once more, one sentence at a time."""
    if c.key not in metadata:
        return False
    actual, expected = metadata[c.key], c.value
    if type(expected) is Decimal and type(actual) is str:
        try:
            actual = number.parse_plain(actual)
        except number.InvalidNumber:
            return str(c.operator) in NEGATIVE
    if type(actual) is not type(expected):
        return str(c.operator) in NEGATIVE
    if str(c.operator) in ORDERED:
        return ORDERED[c.operator](actual, expected)
    contained = type(actual) is str and str(expected) in actual
    return contained == (str(c.operator) == "contains")


@given(FEW_KEYS, METADATA)
def test_a_condition_follows_the_book(c: Condition, metadata: dict[str, Any]) -> None:
    assert matches(Filter(Conjunction.all_of, (c,)), metadata) == by_the_book(c, metadata)


@given(st.lists(FEW_KEYS, min_size=1, max_size=5), METADATA)
def test_conjunctions_are_all_and_any(conditions: list[Condition], metadata: dict[str, Any]) -> None:
    results = [by_the_book(c, metadata) for c in conditions]
    assert matches(Filter(Conjunction.all_of, tuple(conditions)), metadata) == all(results)
    assert matches(Filter(Conjunction.any_of, tuple(conditions)), metadata) == any(results)


def test_the_operators_are_those_of_the_wire_contract() -> None:
    assert {str(each) for each in Operator} == ORDERED.keys() | {"contains", "does_not_contain"}
    assert {str(each) for each in meter_filter.Conjunction} == {"and", "or"}


@given(filters(NESTING_MAX), st.data())
def test_a_filter_looks_at_its_keys_only(f: Filter, data: st.DataObject) -> None:
    metadata = data.draw(st.dictionaries(st.sampled_from([*keys_of(f), "x"]), VALUES))
    seen = {key: value for key, value in metadata.items() if key in keys_of(f)}
    assert matches(f, seen) == matches(f, metadata)


def test_the_keys_of_nested_clauses_are_all_there() -> None:
    value = both(condition("equals", "x", "a"), either(condition("equals", "x", "b"), condition("equals", 1, "c")))
    assert keys_of(read_filter(value)) == {"a", "b", "c"}
    assert keys_of(None) == frozenset()


NESTED = read_filter(
    {
        "conjunction": "and",
        "clauses": [
            {"key": "model", "operator": "equals", "value": "large"},
            {
                "conjunction": "or",
                "clauses": [
                    {"key": "tokens", "operator": "greater_than", "value": 10},
                    {"key": "free", "operator": "equals", "value": False},
                ],
            },
        ],
    }
)


def test_the_false_conditions_are_named_by_their_paths() -> None:
    metadata: dict[str, str | bool | Decimal] = {"model": "small", "tokens": Decimal(3)}
    assert [(one.path, one.condition.key, one.found) for one in why_not(NESTED, metadata)] == [
        ("filter.clauses[0]", "model", "small"),
        ("filter.clauses[1].clauses[0]", "tokens", Decimal(3)),
        ("filter.clauses[1].clauses[1]", "free", None),
    ]
    assert [one.path for one in why_not(NESTED, {**metadata, "free": False})] == ["filter.clauses[0]"]
    assert why_not(NESTED, {"model": "large", "free": False}) == ()
    assert why_not(None, {}) == ()


values = st.one_of(st.sampled_from(["large", "small"]), st.booleans(), st.integers(-2, 20).map(Decimal))


@given(metadata=st.dictionaries(st.sampled_from(["model", "tokens", "free"]), values))
def test_an_event_passes_when_no_condition_is_against_it(metadata: dict[str, str | bool | Decimal]) -> None:
    assert matches(NESTED, metadata) is (why_not(NESTED, metadata) == ())
