"""Duplicate or conflict: sameness is by value."""

import json
import random
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.content import same_content
from domain.event import UsageEvent

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVENT = UsageEvent("e1", "api.call", "cus_1", NOON, '{"n": 1}')


def having(**changes: object) -> UsageEvent:
    return msgspec.structs.replace(EVENT, **changes)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ('{"n":1}', '{"n":1.0}'),
        ('{"n":1}', '{"n":1e0}'),
        ('{"n":100}', '{"n":1E+2}'),
        ('{"n":0}', '{"n":-0.0}'),
        ('{"a":1,"b":"x"}', ' { "b" : "x" , "a" : 1 } '),
        ("", "{}"),
        ("", " { } "),
        ('{"s":"\\u00e9"}', '{"s":"é"}'),
        ('{"s":"a\\/b"}', '{"s":"a/b"}'),
    ],
)
def test_the_same_by_value(a: str, b: str) -> None:
    assert same_content(having(metadata=a), having(metadata=b))
    assert same_content(having(metadata=b), having(metadata=a))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ('{"n":1}', '{"n":"1"}'),
        ('{"n":1}', '{"n":true}'),
        ('{"n":0}', '{"n":false}'),
        ('{"n":"true"}', '{"n":true}'),
        ('{"n":1}', '{"n":1.000000000000000000000000000001}'),
        ('{"n":9007199254740993}', '{"n":9007199254740992}'),
        ('{"n":1}', '{"m":1}'),
        ('{"n":1}', '{"n":1,"m":2}'),
        ('{"n":1}', ""),
        ('{"s":"x"}', '{"s":"X"}'),
        ('{"s":"é"}', '{"s":"e\u0301"}'),
    ],
)
def test_different_by_value(a: str, b: str) -> None:
    assert not same_content(having(metadata=a), having(metadata=b))
    assert not same_content(having(metadata=b), having(metadata=a))


@pytest.mark.parametrize(("field", "other"), [("event_name", "API.call"), ("customer_id", "cus_2")])
def test_name_and_customer_count(field: str, other: str) -> None:
    assert not same_content(having(**{field: other}), EVENT)


def test_one_instant_in_two_zones_is_the_same() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert same_content(having(timestamp=there), EVENT)


def test_a_microsecond_apart_is_a_conflict() -> None:
    assert not same_content(having(timestamp=NOON + timedelta(microseconds=1)), EVENT)


def test_a_resend_without_a_timestamp_has_the_originals() -> None:
    assert same_content(having(timestamp=None), EVENT)
    assert same_content(having(timestamp=None), having(timestamp=None))


def test_a_resend_that_names_an_instant_differs_from_an_original_that_named_none() -> None:
    assert not same_content(EVENT, having(timestamp=None))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.one_of(TEXT, st.booleans(), st.integers(-(10**19), 10**19))


@given(st.dictionaries(TEXT, VALUES, max_size=8), st.randoms(use_true_random=False))
def test_order_white_space_and_escapes_never_matter(metadata: dict, shuffle: random.Random) -> None:
    items = list(metadata.items())
    shuffle.shuffle(items)
    a = json.dumps(metadata, ensure_ascii=True)
    b = json.dumps(dict(items), ensure_ascii=False, indent=2)
    assert same_content(having(metadata=a), having(metadata=b))


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=8), VALUES, st.data())
def test_a_changed_value_always_matters(metadata: dict, value: object, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(metadata)))
    changed = {**metadata, key: value}
    same = type(value) is type(metadata[key]) and value == metadata[key]
    assert same_content(having(metadata=json.dumps(metadata)), having(metadata=json.dumps(changed))) == same
