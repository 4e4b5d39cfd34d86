"""Each rule for a field, its limit on both sides, and the words of its refusal."""

from datetime import UTC, datetime

import pytest

from app.ingest.rules import (
    DEPTH_MAX,
    PROBLEMS_PER_EVENT_MAX,
    Members,
    NumberText,
    Problems,
    Value,
    check_metadata,
    check_unknown,
    read_text,
    read_timestamp,
    repeated_keys,
)


def found(problems: Problems) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in problems.reported()]


@pytest.mark.parametrize("text", ["a", "x" * 10, "é" * 10, "😀" * 10, " ", "\x7f", "\ufffe"])
def test_text_within_the_limit(text: str) -> None:
    problems = Problems(0)
    assert read_text(problems, "event_id", text, 10) == text
    assert not problems


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("", "EMPTY_FIELD", "event_id must not be empty"),
        ("x" * 11, "TOO_LONG", "event_id has 11 characters; at most 10 are allowed"),
        ("a\0b", "INVALID_TEXT", "event_id holds a NUL character, which the database cannot keep"),
        ("a\ud800", "INVALID_TEXT", "event_id holds a lone surrogate, which is no character"),
        (None, "INVALID_TYPE", "event_id must be a string, not null"),
        (True, "INVALID_TYPE", "event_id must be a string, not a boolean"),
        (NumberText("1"), "INVALID_TYPE", "event_id must be a string, not a number"),
        ([], "INVALID_TYPE", "event_id must be a string, not an array"),
        (Members(), "INVALID_TYPE", "event_id must be a string, not an object"),
    ],
)
def test_text_that_is_refused(value: Value, code: str, message: str) -> None:
    problems = Problems(7)
    assert read_text(problems, "event_id", value, 10) is None
    (problem,) = problems.reported()
    assert (problem.index, problem.event_id, problem.field) == (7, None, "event_id")
    assert (problem.code, problem.message) == (code, message)


def test_a_timestamp_keeps_its_instant() -> None:
    problems = Problems(0)
    read = read_timestamp(problems, "timestamp", "2026-11-23T18:50:07.1234567+02:00")
    assert read == datetime(2026, 11, 23, 16, 50, 7, 123456, tzinfo=UTC)
    assert read_timestamp(problems, "timestamp", None) is None
    assert not problems


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2026-11-23T18:50:07", "INVALID_TIMESTAMP"),
        ("2026-02-30T00:00:00Z", "INVALID_TIMESTAMP"),
        ("", "INVALID_TIMESTAMP"),
        ("\ud800", "INVALID_TIMESTAMP"),
        ("9" * 100_000, "INVALID_TIMESTAMP"),
        (NumberText("1732387807"), "INVALID_TYPE"),
        (False, "INVALID_TYPE"),
    ],
)
def test_a_timestamp_that_is_refused(value: Value, code: str) -> None:
    problems = Problems(0)
    assert read_timestamp(problems, "timestamp", value) is None
    assert found(problems) == [("timestamp", code)]
    assert len(problems.reported()[0].message.encode()) < 500


def metadata_problems(*members: tuple[str, Value]) -> list[tuple[str, str]]:
    problems = Problems(0)
    check_metadata(problems, "metadata", Members(members))
    return found(problems)


def test_metadata_within_the_limits() -> None:
    assert metadata_problems() == []
    assert metadata_problems(("", ""), ("k" * 100, "v" * 500), ("b", True), ("n", NumberText("1e3"))) == []
    assert metadata_problems(*((str(i), "") for i in range(50))) == []


@pytest.mark.parametrize("text", ["9" * 20, f"-0.{'9' * 30}", f"{'9' * 20}.{'9' * 30}", "1e19", "1e-30", "-0"])
def test_numbers_within_the_limits(text: str) -> None:
    assert metadata_problems(("n", NumberText(text))) == []


@pytest.mark.parametrize(
    "text", ["1" + "0" * 20, f"0.{'0' * 30}1", "1e20", "1e400", "1e-31", "1e999999999", "1" * 100_000]
)
def test_numbers_beyond_them(text: str) -> None:
    assert metadata_problems(("n", NumberText(text))) == [("metadata.n", "INVALID_NUMBER")]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("a", None, "INVALID_TYPE"),
        ("a", [], "INVALID_TYPE"),
        ("a", Members(), "INVALID_TYPE"),
        ("a", "v" * 501, "TOO_LONG"),
        ("a", "\0", "INVALID_TEXT"),
        ("a", "\udfff", "INVALID_TEXT"),
    ],
)
def test_metadata_values_that_are_refused(key: str, value: Value, code: str) -> None:
    assert metadata_problems(("fine", "x"), (key, value)) == [("metadata.a", code)]


@pytest.mark.parametrize(
    ("key", "field", "code"),
    [
        ("k" * 101, "metadata." + "k" * 100 + "…", "TOO_LONG"),
        ("\0", "metadata.\\x00", "INVALID_TEXT"),
        ("\ud800", "metadata.\\ud800", "INVALID_TEXT"),
    ],
)
def test_metadata_keys_that_are_refused(key: str, field: str, code: str) -> None:
    assert metadata_problems((key, "x")) == [(field, code)]


def test_a_repeated_metadata_key_is_named() -> None:
    assert metadata_problems(("a", "1"), ("b", "2"), ("a", "1"), ("a", "3")) == [("metadata.a", "DUPLICATE_KEY")]


def test_too_many_keys_is_one_problem_however_wrong_they_are() -> None:
    assert metadata_problems(*((str(i), None) for i in range(51))) == [("metadata", "TOO_MANY_KEYS")]


@pytest.mark.parametrize("value", [[], "{}", NumberText("1"), True])
def test_metadata_must_be_an_object(value: Value) -> None:
    problems = Problems(0)
    check_metadata(problems, "metadata", value)
    assert found(problems) == [("metadata", "INVALID_TYPE")]


def test_metadata_may_be_null() -> None:
    problems = Problems(0)
    check_metadata(problems, "metadata", None)
    assert not problems


def nested(depth: int) -> Value:
    value: Value = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (nested(DEPTH_MAX), None),
        (nested(DEPTH_MAX + 1), "TOO_DEEP"),
        (nested(100_000), "TOO_DEEP"),
        (["\0", None, NumberText("1e400"), Members([("a", Members([("a", True)]))])], None),
        (["x", ["\ud800"]], "INVALID_TEXT"),
        ([Members([("\ud800", "x")])], "INVALID_TEXT"),
        ([Members([("a", True), ("a", True)])], "DUPLICATE_KEY"),
    ],
)
def test_a_field_that_is_ignored(value: Value, code: str | None) -> None:
    problems = Problems(0)
    check_unknown(problems, "extra", value)
    assert found(problems) == ([] if code is None else [("extra", code)])


def test_an_ignored_field_whose_name_is_no_text() -> None:
    problems = Problems(0)
    check_unknown(problems, "\ud800", "x")
    assert found(problems) == [("\\ud800", "INVALID_TEXT")]


def test_repeated_keys_are_named_once() -> None:
    assert repeated_keys([("a", ""), ("b", ""), ("b", ""), ("a", ""), ("b", ""), ("c", "")]) == ["b", "a"]


def test_the_report_is_bounded() -> None:
    problems = Problems(0)
    for i in range(PROBLEMS_PER_EVENT_MAX + 10):
        problems.add(f"f{i}", "TOO_LONG", "is too long")
    assert len(problems.reported()) == PROBLEMS_PER_EVENT_MAX


def test_every_problem_names_the_event_even_when_found_before_its_id() -> None:
    problems = Problems(3)
    problems.add("timestamp", "INVALID_TYPE", "is wrong")
    problems.event_id = "e1"
    assert [(problem.index, problem.event_id) for problem in problems.reported()] == [(3, "e1")]
