"""Errors name what a client sent without becoming dangerous themselves."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.problem import EventProblem, refusal_status, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tokens", "tokens"),
        ("", '""'),
        ("größe 日本", "größe 日本"),
        ("a\0b", "a\\x00b"),
        ("a\nb", "a\\nb"),
        ("\ud800", "\\ud800"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 100 + "…"),
    ],
)
def test_names_in_messages(name: str, expected: str) -> None:
    assert shown(name) == expected


@given(st.text(st.characters()))
def test_any_name_can_be_sent_in_an_answer(name: str) -> None:
    assert len(msgspec.json.encode(shown(name)).decode()) < 1100


def problem(code: str) -> EventProblem:
    return EventProblem(0, None, "f", code, "m")


def test_a_batch_without_shape_is_422_and_one_with_bad_values_is_400() -> None:
    assert refusal_status([problem("TOO_LONG"), problem("INVALID_TIMESTAMP")]) == 400
    assert refusal_status([problem("TOO_LONG"), problem("MISSING_FIELD")]) == 422
