"""The canonical layout is for ever, and stored numbers come back exactly."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import canonical, metadata_columns, metadata_reader, read_metadata

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
BYTES = TEXT.map(str.encode)
MICROS = st.integers(-(2**63), 2**63 - 1)
FIELDS = st.tuples(BYTES, BYTES, BYTES, MICROS, BYTES)


def test_layout_version_1_is_these_bytes() -> None:
    assert (
        canonical(b"e1", b"api.call", "cüs".encode(), 1_700_000_000_123_456, b'{"n": 1}')
        == bytes.fromhex("0100000002000000080000000400060a241820224000000008") + "e1api.callcüs".encode() + b'{"n": 1}'
    )


def test_an_instant_before_1970_and_absent_metadata_have_a_layout_too() -> None:
    assert canonical(b"", b"", b"", -1, b"") == b"\x01" + bytes(12) + b"\xff" * 8 + bytes(4)


@given(FIELDS, FIELDS)
def test_different_events_have_different_bytes(a: tuple, b: tuple) -> None:
    assert (canonical(*a) == canonical(*b)) == (a == b)


@given(BYTES, BYTES)
def test_moving_text_between_fields_changes_the_bytes(a: bytes, b: bytes) -> None:
    assert (canonical(a, b, b"", 0, b"") == canonical(a + b, b"", b"", 0, b"")) == (b == b"")


def test_absent_metadata_reads_as_an_empty_object() -> None:
    assert read_metadata("") == {} == read_metadata("{}")


def test_numbers_are_read_from_their_text() -> None:
    values = read_metadata(
        '{ "a":0.1000000000000000000000000000001, "b":1e3 , "c":12345678901234567890, "d":-0.50, "e":1.5E-7 }'
    )
    assert {key: (type(value), str(value)) for key, value in values.items()} == {
        "a": (Decimal, "0.1000000000000000000000000000001"),
        "b": (Decimal, "1E+3"),
        "c": (Decimal, "12345678901234567890"),
        "d": (Decimal, "-0.50"),
        "e": (Decimal, "1.5E-7"),
    }


def test_strings_and_booleans_stay_what_they_are() -> None:
    assert read_metadata('{"s":"1.0","t":true,"f":false,"u":"\\u00e9"}') == {
        "s": "1.0",
        "t": True,
        "f": False,
        "u": "é",
    }


@pytest.mark.parametrize("text", ["[]", "1", "{", "null", '"x"'])
def test_what_is_no_object_is_an_error(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_metadata(text)


DIGITS = st.text("0123456789", min_size=1, max_size=30)
NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 10**20 - 1),
    st.one_of(st.just(""), DIGITS.map(lambda digits: f".{digits}")),
    st.sampled_from(["", "e5", "E-7", "e+19"]),
)


@given(st.dictionaries(TEXT, NUMBERS, max_size=8))
def test_reading_agrees_with_the_standard_library_to_the_last_digit(numbers: dict[str, str]) -> None:
    text = "{" + ", ".join(f"{json.dumps(key)}: {number}" for key, number in numbers.items()) + "}"
    expected = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    values = read_metadata(text)
    assert values == expected
    assert all(type(value) is Decimal for value in values.values())


KEYS = st.sampled_from(["tokens", "model", "é", "", 'a"b', "back\\slash", "line\n", "\u2028"])


@given(
    st.frozensets(KEYS),
    st.lists(
        st.tuples(KEYS, st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([Decimal("0.10")])),
        max_size=6,
    ),
    st.booleans(),
)
def test_a_reader_of_some_keys_reads_what_the_whole_says_of_them(
    keys: frozenset[str], pairs: list[tuple[str, object]], escaped: bool
) -> None:
    members = [
        f"{json.dumps(key, ensure_ascii=escaped)}: {value if isinstance(value, Decimal) else json.dumps(value)}"
        for key, value in pairs
    ]
    text = f"{{{', '.join(members)}}}"
    expected = {key: value for key, value in read_metadata(text).items() if key in keys}
    read = metadata_reader(keys)(text)
    assert read == expected
    assert {key: type(value) for key, value in read.items()} == {key: type(value) for key, value in expected.items()}
    assert metadata_reader(keys)("") == {}


@given(
    st.frozensets(KEYS),
    st.lists(st.dictionaries(KEYS, st.booleans() | st.integers() | st.text(max_size=5) | st.just(0.5)), max_size=4),
    st.booleans(),
)
def test_many_read_at_once_are_read_as_each(
    keys: frozenset[str], events: list[dict[str, object]], absent: bool
) -> None:
    texts = [json.dumps(event) for event in events] + [""] * absent
    columns = metadata_columns(keys)(texts)
    each = [metadata_reader(keys)(text) for text in texts]
    assert columns == {key: [one.get(key) for one in each] for key in keys}
    for key, values in columns.items():
        assert [type(value) for value in values] == [type(one.get(key)) for one in each]


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "{", "nonsense", "{},{}", "{}]", '{"a":1}{"a":2}'])
def test_many_read_at_once_refuse_what_is_no_object(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        metadata_columns(frozenset({"a"}))(["{}", text])


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "{", "nonsense"])
def test_a_reader_of_some_keys_refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        metadata_reader(frozenset({"a"}))(text)
