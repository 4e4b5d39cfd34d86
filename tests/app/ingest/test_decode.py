"""A whole body: the good events with their places, the bad ones with their reasons, and no other outcome."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.ingest.decode import Decoded, decode_events
from app.ingest.problem import BodyProblem
from app.ingest.split import JSON_EVENTS_MAX
from domain.event import UsageEvent

GOOD = '{"event_id":"e1","event_name":"n","customer_id":"c"}'
ODD = '{"event_id" : "\\u00652", "event_name":"n", "customer_id":"c", "metadata" :{ "a" : 1.0 } , "x":0}'
BAD = '{"event_id":"e3","event_name":"n","timestamp":"now","metadata":{"a":"\\ud800"}}'


def in_json(*events: str) -> bytes:
    return f'{{"events": [{" , ".join(events)}]}}'.encode()


def in_lines(*events: str) -> bytes:
    return "\r\n\n".join(events).encode()


@pytest.mark.parametrize("ndjson", [False, True])
def test_good_and_bad_events_keep_their_places(ndjson: bool) -> None:
    body = in_lines(GOOD, BAD, "{}", ODD) if ndjson else in_json(GOOD, BAD, "{}", ODD)
    decoded = decode_events(body, ndjson)
    assert decoded.events == [
        (0, UsageEvent("e1", "n", "c", None, "")),
        (3, UsageEvent("e2", "n", "c", None, '{ "a" : 1.0 }')),
    ]
    assert [(event.index, event.event_id, event.text) for event in decoded.rejected] == [
        (1, "e3", BAD),
        (2, None, "{}"),
    ]
    assert [(problem.index, problem.event_id, problem.field, problem.code) for problem in decoded.problems] == [
        (1, "e3", "customer_id", "MISSING_FIELD"),
        (1, "e3", "timestamp", "INVALID_TIMESTAMP"),
        (1, "e3", "metadata.a", "INVALID_TEXT"),
        (2, None, "event_id", "MISSING_FIELD"),
        (2, None, "event_name", "MISSING_FIELD"),
        (2, None, "customer_id", "MISSING_FIELD"),
    ]


def test_what_the_python_sdk_sends() -> None:
    sent = {
        "event_id": "evt_1",
        "customer_id": "cus_1",
        "event_name": "api.call",
        "timestamp": datetime(2026, 11, 23, 18, 50, 7, 258763, tzinfo=UTC).isoformat(),
        "metadata": {"tokens": 12, "rate": 0.1, "model": "größe", "cached": False},
    }
    body = json.dumps({"events": [sent]}, ensure_ascii=False, separators=(",", ":")).encode()
    (event,) = decode_events(body, ndjson=False).events
    metadata = '{"tokens":12,"rate":0.1,"model":"größe","cached":false}'
    at = datetime(2026, 11, 23, 18, 50, 7, 258763, tzinfo=UTC)
    assert event == (0, UsageEvent("evt_1", "api.call", "cus_1", at, metadata))


def test_one_broken_line_leaves_the_others() -> None:
    decoded = decode_events(in_lines(GOOD, GOOD[:-1], "[" * 10_000, "NaN", GOOD), ndjson=True)
    assert [index for index, _ in decoded.events] == [0, 4]
    assert [(problem.index, problem.code) for problem in decoded.problems] == [
        (1, "MALFORMED_JSON"),
        (2, "TOO_DEEP"),
        (3, "MALFORMED_JSON"),
    ]


def test_the_same_id_twice_is_not_decided_here() -> None:
    assert len(decode_events(in_json(GOOD, GOOD), ndjson=False).events) == 2


def test_a_full_batch_of_nothing_is_answered_in_full() -> None:
    decoded = decode_events(in_json(*["1"] * JSON_EVENTS_MAX), ndjson=False)
    assert [problem.index for problem in decoded.problems] == list(range(JSON_EVENTS_MAX))


def test_a_body_that_is_none_is_refused() -> None:
    with pytest.raises(BodyProblem, match="events must be an array"):
        decode_events(b'{"events":1}', ndjson=False)
    with pytest.raises(BodyProblem, match="holds no event"):
        decode_events(b"\n", ndjson=True)


PIECES = [
    GOOD,
    ODD,
    BAD,
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "\\ud83d",
    "\\ud800",
    "\0",
    "\ufeff",
    "\n",
    " ",
    "1e400",
]
PIECES += ["NaN", "null", '"events"', '{"events":[', "]}", '"metadata":', "-", "0", "é"]


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.lists(st.sampled_from(PIECES), max_size=12).map(lambda parts: "".join(parts).encode()),
        st.tuples(st.just(in_json(GOOD, ODD, BAD)), st.integers(0, 300), st.binary(max_size=2)).map(
            lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + 1 :]
        ),
    ),
    st.booleans(),
)
@example(in_json(GOOD, ODD, BAD), False)
def test_any_bytes_are_read_or_refused_and_every_event_once(body: bytes, ndjson: bool) -> None:
    decoded, status = Decoded(), 200
    try:
        decoded = decode_events(body, ndjson)
    except BodyProblem as problem:
        status = problem.status
    assert status in (200, 400, 413, 422)
    assert_complete(decoded)


def assert_complete(decoded: Decoded) -> None:
    good = [index for index, _ in decoded.events]
    bad = [event.index for event in decoded.rejected]
    assert sorted(good + bad) == list(range(len(good) + len(bad)))
    assert all(event.problems for event in decoded.rejected)
    assert all("\0" not in event.text for event in decoded.rejected)
    # Everything that goes into an answer or a row can be written as UTF-8 without a NUL.
    for problem in decoded.problems:
        text = f"{problem.event_id}{problem.field}{problem.code}{problem.message}"
        assert "\0" not in text.encode().decode()
