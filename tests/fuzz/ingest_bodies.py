"""A grammar of bodies for ingest that are nearly right: JSON text, made from its parts so that each can be spoiled."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace

import zstandard
from hypothesis import strategies as st

SPACES = st.sampled_from(["", "", "", " ", "\t\n", " \r\n "])
NAMES = ("event_id", "event_name", "customer_id")

ODD_TEXTS = st.sampled_from(
    [
        "é",
        "e\u0301",
        "\U0001f600",
        "a/b",
        "%2F",
        "..",
        "\u2028",
        "\ufeff",
        " ",
        "\u00a0",
        "'--",
        "\\",
        '"',
        "\x7f",
        "NaN",
    ]
)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6), ODD_TEXTS)

HOSTILE_STRINGS = st.sampled_from([
    r'"\u0000"', '"\0"', r'"\ud800"', r'"\udc00\ud800"', '"\x01"', '"\\x"', '"', "''", r'"\u12"', '"\n"', '""',
    f'"{"x" * 513}"', f'"{"é" * 257}"', r'"\ud83d\ude00"',
])  # fmt: skip
"""Strings that are not allowed, or nearly not; as they are written in JSON."""

NUMBERS = st.one_of(
    st.integers(-(10**21), 10**21).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=30, min_value=-(10**6), max_value=10**6).map(str),
    st.sampled_from([
        "0", "-0", "0.0", "-0.0e0", "1e3", "1E-30", "1e-31", "1e19", "1e20", "1e400", "-1e400", "1e999999999",
        "1E-99999999999999999999", "01", "+1", ".5", "1.", "1e", "0x1", "1_0", "NaN", "-NaN", "Infinity", "-Infinity",
        "9" * 20, "9" * 21, f"0.{'3' * 30}", f"0.{'3' * 31}", "٣", "1e+2", "9007199254740993", "0." + "0" * 29 + "1",
    ]),
)  # fmt: skip
DEPTHS = st.sampled_from([1, 2, 63, 64, 65, 1_000, 20_000])
DEEP = st.one_of(
    DEPTHS.map(lambda depth: "[" * depth + "]" * depth),
    DEPTHS.map(lambda depth: '{"a":' * depth + "1" + "}" * depth),
    DEPTHS.map(lambda depth: "[" * depth),
)
WORDS = st.sampled_from(["true", "false", "null", "True", "undefined", "", "[]", "{}", '["a"]', '{"a":1}'])
VALUES = st.one_of(TEXTS.map(json.dumps), NUMBERS, HOSTILE_STRINGS, WORDS, DEEP)

DATES = st.datetimes().map(lambda at: at.isoformat())
TIMESTAMPS = st.one_of(
    st.tuples(
        st.sampled_from(
            ["2026-03-10T12:00:00", "2026-03-10t11:59:59.9999999", "2026-02-28 23:59:60", "2026-03-09T24:00:00"]
        ),
        st.sampled_from(["Z", "z", "+00:00", "-00:00", "+14:00", "+05:30", "", "+24:00", "UTC"]),
    ).map("".join),
    DATES,
    st.sampled_from(["2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now", "", "1773144000"]),
).map(json.dumps)  # fmt: skip


@st.composite
def objects(draw: st.DrawFn, members: list[tuple[str, str]]) -> str:
    """The text of an object with odd white space, and now and then a comma too many or a bracket too few."""
    parts = [f"{draw(SPACES)}{key}{draw(SPACES)}:{draw(SPACES)}{value}{draw(SPACES)}" for key, value in members]
    text = "{" + ",".join(parts) + "}"
    spoiled = draw(st.integers(0, 40))
    return {0: text[:-1] + ",}", 1: text[:-1], 2: text + "}"}.get(spoiled, text)


@st.composite
def metadata(draw: st.DrawFn) -> str:
    """Metadata, mostly within the limits."""
    good = st.one_of(TEXTS.map(json.dumps), st.integers(-(10**9), 10**9).map(str), st.sampled_from(["true", "1.50"]))
    spoiled = draw(st.integers(0, 3)) == 0
    keys = draw(st.lists(TEXTS.map(json.dumps), max_size=4, unique=not spoiled))
    return draw(objects([(key, draw(VALUES if spoiled else good)) for key in keys]))


@st.composite
def events(draw: st.DrawFn, prefix: str) -> str:
    """One event: right two times of three. Its id begins with the prefix, unless that is what is wrong with it."""
    members = [(f'"{name}"', json.dumps(draw(TEXTS) or "x")) for name in NAMES]
    members[0] = ('"event_id"', json.dumps(prefix + draw(TEXTS), ensure_ascii=draw(st.booleans())))
    if draw(st.booleans()):
        members.append(('"timestamp"', '"2026-03-10T11:00:00.1234567+00:30"'))
    if draw(st.booleans()):
        members.append(('"metadata"', draw(metadata())))
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(members) - 1))
        key, value = members[at]
        strange = TIMESTAMPS if key == '"timestamp"' else VALUES
        how = draw(st.sampled_from(["value", "twice", "gone", "more", "key"]))
        changed = {
            "value": [(key, draw(strange))],
            "twice": [(key, value), (key, value)],
            "gone": [],
            "more": [(key, value), (json.dumps(draw(TEXTS)), draw(VALUES))],
            "key": [(draw(HOSTILE_STRINGS), value)],
        }
        members[at : at + 1] = changed[how]
    return draw(objects(draw(st.permutations(members))))


PACKERS = {"identity": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
UNPACKERS = {"identity": bytes, "gzip": gzip.decompress, "zstd": zstandard.ZstdDecompressor().decompress}

OWN = "own-0000:"
"""How each event id begins. The sender puts digits of his own in their place, so that no earlier body has the same
ids."""


@dataclass(frozen=True)
class Damage:
    """What happens to a packed body on its way: it is cut, grows a tail, or one of its bytes changes."""

    kind: str
    place: int
    piece: bytes

    def done_to(self, wire: bytes) -> bytes:
        """The bytes that arrive."""
        at = self.place % (len(wire) + 1)
        match self.kind:
            case "cut":
                return wire[:at]
            case "tail":
                return wire + self.piece
            case "change":
                return wire[:at] + self.piece + wire[at + len(self.piece) :]
            case _:
                return wire


@dataclass(frozen=True)
class Sent:
    """A body as it goes out: its text, what it says of itself, how it is packed and what happens to it."""

    text: str
    ndjson: bool
    encoding: str = "identity"
    damage: Damage = Damage("none", 0, b"")

    @property
    def wire(self) -> bytes:
        """What arrives."""
        return self.damage.done_to(PACKERS[self.encoding](self.text.encode(errors="surrogatepass")))

    @property
    def arrived(self) -> str:
        """The text that the service can have read: another than was sent, where damage left a body that is whole."""
        return UNPACKERS[self.encoding](self.wire).decode()

    @property
    def headers(self) -> dict[str, str]:
        """What it says that it is."""
        kind = "application/x-ndjson" if self.ndjson else "application/json"
        return {"content-type": kind, "content-encoding": self.encoding}

    def owned(self, number: int) -> Sent:
        """The same body with ids that only this number has."""
        return replace(self, text=self.text.replace(OWN, f"own-{number:04d}:"))


DAMAGES = st.builds(
    Damage,
    st.sampled_from([*["none"] * 17, "cut", "tail", "change"]),
    st.integers(0, 5_000),
    st.one_of(st.binary(min_size=1, max_size=2), st.sampled_from([b"\0", b" ", b"{}"])),
)


@st.composite
def bodies(draw: st.DrawFn) -> Sent:
    """A whole body: some events, as JSON or as lines, packed, and sometimes damaged."""
    texts = draw(st.lists(events(OWN), max_size=4))
    ndjson = draw(st.booleans())
    if ndjson:
        ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n", "\r"])
        text = "".join(line.replace("\n", " ") + draw(ends) for line in texts)
        text = draw(st.sampled_from(["", "\n", "\ufeff"])) * (draw(st.integers(0, 9)) == 0) + text
    else:
        members = [('"events"', f"[{','.join(texts)}]")]
        if draw(st.integers(0, 9)) == 0:
            members.append((draw(st.sampled_from(['"events"', '"more"', r'"\u0065vents"'])), draw(VALUES)))
        text = draw(objects(members))
    return Sent(text, ndjson, draw(st.sampled_from(sorted(PACKERS))), draw(DAMAGES))
