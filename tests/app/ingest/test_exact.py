"""The exact reader: everything that is wrong with an event, and nothing with one that is right."""

from datetime import UTC, datetime

import pytest

from app.ingest.exact import EVENT_MAX_BYTES, read_event
from app.ingest.problem import RejectedEvent
from domain.event import UsageEvent

REQUIRED = '"event_id":"e1","event_name":"n","customer_id":"c"'


def rejected(text: str | bytes) -> RejectedEvent:
    sent = text.encode() if isinstance(text, str) else text
    result = read_event(4, sent)
    assert isinstance(result, RejectedEvent)
    assert result.index == 4
    assert result.text == sent.decode()
    assert all((problem.index, problem.event_id) == (4, result.event_id) for problem in result.problems)
    return result


def found(text: str | bytes) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in rejected(text).problems]


def test_an_event_with_everything() -> None:
    metadata = '{ "a" : 1.50,\n"b":"\\u00e9\\ud83d\\ude00" }'
    text = f'{{{REQUIRED},"timestamp":"2026-01-01T00:00:00+01:00","metadata": {metadata} ,"x":[1]}}'
    instant = datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert read_event(0, text.encode()) == UsageEvent("e1", "n", "c", instant, metadata)


@pytest.mark.parametrize("rest", ["", ',"timestamp":null', ',"metadata":null', ',"metadata":null,"timestamp":null'])
def test_null_is_absent(rest: str) -> None:
    assert read_event(0, f"{{{REQUIRED}{rest}}}".encode()) == UsageEvent("e1", "n", "c", None, "")


def test_an_empty_object_is_kept_as_sent() -> None:
    assert read_event(0, f'{{{REQUIRED},"metadata":{{ }}}}'.encode()) == UsageEvent("e1", "n", "c", None, "{ }")


def test_every_bad_field_is_named() -> None:
    text = """{"event_id":"e1","event_name":"","customer_id":5,"timestamp":"yesterday",
        "metadata":{"a":null,"b":1e400,"c":{},"a":1,"ok":1},"x":{"y":1,"y":2},"event_name":""}"""
    assert found(text) == [
        ("event_name", "EMPTY_FIELD"),
        ("customer_id", "INVALID_TYPE"),
        ("timestamp", "INVALID_TIMESTAMP"),
        ("metadata.a", "DUPLICATE_KEY"),
        ("metadata.a", "INVALID_TYPE"),
        ("metadata.b", "INVALID_NUMBER"),
        ("metadata.c", "INVALID_TYPE"),
        ("event_name", "DUPLICATE_KEY"),
        ("x", "DUPLICATE_KEY"),
    ]
    assert rejected(text).event_id == "e1"


def test_nothing_at_all() -> None:
    assert found("{}") == [(name, "MISSING_FIELD") for name in ("event_id", "event_name", "customer_id")]
    assert rejected("{}").problems[0].message == "event_id is required"


@pytest.mark.parametrize("text", ["[]", "1", "null", '"e1"', "true"])
def test_what_is_no_object(text: str) -> None:
    assert found(text) == [("event", "INVALID_TYPE")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}{}",
        "{'a':1}",
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":01}',
        '{"a":"\n"}',
        '{"a":"\\ud8zz"}',
        "nul",
    ],
)
def test_what_is_no_json(text: str) -> None:
    assert found(text) == [("event", "MALFORMED_JSON")]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_bombs(opening: str) -> None:
    assert found(opening * 50_000) == [("event", "TOO_DEEP")]
    assert found(f'{{{REQUIRED},"x":{opening * 5_000}') == [("event", "TOO_DEEP")]


def test_the_id_is_repeated_only_when_it_is_one() -> None:
    for bad in (
        '"event_id":"\\ud800"',
        '"event_id":"\\u0000"',
        f'"event_id":"{"x" * 513}"',
        '"event_id":"a","event_id":"a"',
    ):
        assert rejected(f'{{"event_name":"n","customer_id":"c",{bad}}}').event_id is None


def test_limits_count_characters_and_not_bytes() -> None:
    texts = ("😀" * 512, "😀" * 256, "😀" * 256)
    text = '{{"event_id":"{}","event_name":"{}","customer_id":"{}"}}'.format(*texts)
    assert read_event(0, text.encode()) == UsageEvent(*texts, None, "")
    assert found(text.replace('"}', '😀"}')) == [("customer_id", "TOO_LONG")]


def test_the_largest_event_within_the_limits_fits() -> None:
    astral = "\\ud83d\\ude00"
    metadata = ",".join(f'"{i:02}{astral * 98}":"{astral * 500}"' for i in range(50))
    text = (
        f'{{"event_id":"{astral * 512}","event_name":"{astral * 256}","customer_id":"{astral * 256}",'
        f'"metadata":{{{metadata}}}}}'
    )
    event = read_event(0, text.encode())
    assert isinstance(event, UsageEvent)
    assert event.metadata == f"{{{metadata}}}"
    assert found(f"{{{REQUIRED}{' ' * EVENT_MAX_BYTES}}}") == [("event", "TOO_LARGE")]


def test_a_hostile_event_gets_a_bounded_answer() -> None:
    text = f'{{{REQUIRED},{",".join(f""""k{i}":1,"k{i}":1""" for i in range(5000))}}}'
    assert len(rejected(text).problems) == 100
