"""A body is taken apart into the texts of its events, or refused as a whole with its reason."""

import json

import pytest

from app.ingest.problem import BodyProblem
from app.ingest.spans import LONE_SURROGATES_MAX
from app.ingest.split import (
    JSON_EVENTS_MAX,
    NDJSON_EVENTS_MAX,
    VALUES_PER_EVENT_MAX,
    json_events,
    ndjson_events,
)


def refused(body: bytes, ndjson: bool = False) -> tuple[int, str, str]:
    with pytest.raises(BodyProblem) as caught:
        ndjson_events(body) if ndjson else json_events(body)
    return caught.value.status, caught.value.code, caught.value.message


def test_each_event_is_exactly_what_was_sent() -> None:
    assert json_events(b' {"events" : [ { "a" : 1 } ,{},[ ], 5 ] }\n') == [
        b'{ "a" : 1 }',
        b"{}",
        b"[ ]",
        b"5",
    ]


def test_other_keys_beside_events_are_ignored() -> None:
    body = b'{"source":{"events":[1]},"events":[{"n":1}],"z":["\\ud83d\\ude00"]}'
    assert json_events(body) == [b'{"n":1}']
    assert json_events(b'{"\\u0065vents":[1]}') == [b"1"]


def test_a_lone_surrogate_stays_in_the_text_of_its_event() -> None:
    assert json_events(rb'{"events":[{"a":"\ud83d\ude00"},{"a":"\ud800"},3]}') == [
        rb'{"a":"\ud83d\ude00"}',
        rb'{"a":"\ud800"}',
        b"3",
    ]


def test_a_body_of_nothing_but_lone_surrogates() -> None:
    body = rb'{"events":["%b"]}'
    assert len(json_events(body % (rb"\ud800" * LONE_SURROGATES_MAX))) == 1
    assert refused(body % (rb"\ud800" * (LONE_SURROGATES_MAX + 1)))[:2] == (422, "INVALID_TEXT")


@pytest.mark.parametrize("body", [rb'{"x":"\ud800","events":[1]}', rb'{"events":[1],"\udfff":1}'])
def test_a_lone_surrogate_elsewhere_is_the_bodys_problem(body: bytes) -> None:
    assert refused(body)[:2] == (422, "INVALID_TEXT")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b'{"events":[{}',
        b'{"events":[{}]',
        b'{"events":[{}]}}',
        b'{"events":[{}]} {}',
        b'{"events":[{},]}',
        b'{"events":[{}],}',
        b"{'events':[{}]}",
        b'{"events":[NaN]}',
        b'{"events":[{"metadata":{"a":Infinity}}]}',
        b'{"events":[-Infinity]}',
        b'{"events":[01]}',
        b'{"events":[1.]}',
        b'{"events":[+1]}',
        b'{"events":["\n"]}',
        b'{"events":["\\x41"]}',
        b'{"events":[{"a":1}]}\x0c',
        b'{"events":[tru]}',
        rb'{"events":["\ud800",]}',
        rb'{"events":["\ud8zz"]}',
    ],
)
def test_malformed_json(body: bytes) -> None:
    status, code, message = refused(body)
    assert (status, code) == (422, "MALFORMED_JSON")
    assert message.startswith("the body is not valid JSON: ")


@pytest.mark.parametrize("ndjson", [False, True])
def test_what_no_text_may_hold(ndjson: bool) -> None:
    good = b'{"events":[{"a":"x"}]}'
    assert refused(b"\xef\xbb\xbf" + good, ndjson)[:2] == (422, "MALFORMED_JSON")
    assert refused(good[:5] + b"\0" + good, ndjson) == (
        422,
        "MALFORMED_JSON",
        "the body holds a NUL byte at byte 5",
    )
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xc3"):
        body = good.replace(b"x", bad)
        assert refused(body, ndjson) == (422, "INVALID_TEXT", "the body is not valid UTF-8 at byte 17")


@pytest.mark.parametrize("body", [b"[]", b'[{"event_id":"a"}]', b"1", b'"events"', b"null"])
def test_the_body_must_be_an_object(body: bytes) -> None:
    assert refused(body)[:2] == (422, "INVALID_TYPE")


@pytest.mark.parametrize("value", [b"{}", b"1", b"null", b'"[]"'])
def test_events_must_be_an_array(value: bytes) -> None:
    assert refused(b'{"events": %b}' % value) == (422, "INVALID_TYPE", "events must be an array")


def test_events_is_required() -> None:
    assert refused(b'{"Events":[1],"event":[1]}')[:2] == (422, "MISSING_FIELD")


@pytest.mark.parametrize(
    "body", [b'{"events":[1],"events":[1]}', b'{"events":[1],"events":[2]}', b'{"x":1,"events":[1],"x":2}']
)
def test_a_repeated_key_is_refused(body: bytes) -> None:
    status, code, message = refused(body)
    assert (status, code) == (422, "DUPLICATE_KEY")
    assert ("'x'" if b"x" in body else "'events'") in message


def test_the_number_of_events() -> None:
    assert refused(b'{"events":[]}')[:2] == (400, "EMPTY_BATCH")
    body = b'{"events":[%b]}'
    assert len(json_events(body % b",".join([b"{}"] * JSON_EVENTS_MAX))) == JSON_EVENTS_MAX
    assert refused(body % b",".join([b"{}"] * (JSON_EVENTS_MAX + 1)))[:2] == (400, "TOO_MANY_EVENTS")


def test_the_largest_batch_within_the_contract_passes_whatever_its_strings_hold() -> None:
    metadata = {f"k{i}": ",[{" * 100 for i in range(50)}
    event = json.dumps({"event_id": "e", "event_name": "n", "customer_id": "c", "metadata": metadata})
    assert len(json_events(b'{"events":[%b]}' % ",".join([event] * 200).encode())) == 200
    short = json.dumps({"event_id": "e", "timestamp": "t", "metadata": {f"k{i}": i for i in range(50)}})
    assert len(json_events(b'{"events":[%b]}' % ",".join([short] * JSON_EVENTS_MAX).encode())) == 1000


@pytest.mark.parametrize("piece", [b"1", b"[]", b"{}", b'{"a":[{}]}'])
def test_a_body_of_countless_values_is_refused_before_they_cost_memory(piece: bytes) -> None:
    body = b'{"events":[{"x":[%b]}]}' % b",".join([piece] * VALUES_PER_EVENT_MAX * JSON_EVENTS_MAX)
    assert refused(body)[:2] == (413, "TOO_MANY_VALUES")
    lines = (b"[%b]\n" % b",".join([piece] * VALUES_PER_EVENT_MAX)) * NDJSON_EVENTS_MAX
    assert refused(lines, ndjson=True)[:2] == (413, "TOO_MANY_VALUES")
    assert refused(lines.replace(b"]\n", b']\n"\n'), ndjson=True)[:2] == (413, "TOO_MANY_VALUES")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_depth_bomb_is_refused(opening: bytes) -> None:
    depth = 100_000 // len(opening)
    closing = opening.replace(b"[", b"]").replace(b'{"a":', b"}")[::-1]
    complete = b'{"events":[%b1%b]}' % (opening * depth, closing * depth)
    for body in (complete, b'{"events":%b' % (opening * depth), opening * depth, b'{"x":' + complete):
        assert refused(body)[:2] in ((422, "TOO_DEEP"), (422, "INVALID_TYPE"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":["' + b'\\"' * 2_000_000,
        b'{"events":["' + b"\\ud800" * 300_000,
        b'{"events":["\\ud800' + b"\\n" * 1_000_000 + b'"]',
        b'{"events":["\\ud800' + b"\\ud8zz" * 300_000 + b'"]}',
        b'"' * 4_000_000,
        b"," * 4_000_000 + b'"' + b'\\"' * 2_000_000,
    ],
)
def test_texts_made_to_be_read_again_and_again_are_read_once(body: bytes) -> None:
    # Reading any of them in quadratic time would take hours, which the test run would not survive.
    with pytest.raises(BodyProblem):
        json_events(body)


def test_lines() -> None:
    body = b'\n {"a":1} \r\n\r\n\t\n{"a":\t2}\n[1] x\r\n'
    assert ndjson_events(body) == [b'{"a":1}', b'{"a":\t2}', b"[1] x"]
    assert ndjson_events(b"{}") == [b"{}"]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n", b"\n" * 1_000_000])
def test_no_line_is_no_batch(body: bytes) -> None:
    assert refused(body, ndjson=True)[:2] == (400, "EMPTY_BATCH")


def test_the_number_of_lines() -> None:
    assert len(ndjson_events(b"{}\n\n" * NDJSON_EVENTS_MAX)) == NDJSON_EVENTS_MAX
    assert refused(b"{}\n" * (NDJSON_EVENTS_MAX + 1), ndjson=True)[:2] == (400, "TOO_MANY_EVENTS")
