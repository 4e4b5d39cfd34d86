"""The chain: Merkle roots as RFC 9162 has them, headers that tell everything apart, and digests that link."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import chain
from domain.chain import Commit

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def rfc_root(contents: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word: split at the largest power of two below n."""
    if len(contents) == 1:
        return sha256(b"\x00" + contents[0]).digest()
    split = 1
    while split * 2 < len(contents):
        split *= 2
    return sha256(b"\x01" + rfc_root(contents[:split]) + rfc_root(contents[split:])).digest()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=70))
def test_the_root_is_the_one_of_the_rfc(contents: list[bytes]) -> None:
    assert chain.root_of(contents) == rfc_root(contents)


def test_no_commit_is_empty() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        chain.merkle_root([])


@given(st.lists(st.binary(max_size=8), min_size=2, max_size=20), st.data())
def test_any_change_of_one_event_changes_the_root(contents: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(contents) - 1))
    changed = list(contents)
    changed[index] = changed[index] + b"x"
    assert chain.root_of(changed) != chain.root_of(contents)


def commit(**fields: object) -> Commit:
    whole: dict[str, object] = {
        "tenant_id": "acme",
        "kind": "usage",
        "first_position": 1,
        "last_position": 3,
        "recorded_at": AT,
        "root": bytes(range(32)),
        "origin": b"{}",
        "digest": b"",
    }
    return msgspec.convert(whole | fields, Commit)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "acmf"),
        ("kind", "domain"),
        ("first_position", 2),
        ("last_position", 4),
        ("recorded_at", AT.replace(microsecond=123457)),
        ("root", bytes(32)),
        ("origin", b"[]"),
    ],
)
def test_the_digest_covers_every_field_of_the_header(field: str, value: object) -> None:
    before = chain.digest_of(chain.GENESIS, commit())
    assert chain.digest_of(chain.GENESIS, commit(**{field: value})) != before


def test_the_digest_covers_the_whole_history() -> None:
    assert chain.digest_of(chain.GENESIS, commit()) != chain.digest_of(b"\x01" * 32, commit())


def test_a_name_cannot_slide_into_its_neighbour() -> None:
    assert chain.digest_of(chain.GENESIS, commit(kind="ab", tenant_id="c")) != chain.digest_of(
        chain.GENESIS, commit(kind="a", tenant_id="bc")
    )


def test_the_layout_of_the_first_version_stays() -> None:
    """These bytes are in every log that was ever written."""
    header = chain.header(
        kind="usage", tenant_id="acme", first=1, last=3, recorded_at=AT, root=bytes(range(32)), origin=b"{}"
    )
    assert header.hex() == (
        "746178696d657465722e636f6d6d69742e7631" + "00000005" + "7573616765" + "00000004" + "61636d65"
        "0000000000000001"
        + "0000000000000003"
        + f"{1772366400 * 10**6 + 123456:016x}"
        + bytes(range(32)).hex()
        + "00000002"
        + "7b7d"
    )
    assert chain.canonical_fact("meter:a", 2, "meter.archived", b"{}").hex() == (
        "01" + "00000007" + "0000000000000002" + "0000000e" + "00000002" + b"meter:ameter.archived{}".hex()
    )


def test_the_bytes_of_a_retraction_are_for_ever() -> None:
    expected = bytes.fromhex("01 00000003 00000004") + "a\u00e9".encode() + b"oops"
    assert chain.canonical_retraction("a\u00e9", "oops") == expected
    assert chain.canonical_retraction("a", "") == bytes.fromhex("01 00000001 00000000 61")


@given(st.tuples(st.text(max_size=4), st.text(max_size=4)), st.tuples(st.text(max_size=4), st.text(max_size=4)))
def test_different_retractions_have_different_bytes(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (chain.canonical_retraction(*one) == chain.canonical_retraction(*two)) == (one == two)
