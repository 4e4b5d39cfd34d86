"""The parts of a JSON text are found byte for byte, and repeated keys are noticed."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.spans import DuplicateKey, elements, mask_lone_surrogates, members

SPACE = st.text(" \t\r\n", max_size=3)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LEAVES = st.one_of(TEXT, st.booleans(), st.none(), st.integers(-1000, 1000))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


def parts_of_array(text: bytes) -> list[bytes]:
    return [text[start:end] for start, end in elements(text)]


def parts_of_object(text: bytes) -> dict[str, bytes]:
    return {key: text[start:end] for key, (start, end) in members(text).items()}


def test_elements_without_the_space_around_them() -> None:
    assert parts_of_array(b' [ 1 ,{ "a" : [ ] }, "x,]" ,[[1],[1]] , 1\n] ') == [
        b"1",
        b'{ "a" : [ ] }',
        b'"x,]"',
        b"[[1],[1]]",
        b"1",
    ]


def test_values_without_the_space_around_them() -> None:
    assert parts_of_object(b' { "a" : { "a" : 1 } ,"\\u0062":[1 ,2], "c\\"" : "}" } ') == {
        "a": b'{ "a" : 1 }',
        "b": b"[1 ,2]",
        'c"': b'"}"',
    }


def test_nothing_inside_is_nothing_found() -> None:
    assert elements(b" [ ] ") == []
    assert members(b" { } ") == {}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":12,"a":1}',
        b'{"a":1,"a":12}',
        b'{"a":1,"b":2,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":[1],"b":2,"a":[1] }',
        b'{"a":1,"\\u0061":1}',
        b'{"b":0,"a":{},"a":{"a":1}}',
        b'{"a":"","a":"\\","}',
    ],
)
def test_a_repeated_key(text: bytes) -> None:
    with pytest.raises(DuplicateKey) as caught:
        members(text)
    assert caught.value.key == "a"


def test_one_key_on_two_levels_is_not_repeated() -> None:
    assert parts_of_object(b'{"a":{"a":{"a":1}}}') == {"a": b'{"a":{"a":1}}'}


@given(st.lists(st.tuples(SPACE, VALUES, SPACE), max_size=5), st.booleans())
def test_elements_are_exactly_what_was_sent(items: list, ascii_only: bool) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only).encode() for _, value, _ in items]
    around = [before.encode() + text + after.encode() for text, (before, _, after) in zip(texts, items, strict=True)]
    assert parts_of_array(b"[" + b",".join(around) + b"]") == texts


@given(st.lists(st.tuples(TEXT, SPACE, VALUES, SPACE), max_size=5), st.booleans())
def test_members_are_exactly_what_was_sent_unless_a_key_is_repeated(items: list, ascii_only: bool) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only).encode() for _, _, value, _ in items]
    around: list[bytes] = []
    for text, (key, before, _, after) in zip(texts, items, strict=True):
        name = json.dumps(key, ensure_ascii=ascii_only)
        around.append(f"{before}{name}{after}:{before}".encode() + text + after.encode())
    document = b"{" + b",".join(around) + b"}"
    keys = [key for key, _, _, _ in items]
    if len(set(keys)) == len(keys):
        assert parts_of_object(document) == dict(zip(keys, texts, strict=True))
    else:
        with pytest.raises(DuplicateKey) as caught:
            members(document)
        assert keys.count(caught.value.key) > 1


@pytest.mark.parametrize("text", [b"", b"[", b"[1,]", b"[1 2]", b"{}", b"1", b"[1] 2"])
def test_no_array(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        elements(text)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"a"}', b'{"a":1,}', b"{1:1}", b"{} {}"])
def test_no_object(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        members(text)


def test_a_depth_bomb_is_an_error_and_no_crash() -> None:
    bomb = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(RecursionError):
        elements(bomb)
    with pytest.raises(RecursionError):
        members(b'{"a":' + bomb + b"}")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (rb'"\ud800"', rb'"\u0020"'),
        (rb'"\uDFFF"', rb'"\u0020"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\u0020\ud83d\ude00"'),
        (rb'"\ude00\ud83d"', rb'"\u0020\u0020"'),
        (rb'"\ud83dx\ude00"', rb'"\u0020x\u0020"'),
        (rb'"\ud83d\u0041"', rb'"\u0020\u0041"'),
        (rb'"\\ud800"', rb'"\\ud800"'),
        (rb'"\\\ud800"', rb'"\\\u0020"'),
        (rb'"\ud8zz"', rb'"\ud8zz"'),
        (rb'"\ud800\ud8zz"', rb'"\u0020\ud8zz"'),
        (rb'"\n\u00e9"', rb'"\n\u00e9"'),
        (b"\\", b"\\"),
        (b"", b""),
    ],
)
def test_masking(text: bytes, masked: bytes) -> None:
    assert mask_lone_surrogates(text) == masked
    assert len(text) == len(masked)


@given(st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=12))
def test_masked_text_is_what_msgspec_accepts_and_keeps_all_but_surrogates(text: str) -> None:
    masked = mask_lone_surrogates(json.dumps(text).encode())
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    decoded = msgspec.json.decode(masked, type=str)
    assert len(decoded) == len(joined)
    assert all(a == b or (a, b) == (" ", "\ufffd") for a, b in zip(decoded, joined, strict=True))
