"""A body is read whole or refused: by size, by time, by encoding, and never at the price of much memory."""

import asyncio
import gzip
import os
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from app.http.body import (
    DECODED_MAX_BYTES,
    INGEST_LIMITS,
    OBJECT_LIMITS,
    PARTS_MAX,
    ZSTD_WINDOW_MAX_BYTES,
    BodyError,
    BodyLimits,
    ClientDisconnected,
    read_body,
)

SMALL = BodyLimits(wire_max_bytes=1000, decoded_max_bytes=5000)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def receiver(chunks: Iterable[bytes], then: str = "end") -> Callable[[], Any]:
    """An ASGI ``receive``: the chunks, then the end, a disconnect, or silence for ever."""
    parts = list(chunks)
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if then == "end":
        messages.append({"type": "http.request"})
    elif then == "disconnect":
        messages.append({"type": "http.disconnect"})
    pending = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(pending, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    return receive


async def read(chunks: Iterable[bytes], limits: BodyLimits = SMALL, then: str = "end", **headers: str) -> bytes:
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await read_body({"type": "http", "headers": lines}, receiver(chunks, then), limits=limits)


async def refusal(*args: Any, **kwargs: Any) -> tuple[int, str, str]:
    with pytest.raises(BodyError) as caught:
        await read(*args, **kwargs)
    return caught.value.status, caught.value.code, caught.value.message


async def test_chunks_are_joined() -> None:
    assert await read([b"a", b"", b"bc"], content_length="3") == b"abc"


async def test_no_body_is_an_empty_one() -> None:
    assert await read([]) == b""
    assert await read([], content_length="0") == b""


async def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert len(await read([b"x" * 600, b"x" * 400])) == 1000
    assert (await refusal([b"x" * 600, b"x" * 401]))[:2] == (413, "BODY_TOO_LARGE")


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    async def never() -> Any:
        raise AssertionError("the body was read")

    for length in ("1001", "9" * 10_000):
        scope = {"headers": [(b"Content-Length", length.encode())]}
        with pytest.raises(BodyError) as caught:
            await read_body(scope, never, limits=SMALL)
        assert (caught.value.status, caught.value.message) == (413, "the body has more than 1000 bytes")


@pytest.mark.parametrize("length", ["-1", "1.5", "x", "1,2", "٣"])
async def test_a_length_that_is_no_number(length: str) -> None:
    assert (await refusal([b""], content_length=length))[:2] == (400, "INVALID_CONTENT_LENGTH")


async def test_leading_zeros_in_a_length_are_a_number() -> None:
    assert await read([b"a"], content_length="0" * 50 + "1") == b"a"


async def test_a_stream_without_end_stops_at_the_limit() -> None:
    async def endless() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    with pytest.raises(BodyError) as caught:
        await read_body({"headers": []}, endless, limits=SMALL)
    assert caught.value.status == 413


async def test_a_client_that_goes_away() -> None:
    with pytest.raises(ClientDisconnected):
        await read([b"abc"], then="disconnect")


async def test_silence_is_given_up() -> None:
    limits = BodyLimits(1000, 1000, deadline_seconds=60, idle_seconds=0.01)
    assert await refusal([b"abc"], limits, "silence") == (
        408,
        "BODY_TIMEOUT",
        "no byte of the body came for 0.01 seconds",
    )


async def test_the_deadline_counts_over_all_waiting() -> None:
    limits = BodyLimits(1000, 1000, deadline_seconds=0.01, idle_seconds=60)
    assert await refusal([b"abc"], limits, "silence") == (
        408,
        "BODY_TIMEOUT",
        "the body took longer than 0.01 seconds",
    )


async def test_a_trickle_that_never_waits_meets_the_deadline_too() -> None:
    async def trickle() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": True}

    limits = BodyLimits(1000, 1000, deadline_seconds=0.01, idle_seconds=60)
    with pytest.raises(BodyError) as caught:
        await read_body({"headers": []}, trickle, limits=limits)
    assert caught.value.status == 408


async def test_a_cancelled_request_is_no_timeout() -> None:
    reading = asyncio.ensure_future(read([b"abc"], then="silence"))
    asyncio.get_running_loop().call_soon(reading.cancel)
    with pytest.raises(asyncio.CancelledError):
        await reading


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("gzip", "gzip"), ("GZip", "gzip"), ("x-gzip", "gzip"), ("zstd", "zstd"), ("identity, gzip", "gzip")],
)
async def test_packed_bodies_are_unpacked(header: str, encoding: str) -> None:
    assert await read([PACKERS[encoding](b"abc" * 1000)], content_encoding=header) == b"abc" * 1000


@pytest.mark.parametrize("header", ["", "identity", "identity,identity"])
async def test_unpacked_bodies_are_left_alone(header: str) -> None:
    assert await read([b"\x1f\x8babc"], content_encoding=header) == b"\x1f\x8babc"


@pytest.mark.parametrize("header", ["br", "deflate", "compress", "gzip, gzip", "gzip, zstd", "*", "gzip;q=1"])
async def test_other_encodings_are_refused(header: str) -> None:
    assert (await refusal([b"abc"], content_encoding=header))[:2] == (415, "UNSUPPORTED_ENCODING")


async def test_two_headers_mean_two_encodings() -> None:
    scope = {"headers": [(b"content-encoding", b"gzip"), (b"Content-Encoding", b"gzip")]}
    with pytest.raises(BodyError) as caught:
        await read_body(scope, receiver([gzip.compress(gzip.compress(b"a"))]), limits=SMALL)
    assert caught.value.status == 415


@pytest.mark.parametrize("encoding", PACKERS)
async def test_packed_pieces_one_after_the_other(encoding: str) -> None:
    pack = PACKERS[encoding]
    packed = pack(b"abc") + pack(b"") + pack(b"def")
    assert await read([packed], content_encoding=encoding) == b"abcdef"


@pytest.mark.parametrize("encoding", PACKERS)
async def test_every_cut_is_noticed(encoding: str) -> None:
    packed = PACKERS[encoding](b'{"events":[]}' * 5)
    for length in range(len(packed)):
        assert (await refusal([packed[:length]], content_encoding=encoding))[:2] == (400, "INVALID_ENCODING")


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("tail", [b"\0", b"junk", b"{}", b"\x1f", b"\x28\xb5\x2f"])
async def test_nothing_may_follow(encoding: str, tail: bytes) -> None:
    packed = PACKERS[encoding](b"abc") + tail
    assert (await refusal([packed], content_encoding=encoding))[:2] == (400, "INVALID_ENCODING")


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_body_that_was_not_packed_at_all(encoding: str) -> None:
    assert (await refusal([b'{"events":[]}'], content_encoding=encoding))[1] == "INVALID_ENCODING"


async def test_a_wrong_checksum_is_corrupt() -> None:
    packed = bytearray(gzip.compress(b"abc" * 100))
    packed[-8] ^= 1
    assert (await refusal([bytes(packed)], content_encoding="gzip"))[1] == "INVALID_ENCODING"


async def test_the_limit_holds_for_what_comes_out() -> None:
    for encoding, pack in PACKERS.items():
        assert len(await read([pack(b"a" * 5000)], content_encoding=encoding)) == 5000
        assert await refusal([pack(b"a" * 5001)], content_encoding=encoding) == (
            413,
            "BODY_TOO_LARGE",
            "the body has more than 5000 bytes unpacked",
        )


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(128)) + packer.flush()


def zstd_bomb() -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(128)) + packer.flush()


@pytest.mark.parametrize(("encoding", "bomb"), [("gzip", gzip_bomb), ("zstd", zstd_bomb)])
async def test_a_bomb_is_refused_before_its_memory_is_spent(encoding: str, bomb: Callable[[], bytes]) -> None:
    packed = bomb()
    tracemalloc.start()
    try:
        assert (await refusal([packed], INGEST_LIMITS, content_encoding=encoding))[0] == 413
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The buffer grows by over-allocating, and one step's output stands beside it.
    assert peak_bytes < 2 * DECODED_MAX_BYTES + 16 * 1024 * 1024


async def test_a_small_route_bears_a_small_bomb_only() -> None:
    assert (await refusal([gzip.compress(bytes(2 << 20))], OBJECT_LIMITS, content_encoding="gzip"))[0] == 413


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_crowd_of_empty_pieces_is_refused(encoding: str) -> None:
    piece = PACKERS[encoding](b"")
    assert await read([piece * PARTS_MAX], INGEST_LIMITS, content_encoding=encoding) == b""
    crowd = piece * (PARTS_MAX + 1)
    assert (await refusal([crowd], INGEST_LIMITS, content_encoding=encoding))[1] == "INVALID_ENCODING"


async def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    for log, refused in ((23, False), (27, True)):
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=log, write_content_size=0)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        packed = packer.compress(b"abc") + packer.flush()
        assert (1 << log > ZSTD_WINDOW_MAX_BYTES) == refused
        if refused:
            assert (await refusal([packed], content_encoding="zstd"))[1] == "INVALID_ENCODING"
        else:
            assert await read([packed], content_encoding="zstd") == b"abc"


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_large_body_that_hardly_packs(encoding: str) -> None:
    body = os.urandom(3 << 20)
    assert await read([PACKERS[encoding](body)], INGEST_LIMITS, content_encoding=encoding) == body


@given(
    st.binary(max_size=2000),
    st.lists(st.integers(1, 300), max_size=20),
    st.sampled_from(["identity", *PACKERS]),
)
async def test_however_it_is_cut_the_same_body_comes_out(body: bytes, cuts: list[int], encoding: str) -> None:
    packed = PACKERS[encoding](body) if encoding in PACKERS else body
    chunks: list[bytes] = []
    for cut in cuts:
        chunks.append(packed[:cut])
        packed = packed[cut:]
    limits = BodyLimits(5000, 5000)
    assert await read([*chunks, packed], limits, content_encoding=encoding) == body


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKERS)))
async def test_any_bytes_are_unpacked_or_refused(wire: bytes, encoding: str) -> None:
    codes: set[str] = set()
    try:
        await read([wire], content_encoding=encoding)
    except BodyError as error:
        codes.add(error.code)
    assert codes <= {"INVALID_ENCODING", "BODY_TOO_LARGE"}
