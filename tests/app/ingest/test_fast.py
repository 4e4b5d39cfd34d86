"""The quick reader takes only what the exact one takes, and reads it the same; plain events it does take."""

import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.ingest import exact, fast, split
from app.ingest.problem import RejectedEvent
from domain.event import UsageEvent

REQUIRED = '"event_id":"e1","event_name":"n","customer_id":"c"'
PLAIN = (
    f'{{{REQUIRED},"timestamp":"2026-11-23T18:50:07.258763+00:00","metadata":{{"tokens":12,"rate":0.5,"model":"x"}}}}'
)


def assert_agreement(text: bytes) -> None:
    """The law: whatever the quick reader takes, the exact one takes with the same result."""
    quick = fast.read_event(text)
    if quick is not None:
        assert exact.read_event(0, text) == quick


def bodies_agree(body: bytes) -> bool:
    """The same law for whole bodies. Says whether the quick reader took it."""
    quick = fast.read_events(body)
    if quick is not None:
        assert [exact.read_event(0, text) for text in split.json_events(body)] == quick
    return quick is not None


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"{{{REQUIRED}}}",
        f' {{ {REQUIRED} , "metadata" : {{ "a" : true }} }} ',
        f'{{{REQUIRED},"metadata":{{}}}}',
        f'{{{REQUIRED},"metadata":{{"é":"日本","t":false,"n":-1.5e3,"z":-0,"i":99999999999999999999}}}}',
        f'{{{REQUIRED},"timestamp":"2026-11-23T19:01:22.567Z"}}',
    ],
)
def test_plain_events_need_no_closer_look(text: str) -> None:
    quick = fast.read_event(text.encode())
    assert isinstance(quick, UsageEvent)
    assert quick == exact.read_event(0, text.encode())
    assert bodies_agree(f'{{"events":[{text},{PLAIN}]}}'.encode())


@pytest.mark.parametrize(
    "text",
    [
        "{}", "", "[]", "nul", PLAIN + "x", PLAIN.replace("}", ""),
        f'{{{REQUIRED},"event_id":"e1"}}',
        f'{{{REQUIRED},"metadata":{{"a":1,"a":1}}}}',
        f'{{{REQUIRED},"metadata":{{"a":1}},"metadata":{{"a":1}}}}',
        f'{{{REQUIRED},"metadata":{{"a":"x","a":1}}}}',
        f'{{{REQUIRED},"x":{{"y":1,"y":2}}}}',
        f'{{{REQUIRED},"metadata":{{"a":null}}}}',
        f'{{{REQUIRED},"metadata":{{"a":[]}}}}',
        f'{{{REQUIRED},"metadata":{{"a":{{}}}}}}',
        f'{{{REQUIRED},"metadata":[]}}',
        f'{{{REQUIRED},"metadata":{{"a":1e400}}}}',
        f'{{{REQUIRED},"metadata":{{"a":100000000000000000000}}}}',
        f'{{{REQUIRED},"metadata":{{"a":-100000000000000000000}}}}',
        f'{{{REQUIRED},"metadata":{{"a":{"1" * 5000}}}}}',
        f'{{{REQUIRED},"metadata":{{"a":0.{"1" * 31}}}}}',
        f'{{{REQUIRED},"metadata":{{"a":NaN}}}}',
        f'{{{REQUIRED},"metadata":{{"a":"\\u0000"}}}}',
        f'{{{REQUIRED},"metadata":{{"a":"\\ud800"}}}}',
        f'{{{REQUIRED},"metadata":{{"a":"{"v" * 501}"}}}}',
        f'{{{REQUIRED},"metadata":{{"{"k" * 101}":1}}}}',
        f'{{{REQUIRED},"metadata":{{{",".join(f""""k{i}":1""" for i in range(51))}}}}}',
        f'{{{REQUIRED},"timestamp":"2026-11-23T19:01:22"}}',
        f'{{{REQUIRED},"timestamp":5}}',
        REQUIRED.join("{}").replace("e1", ""),
        REQUIRED.join("{}").replace("e1", "e" * 513),
        REQUIRED.join("{}").replace('"n"', f'"{"n" * 257}"'),
        REQUIRED.join("{}").replace('"c"', f'"{"c" * 257}"'),
        REQUIRED.join("{}").replace('"c"', "1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_never_taken(text: str) -> None:
    assert isinstance(exact.read_event(0, text.encode()), RejectedEvent)
    assert fast.read_event(text.encode()) is None
    assert fast.read_events(f'{{"events":[{PLAIN},{text}]}}'.encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        f'{{"events":[{PLAIN}],"more":1}}',
        f'{{"more":{{"x":1}},"events":[{PLAIN}]}}',
        f'{{"events":[{PLAIN}],"events":[{PLAIN}]}}',
        f'{{"events":[{PLAIN}],"events":[]}}',
        f'{{"events":[{PLAIN}]}} x',
        f'{{"events":[{PLAIN}],}}',
        f'{{"events":[{PLAIN},[]]}}',
        f'{{"events":{PLAIN}}}',
        f"[{PLAIN}]",
    ],
)
def test_a_body_with_anything_else_is_looked_at_closely(body: str) -> None:
    assert fast.read_events(body.encode()) is None


@pytest.mark.parametrize(
    "timestamps",
    [
        ("2026-11-23", "T18:50:07Z"),
        ("2026-11-23T18:50:07Z2026-11-23T18:50:07Z", ""),
        ("2026-11-23T18:50:07", "Z"),
        ("2026-11-23T18:50:07Z", "2026-11-23T18:50:07.1234567Z"),
        ("2026-11-23T18:50:07+00:00", "2026-11-23T18:50:07+0000"),
    ],
)
def test_timestamps_of_a_body_are_not_taken_for_each_other(timestamps: tuple[str, str]) -> None:
    """All of them are looked at in one step: what one lacks the next must not supply."""
    events = ",".join(f'{{{REQUIRED},"timestamp":"{timestamp}"}}' for timestamp in timestamps)
    assert bodies_agree(f'{{"events":[{events}]}}'.encode()) == (timestamps[1] == "2026-11-23T18:50:07.1234567Z")


TEXTS = st.one_of(
    st.sampled_from(
        ["", "a", "e1", "n", "timestamp", "metadata", '"', "\\", "\0", "{", ":", ",", "é", "😀", "x" * 101]
    ),
    st.text(max_size=5),
)
NUMBERS = st.one_of(
    st.integers(-(10**21), 10**21).map(str),
    st.sampled_from(
        [
            "0",
            "-0",
            "1.5",
            "1e3",
            "1E-30",
            "1e-31",
            "1e20",
            "1e400",
            "0.1e1",
            "01",
            "1.",
            "-",
            "NaN",
            "1" * 21,
        ]
    ),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
)
SCALARS = st.one_of(TEXTS.map(json.dumps), NUMBERS, st.sampled_from(["true", "false", "null", "[]", "{}"]))
SPACES = st.sampled_from(["", "", "", " ", "\n\t"])
TIMESTAMPS = st.sampled_from(
    [
        "2026-11-23T18:50:07Z",
        "2026-11-23T18:50:07.1234567+05:30",
        "2026-11-23 18:50:07Z",
        "2026-11-23T18:50:07",
        "x",
    ]
)


@st.composite
def objects(draw: st.DrawFn, members: st.SearchStrategy[list[tuple[str, str]]]) -> str:
    """The text of an object with odd white space; keys come as JSON text, so that they may repeat."""
    parts = [f"{draw(SPACES)}{key}{draw(SPACES)}:{draw(SPACES)}{value}" for key, value in draw(members)]
    return "{" + ",".join(parts) + draw(SPACES) + "}"


METADATA = objects(st.lists(st.tuples(TEXTS.map(json.dumps), SCALARS), max_size=4))


@st.composite
def events(draw: st.DrawFn) -> str:
    """The text of an event that is often right, and otherwise wrong in any of many ways."""
    texts = st.one_of(st.sampled_from(['"e1"', '"n"', '"c"']), SCALARS)
    members = [(f'"{name}"', draw(texts)) for name in ("event_id", "event_name", "customer_id")]
    if draw(st.booleans()):
        members.append(('"timestamp"', draw(st.one_of(TIMESTAMPS.map(json.dumps), SCALARS))))
    if draw(st.booleans()):
        members.append(('"metadata"', draw(st.one_of(METADATA, SCALARS))))
    if draw(st.integers(0, 3)) == 0:
        members.append((draw(TEXTS.map(json.dumps)), draw(st.one_of(SCALARS, METADATA))))
    if draw(st.integers(0, 5)) == 0:
        members.append(draw(st.sampled_from(members)))
    return draw(objects(st.permutations(members)))


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        assume(False)
        raise


@settings(max_examples=400)
@given(events())
@example(PLAIN)
def test_both_readers_agree(text: str) -> None:
    assert_agreement(utf8(text))


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


@settings(max_examples=400)
@given(
    st.tuples(
        st.sampled_from(["2026-11-", "0000-01-", "2024-02-", "9999-12-", "0001-01-"]),
        st.sampled_from(["00", "01", "29", "30", "31", "32"]),
        st.sampled_from(["T", "t", " "]),
        st.sampled_from(["00", "12", "23", "24"]),
        st.sampled_from([":00:00", ":59:59", ":59:60", ":60:00"]),
        st.one_of(st.just(""), st.integers(0, 8).flatmap(digits).map(lambda fraction: f".{fraction}")),
        st.sampled_from(["Z", "z", "+00:00", "-00:00", "+02:00", "-23:59", "+00:00:01", ""]),
    ).map("".join)
)
def test_both_readers_agree_about_instants(timestamp: str) -> None:
    assert_agreement(f'{{{REQUIRED},"timestamp":"{timestamp}"}}'.encode())


DAMAGE = st.sampled_from([*'"{}[]:,\\ \t0e.-u', "", '"a":', '"event_id":"x",'])


@settings(max_examples=400)
@given(
    st.one_of(st.just(PLAIN), events()),
    st.lists(st.tuples(st.integers(0, 400), DAMAGE), min_size=1, max_size=3),
)
def test_both_readers_agree_about_damaged_events(text: str, edits: list[tuple[int, str]]) -> None:
    for position, piece in edits:
        at = position % (len(text) + 1)
        text = text[:at] + piece + text[at + (1 if position % 2 else 0) :]
    assert_agreement(utf8(text))


@settings(max_examples=400)
@given(
    st.lists(st.one_of(st.just(PLAIN), events()), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 600), DAMAGE), max_size=3),
)
def test_both_readers_agree_about_whole_bodies(texts: list[str], edits: list[tuple[int, str]]) -> None:
    body = f'{{"events":[{",".join(texts)}]}}'
    for position, piece in edits:
        at = position % (len(body) + 1)
        body = body[:at] + piece + body[at + (1 if position % 2 else 0) :]
    assume("\0" not in body)  # which no reader is asked about
    bodies_agree(utf8(body))


@given(events())
def test_what_is_read_is_what_the_standard_library_reads(text: str) -> None:
    event = fast.read_event(utf8(text)) or exact.read_event(0, utf8(text))
    if isinstance(event, UsageEvent):
        value: dict[str, Any] = json.loads(text)
        assert (event.event_id, event.event_name, event.customer_id) == (
            value["event_id"],
            value["event_name"],
            value["customer_id"],
        )
        assert (event.timestamp is None) == (value.get("timestamp") is None)
        sent = value.get("metadata")
        assert event.metadata in text
        assert event.metadata == "" if sent is None else json.loads(event.metadata) == sent
