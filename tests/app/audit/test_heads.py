"""Signed heads: what a signature covers, what a file may hold, and who may read the key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audit.heads import (
    HeadError,
    SignedHead,
    append_heads,
    check_signature,
    parse_head,
    public_key,
    read_heads,
    sign,
)

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def head(key: Ed25519PrivateKey = KEY, position: int = 25) -> SignedHead:
    return sign(
        key,
        tenant_id="acme",
        position=position,
        commits=7,
        recorded_at=AT,
        published_at=AT.replace(hour=13),
        digest=bytes([1]) * 32,
        tree=bytes([2]) * 32,
    )


def test_the_signed_bytes_of_version_1_are_these() -> None:
    micros = int(AT.timestamp()) * 1_000_000
    assert head().signed_bytes() == b"".join(
        (
            *(b"taximeter.head.v1", b"\0\0\0\4acme"),
            *(number.to_bytes(8) for number in (25, 7, micros, micros + 3_600_000_000)),
            *(bytes([1]) * 32, bytes([2]) * 32),
        )
    )


def test_a_line_is_read_as_it_was_written() -> None:
    line = head().line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b'"recorded_at":"2026-03-10T12:00:00.000000Z"' in line
    assert parse_head(line) == head()
    check_signature(parse_head(line))
    check_signature(parse_head(line), pinned=PUBLIC.upper())


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "acmf"},
        {"position": 26},
        {"commits": 8},
        {"recorded_at": AT.replace(microsecond=1)},
        {"published_at": AT},
        {"digest": "01" * 31 + "02"},
        {"tree": "01" * 32},
        {"signature": "00" * 64},
        {"public_key": Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw().hex()},
        {"format": "taximeter.head.v2"},
        {"digest": "01" * 31},
        {"digest": "x" * 64},
        {"signature": "00"},
        {"position": 2**63},
    ],
    ids=str,
)
def test_a_changed_field_does_not_fit_the_signature(change: dict[str, object]) -> None:
    with pytest.raises(HeadError):
        check_signature(msgspec.structs.replace(head(), **change))


def test_a_changed_byte_of_a_line_is_no_head_of_that_key() -> None:
    line = head().line().rstrip()
    for place in range(len(line)):
        changed = bytearray(line)
        changed[place] ^= 1
        try:
            read = parse_head(bytes(changed))
            check_signature(read, pinned=PUBLIC)
        except HeadError:
            continue
        # A hexadecimal digit may be a letter of either size.
        assert read.signed_bytes() == head().signed_bytes()


def test_another_key_than_the_pinned_one_is_refused() -> None:
    forged = head(Ed25519PrivateKey.generate())
    check_signature(forged)
    with pytest.raises(HeadError, match=f"not {PUBLIC}"):
        check_signature(forged, pinned=PUBLIC)


def test_a_file_grows_at_its_end(tmp_path: Path) -> None:
    file = tmp_path / "heads"
    append_heads(file, [head(position=30)])
    append_heads(file, [head(position=25), msgspec.structs.replace(head(), position=26)])
    with file.open("ab") as more:
        more.write(b'{"format": "x"}\nnothing\n\xff\n')
    read = read_heads(file)
    assert [one.position for one in read.heads["acme"]] == [25, 30]
    assert [number for number, _ in read.problems] == [3, 4, 5, 6]
    assert read.keys() == [PUBLIC]


@pytest.mark.parametrize("text", ["", "00", "x" * 64, "00" * 33])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        public_key(text)
    assert public_key(f" {PUBLIC.upper()}\n") == PUBLIC
