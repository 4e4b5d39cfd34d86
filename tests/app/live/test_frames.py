"""Frames: whatever comes in is read or refused with a reason, and what goes out is encoded once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.live import frames
from app.live.frames import FrameRefused, Subscribe, Unsubscribe, read
from projections.log_reader import END


def refused(text: str) -> FrameRefused:
    with pytest.raises(FrameRefused) as caught:
        read(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"subscribe","id":"a","customer_id":"ada"}', Subscribe("a", customer_id="ada")),
        ('{"id":"a","after":7,"subscription_id":"s","type":"subscribe"}', Subscribe("a", subscription_id="s", after=7)),
        ('{"type":"subscribe","id":"a","tenant":true,"after":null}', Subscribe("a", tenant=True)),
        ('{"type":"subscribe","id":"a","tenant":false,"customer_id":"é"}', Subscribe("a", customer_id="é")),
        (' {"type":"unsubscribe","id":"a"} ', Unsubscribe("a")),
    ],
)
def test_a_frame_is_read(text: str, frame: frames.Incoming) -> None:
    assert read(text) == frame


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "hello",
        '{"type":"subscribe","id":"a"} x',
        '{"type":"subscribe","id":"\ud800","tenant":true}',
        '{"type":"subscribe","id":"\\ud800","tenant":true}',
        "[" * frames.FRAME_MAX_BYTES,
        '{"a":' * 800,
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    assert refused(text).code in ("MALFORMED_JSON", "INVALID_FRAME")
    assert refused(text).name is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "the frame is none of ours: Expected `object`, got `array`"),
        ("{}", "the frame is none of ours: Object missing required field `type`"),
        ('{"type":"shout","id":"a"}', "type: Invalid value 'shout'"),
        ('{"type":"subscribe","tenant":true}', "the frame is none of ours: Object missing required field `id`"),
        ('{"type":"subscribe","id":"","tenant":true}', "id: Expected `str` of length >= 1"),
        ('{"type":"subscribe","id":"' + "a" * 65 + '","tenant":true}', "id: Expected `str` of length <= 64"),
        ('{"type":"subscribe","id":1,"tenant":true}', "id: Expected `str`, got `int`"),
    ],
)
def test_a_frame_without_a_readable_id_is_refused_without_one(text: str, said: str) -> None:
    error = refused(text)
    assert error.message == said
    assert error.code == "INVALID_FRAME"
    assert error.name == ("a" if "shout" in text else None)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "customer_id: exactly one of customer_id, subscription_id and tenant is required"),
        ({"tenant": False}, "customer_id: exactly one of customer_id, subscription_id and tenant is required"),
        ({"customer_id": "c", "subscription_id": "s"}, "customer_id: exactly one of"),
        ({"customer_id": "c", "tenant": True}, "customer_id: exactly one of"),
        ({"customer_id": ""}, "customer_id: Expected `str` of length >= 1"),
        ({"customer_id": "c" * 257}, "customer_id: Expected `str` of length <= 256"),
        ({"customer_id": "a\0b"}, "customer_id: an id must not hold a NUL character"),
        ({"subscription_id": "a\0b"}, "subscription_id: an id must not hold a NUL character"),
        ({"customer_id": "c", "after": -1}, "after: Expected `int` >= 0"),
        ({"customer_id": "c", "after": END + 1}, "after: "),
        ({"customer_id": "c", "after": 10**60}, "after: "),
        ({"customer_id": "c", "after": 1.5}, "after: Expected `int"),
        ({"customer_id": "c", "aftr": 1}, "the frame is none of ours: Object contains unknown field `aftr`"),
        ({"customer_id": "c", "x": json.loads("[" * 500 + "]" * 500)}, "the frame is none of ours: Object contains"),
    ],
)
def test_a_bad_field_is_named_with_its_rule(members: dict[str, object], said: str) -> None:
    error = refused(json.dumps({"type": "subscribe", "id": "a", **members}))
    assert error.message.startswith(said)
    assert (error.code, error.name) == ("INVALID_FRAME", "a")


@given(st.text(max_size=200) | st.recursive(st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        frame = read(text)
    except FrameRefused:
        return
    assert isinstance(frame, Subscribe | Unsubscribe)


def test_what_goes_out_is_json() -> None:
    assert json.loads(frames.heartbeat(7)) == {"type": "heartbeat", "position": 7}
    assert json.loads(frames.error("A", "b")) == {"type": "error", "code": "A", "message": "b"}
    assert json.loads(frames.error("A", "b", "c")) == {"type": "error", "id": "c", "code": "A", "message": "b"}
    assert json.loads(frames.alert("a", {"position": 3})) == {"type": "alert", "id": "a", "firing": {"position": 3}}
