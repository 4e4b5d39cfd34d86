"""Where the parts of a JSON text stand: the exact bytes of an array's elements and of an object's values.

The text of an event and of its metadata is kept exactly as sent, so parsing values is not enough. msgspec
walks a value without building it, which also means that nothing here costs memory in proportion to what is
nested inside.
"""

from __future__ import annotations

import re

import msgspec

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+")[ \t\r\n]*:[ \t\r\n]*')
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")

_NO_LONE_SURROGATE = re.compile(
    rb"""
    (?: [^\\]++
      | \\ [^u]
      | \\ u (?![dD][89a-fA-F])
      | \\ u [dD][89abAB][0-9a-fA-F]{2} \\ u [dD][c-fC-F][0-9a-fA-F]{2}  # a proper pair
    )*+
    """,
    re.VERBOSE | re.DOTALL,
)
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MASK = rb"\u0020"

LONE_SURROGATES_MAX = 10_000
"""Lone surrogates that are masked in one text: ten for each event of a full batch. A body of nothing else
holds millions, and finding them all would take seconds to say what the first one has said."""


class DuplicateKey(ValueError):
    """An object has one key twice; ``key`` is the first one found, as decoded text."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} appears more than once")
        self.key = key


class TooManySurrogates(ValueError):
    """A text holds more lone surrogates than are worth masking."""


def mask_lone_surrogates(text: bytes) -> bytes:
    r"""The JSON text with ``\u0020`` in place of each lone surrogate escape, so that every byte keeps its
    place.

    A lone surrogate is grammatical JSON that msgspec refuses to walk over. Masked, the text can still be
    taken apart, and the error can name the event that holds the surrogate rather than condemn the whole
    body. Raises ``TooManySurrogates`` beyond LONE_SURROGATES_MAX.
    """
    masked = bytearray(text)
    position = count = 0
    # Two patterns, each matched where the other ended, look at every byte once. One that searched for the
    # lone surrogate behind proper text would scan to the end again from every byte of a text without one.
    while (proper := _NO_LONE_SURROGATE.match(text, position)) and _LONE_SURROGATE.match(text, proper.end()):
        count += 1
        if count > LONE_SURROGATES_MAX:
            raise TooManySurrogates(f"more than {LONE_SURROGATES_MAX} lone surrogates")
        position = proper.end() + len(_MASK)
        masked[proper.end() : position] = _MASK
    return bytes(masked)


def elements(array: bytes) -> list[tuple[int, int]]:
    """The (start, end) byte offsets of the elements of a JSON array.

    Raises ``msgspec.DecodeError`` when it is no array or malformed, ``RecursionError`` when it nests too
    deep.
    """
    spans: list[tuple[int, int]] = []
    end = 0
    for raw in _ARRAY.decode(array):
        # Only white space, a comma or the opening bracket stands between two elements, and no value starts
        # with white space or a comma. An element may start with a bracket, so the array's own is stepped
        # over first.
        start = array.index(raw, end or array.index(b"[") + 1)
        end = start + len(memoryview(raw))
        spans.append((start, end))
    return spans


def members(text: bytes) -> dict[str, tuple[int, int]]:
    """The (start, end) byte offsets of the values of a JSON object, by key.

    Raises ``DuplicateKey``; ``msgspec.DecodeError`` when it is no object or malformed; ``RecursionError``
    when it nests too deep.
    """
    values = _OBJECT.decode(text)
    spans: dict[str, tuple[int, int]] = {}
    position = text.index(b"{") + 1
    more = bool(values)
    while more:
        key = _KEY.match(text, position)
        assert key is not None, "the text was decoded as an object a moment ago"
        name = msgspec.json.decode(key[1], type=str)
        if name in spans:
            raise DuplicateKey(name)
        # The decoder keeps the last value of a repeated key. Where that is not the value that stands here,
        # or is only its beginning, the key comes again further on.
        end = key.end() + len(memoryview(values[name]))
        follower = _NEXT.match(text, end)
        if text[key.end() : end] != bytes(values[name]) or follower is None:
            raise DuplicateKey(name)
        spans[name] = (key.end(), end)
        position = follower.end()
        more = follower[1] == b","
    return spans
