#!/usr/bin/env python3
"""taximeter-verify FILE: checks a proof pack, the file that GET /invoices/{id}/proof answers, without any database.

One file, on the standard library and `cryptography` for Ed25519. It shares no code with the service: bytes, trees,
meters, prices, credits and the invoice are computed here a second time, from the published formats and rules. The
format of a pack is docs/decisions/0033-proof-packs.md; what is proved, and what is not, is docs/audit-proof.md.

It says PROVED only of what follows from signed or hashed bytes, FACTS of what rests on recorded facts that are taken as
they are, and WORD of what only the service says, with its signature under it. Whatever does not fit ends it with
status 1.
"""

from __future__ import annotations

import argparse
import calendar
import heapq
import json
import re
import struct
import sys
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from functools import partial
from hashlib import blake2b, sha256
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PACK = "taximeter.proof.v1"
HEAD = "taximeter.head.v1"
COMMIT = b"taximeter.commit.v1"
GENESIS = bytes(32)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unproved(Exception):
    """Something does not fit; the message says what."""


def need(holds: bool, otherwise: str) -> None:
    """Raises ``Unproved`` unless it holds."""
    if not holds:
        raise Unproved(otherwise)


# --- Bytes and trees ------------------------------------------------------------------------------------------------


def hash_leaf(content: bytes) -> bytes:
    return sha256(b"\x00" + content).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def text_bytes(text: str) -> bytes:
    """A text behind its length, as headers have it."""
    raw = text.encode()
    return struct.pack(">I", len(raw)) + raw


def event_bytes(event_id: str, name: str, customer: str, at: int, metadata: str) -> bytes:
    """The canonical bytes of a usage event, layout 1."""
    a, b, c, d = event_id.encode(), name.encode(), customer.encode(), metadata.encode()
    return struct.pack(">BIIIqI", 1, len(a), len(b), len(c), at, len(d)) + a + b + c + d


def fact_bytes(stream: str, version: int, kind: str, state: str) -> bytes:
    """The canonical bytes of a domain event, layout 1."""
    a, b, c = stream.encode(), kind.encode(), state.encode()
    return struct.pack(">BIqII", 1, len(a), version, len(b), len(c)) + a + b + c


def short_hash(event_id: str) -> int:
    """Eight bytes that tell ids apart, nearly always."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest())


class Shown:
    """What is told of a tree, from left to right: the places and hashes of some leaves, and the nodes between them."""

    def __init__(self, leaves: Iterator[tuple[int, bytes]], nodes: Iterator[str]) -> None:
        self._leaves = leaves
        self._nodes = nodes
        self._next = next(leaves, None)

    def root(self, low: int, high: int) -> bytes:
        """The root over the leaves ``[low, high)``, split as RFC 9162 does: at the largest power of two below."""
        if self._next is None or self._next[0] >= high:
            node = next(self._nodes, None)
            need(node is not None, "a tree lacks a node")
            return hash_of(str(node))
        if high - low == 1:
            place, hashed = self._next
            need(place == low, "the leaves of a tree are out of order")
            self._next = next(self._leaves, None)
            return hashed
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        left = self.root(low, middle)
        return hash_node(left, self.root(middle, high))

    def whole(self, size: int) -> bytes:
        """The root over ``size`` leaves, when nothing is left over."""
        need(size > 0, "a tree has no leaves")
        root = self.root(0, size)
        need(self._next is None and next(self._nodes, None) is None, "a tree has more leaves or nodes than it can hold")
        return root


HASH = re.compile("[0-9a-f]{64}")


def hash_of(text: str) -> bytes:
    need(HASH.fullmatch(text) is not None, f"'{text}' is no hash")
    return bytes.fromhex(text)


# --- Numbers and times ----------------------------------------------------------------------------------------------

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation])
ROUNDING = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_HALF_UP, traps=[InvalidOperation])
ZERO, ONE, PERCENT = Decimal(0), Decimal(1), Decimal(100)
PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
QUOTIENT_PLACES = 12
WHOLE_DIGITS, FRACTION_DIGITS = 20, 30


def plain(number: Decimal) -> str:
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def add(*numbers: Decimal) -> Decimal:
    total = ZERO
    for one in numbers:
        total = EXACT.add(total, one)
    return total


def less(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.subtract(a, b)


def times(a: Decimal, b: Decimal) -> Decimal:
    return EXACT.multiply(a, b)


def quotient(a: Decimal, b: Decimal, places: int = QUOTIENT_PLACES) -> Decimal:
    """a / b, rounded once, half away from zero."""
    (n, m), (p, q) = a.as_integer_ratio(), b.as_integer_ratio()
    over, under = n * q * 10**places, m * p
    units, negative = (2 * abs(over) + abs(under)) // (2 * abs(under)), (over < 0) != (under < 0)
    return EXACT.scaleb(Decimal(-units if negative else units), -places)


def packages(units: Decimal, size: Decimal) -> Decimal:
    """How many packages have to be begun for so many units."""
    (n, m), (p, q) = units.as_integer_ratio(), size.as_integer_ratio()
    return Decimal(-(-(n * q) // (m * p)))


def minor(amount: Decimal) -> int:
    """The one rounding of a line: whole minor units, half away from zero."""
    return int(ROUNDING.quantize(amount, ONE))


def measure(value: Any) -> Decimal | None:
    """The number that a meter sees in a value: a JSON number, or text in plain notation within the limits."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not PLAIN_NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    _, _, exponent = number.as_tuple()
    fits = number.adjusted() + 1 <= WHOLE_DIGITS and -int(exponent) <= FRACTION_DIGITS
    return number if fits else None


def micros(text: str) -> int:
    """An instant as microseconds since 1970."""
    since = datetime.fromisoformat(text) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def micros_or_none(text: str | None) -> int | None:
    return None if text is None else micros(text)


def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def instant_text(at: int) -> str:
    return moment(at).isoformat(timespec="microseconds")[:26] + "Z"


def people_text(at: int) -> str:
    return f"{moment(at).replace(tzinfo=None).isoformat(' ')} UTC"


CODES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DECIMALS: dict[str, int] = {code: places for places, codes in CODES.items() for code in codes.split()}
"""The currencies that do not have two decimals."""


def major_price(price: Decimal, currency: str) -> str:
    """A price in minor units, in major ones, with at least the currency's decimals."""
    places = DECIMALS.get(currency, 2)
    whole, _, fraction = plain(times(price, Decimal((0, (1,), -places)))).partition(".")
    fraction = fraction.ljust(places, "0")
    return f"{whole}.{fraction}" if fraction else whole


def major_amount(amount: int, currency: str) -> str:
    places = DECIMALS.get(currency, 2)
    text = format(EXACT.scaleb(Decimal(amount), -places), "f")
    return f"{text} {currency}"


# --- The file -------------------------------------------------------------------------------------------------------


def encode(content: Any) -> bytes:
    """The one way in which a line of a pack, or a document, is written."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def decode(line: bytes) -> Any:
    """A line's content, when it is written in that one way."""
    try:
        content = json.loads(line)
    except ValueError:
        raise Unproved("a line of the file is no JSON") from None
    need(isinstance(content, dict) and encode(content) == line, "a line of the file is not written as it has to be")
    return content


def exactly(content: Any, *names: str) -> list[Any]:
    """The values of an object that has these members, in this order, and no other."""
    need(isinstance(content, dict) and tuple(content) == names, f"a part of the file has not the members {names}")
    return list(content.values())


@dataclass(frozen=True)
class Sealed:
    """A commit that was proved: its digest follows from its events, and the head's tree has it."""

    first: int
    last: int
    previous: bytes
    recorded_at: int


@dataclass(frozen=True)
class Fact:
    """A recorded fact: which stream, the place in it, and what it says."""

    stream: str
    version: int
    kind: str
    state: dict[str, Any]
    position: int
    sealed: Sealed

    @property
    def at(self) -> int:
        return micros(self.state["timestamp"])


@dataclass
class Proven:
    """What the file says, all of it checked against the signed head."""

    format: str
    tenant_id: str
    invoice_id: str
    customer_id: str
    position: int
    spans: list[Any]
    commits: int
    head: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[Fact]] = field(default_factory=dict)
    events: int = 0
    sha256: str = ""
    ids: array[int] = field(default_factory=lambda: array("Q"))

    def take_facts(self, sealed: Sealed, shown: list[Any]) -> Iterator[tuple[int, bytes]]:
        """The places and hashes of facts that a commit shows; the facts are kept."""
        for ordinal, stream, version, kind, state in shown:
            told = Fact(stream, version, kind, json.loads(state), sealed.first + ordinal, sealed)
            self.streams.setdefault(stream, []).append(told)
            yield ordinal, hash_leaf(fact_bytes(stream, version, kind, state))

    def take_events(self, sealed: Sealed, shown: list[Any]) -> Iterator[tuple[int, bytes]]:
        """The places and hashes of the events that a commit shows. The customer is part of what is hashed."""
        need(sealed.last <= self.position, "usage was recorded after the invoice's position")
        self.events += len(shown)
        for ordinal, event_id, name, at, metadata in shown:
            self.ids.append(short_hash(event_id))
            yield ordinal, hash_leaf(event_bytes(event_id, name, self.customer_id, at, metadata))

    def facts(self, stream: str, up_to: int | None = None) -> list[Fact]:
        """A stream's facts as known at a position, by default at that of the commit of the invoice."""
        found = self.streams.get(stream, [])
        return found if up_to is None else [fact for fact in found if fact.position <= up_to]


class Reader:
    """Reads a pack line by line and proves it on the way. Only the facts stay in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashed = sha256()
        self._nodes: deque[str] = deque()
        self._last: Sealed | None = None
        self._last_place = -1
        self._last_digest = GENESIS

    def lines(self) -> Iterator[bytes]:
        """Every line, each ended as the format has it."""
        with self._path.open("rb") as file:
            for line in file:
                need(line.endswith(b"\n"), "the file ends inside of a line")
                yield line[:-1]

    def read(self) -> Proven:
        """Prove the whole file. Raises ``Unproved``."""
        lines = self.lines()
        proven = Proven(
            *self._next(lines, ("format", "tenant_id", "invoice_id", "customer_id", "position", "spans", "commits"))
        )
        need(proven.format == PACK, f"the file is no pack of the format {PACK}")
        root = Shown(self._commits(proven, lines), self._between()).whole(proven.commits)
        check_head(proven.head, root)
        need(proven.head["tenant_id"] == proven.tenant_id, "the signed head is another tenant's")
        need(proven.head["commits"] == proven.commits, "the signed head counts other commits")
        if self._last_place == proven.commits - 1:
            need(proven.head["digest"] == self._last_digest.hex(), "the signed head is not the last commit's")
        digest = self._hashed.digest()
        said, signature = self._next(lines, ("sha256", "signature"))
        need(said == digest.hex(), "the file was changed: its last line names another SHA-256")
        check_signature(proven.head["public_key"], signature, PACK.encode() + digest, "the file")
        need(next(lines, None) is None, "something follows the end of the pack")
        proven.sha256 = said
        return proven

    def _next(self, lines: Iterator[bytes], names: tuple[str, ...]) -> list[Any]:
        line = next(lines, None)
        need(line is not None, "the file ends too early")
        return exactly(self._taken(line or b""), *names)

    def _taken(self, line: bytes) -> dict[str, Any]:
        self._hashed.update(line)
        self._hashed.update(b"\n")
        return decode(line)

    def _between(self) -> Iterator[str]:
        while self._nodes:
            yield self._nodes.popleft()

    def _commits(self, proven: Proven, lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
        """The hashed leaves of the commits that are shown, up to the head's line."""
        for line in lines:
            content = self._taken(line)
            if "head" in content:
                after, proven.head = exactly(content, "after", "head")
                self._nodes.extend(after)
                return
            place, digest = self._commit(proven, content)
            yield place, hash_leaf(digest)
        raise Unproved("the file ends before the signed head")

    def _commit(self, proven: Proven, content: dict[str, Any]) -> tuple[int, bytes]:
        usage = "events" in content
        names = ("place", "before", "previous", "kind", "first", "last", "recorded_at", "origin", "nodes")
        values = exactly(content, *names, "events" if usage else "facts")
        place, before, previous, kind, first, last, recorded_at, origin, nodes, shown = values
        need(
            usage == (kind == "usage") and bool(shown),
            f"the commit {first} to {last} shows nothing, or not of its kind",
        )
        sealed = Sealed(first, last, hash_of(previous), recorded_at)
        self._follows(place, sealed)
        leaves = proven.take_events(sealed, shown) if usage else proven.take_facts(sealed, shown)
        root = Shown(leaves, iter(nodes)).whole(last - first + 1)
        span = struct.pack(">qqq", first, last, recorded_at)
        header = COMMIT + text_bytes(kind) + text_bytes(proven.tenant_id) + span + root + text_bytes(origin)
        digest = sha256(sealed.previous + header).digest()
        self._nodes.extend(before)
        self._last, self._last_place, self._last_digest = sealed, place, digest
        return place, digest

    def _follows(self, place: int, sealed: Sealed) -> None:
        """Commits come in order, and where two are neighbours the second goes on where the first ends."""
        before = self._last or Sealed(0, 0, GENESIS, 0)
        what = f"the commit {sealed.first} to {sealed.last}"
        need(sealed.first <= sealed.last and place > self._last_place, f"{what} is out of order")
        need(before.last < sealed.first, f"{what} is out of order")
        need(
            self._last is None or before.recorded_at <= sealed.recorded_at,
            f"{what} was recorded before the one before it",
        )
        if place == self._last_place + 1:
            need(sealed.first == before.last + 1, f"{what} does not begin where the one before it ends")
            need(sealed.previous == self._last_digest, f"{what} does not extend the chain")

    def usage(self, digest: str) -> Iterator[tuple[int, list[Any]]]:
        """The first position and the events of each usage commit, read again. Raises when the file is another now."""
        hashed, lines = sha256(), self.lines()
        held = next(lines)
        for line in lines:
            hashed.update(held + b"\n")
            held = line
            content = json.loads(line)
            if "events" in content:
                yield content["first"], content["events"]
        need(hashed.hexdigest() == digest, "the file was changed while it was read")


def check_signature(public_key: str, signature: str, message: bytes, what: str) -> None:
    """Raises ``Unproved`` unless the holder of the key signed the message."""
    need(re.fullmatch("[0-9a-f]{128}", signature) is not None, f"the signature of {what} is none")
    try:
        Ed25519PublicKey.from_public_bytes(hash_of(public_key)).verify(bytes.fromhex(signature), message)
    except InvalidSignature:
        raise Unproved(f"the signature of {what} does not fit") from None


HEAD_MEMBERS = ("format", "tenant_id", "position", "commits", "recorded_at", "published_at", "digest", "tree")


def check_head(head: dict[str, Any], root: bytes) -> None:
    """Raises ``Unproved`` unless this is a signed head over a tree with this root."""
    values = exactly(head, *HEAD_MEMBERS, "public_key", "signature")
    form, tenant, position, commits, recorded_at, published_at, digest, tree, public_key, signature = values
    need(form == HEAD, f"the head is none of the format {HEAD}")
    need(tree == root.hex(), "the commits are not those of the signed head")
    need(
        all(text == instant_text(micros(text)) for text in (recorded_at, published_at)), "the head's times are no times"
    )
    numbers = struct.pack(">qqqq", position, commits, micros(recorded_at), micros(published_at))
    said = HEAD.encode() + text_bytes(tenant) + numbers + hash_of(digest) + hash_of(tree)
    check_signature(public_key, signature, said, "the head")


# --- Replaying facts ------------------------------------------------------------------------------------------------


def stream_of(proven: Proven, stream: str, *, needed: bool = True) -> list[Fact]:
    """A stream from its first fact on, none missing in between."""
    found = proven.facts(stream)
    need(bool(found) or not needed, f"the facts of {stream} are missing")
    need([fact.version for fact in found] == list(range(1, len(found) + 1)), f"a fact of {stream} is missing")
    return found


def recorded_before(facts: Sequence[Fact], at: int) -> Sequence[Fact]:
    """The facts recorded before an instant, and the first one in any case."""
    return [fact for index, fact in enumerate(facts) if index == 0 or fact.at < at]


@dataclass(frozen=True)
class Cycle:
    """A cycle as the log has it; times are microseconds."""

    start: int
    end: int
    planned_start: int
    planned_end: int
    items: tuple[tuple[str, int], ...]
    fee: str
    trial: bool
    invoice_id: str | None = None
    replaces: str | None = None

    def until(self, end: int, fee: str) -> Cycle:
        return replace(self, end=end, fee=self.fee if self.fee == "waived" else fee)


IGNORED = {
    "subscription.changed",
    "subscription.plan_change_scheduled",
    "subscription.plan_change_unscheduled",
    "subscription.paused",
    "subscription.resumed",
    "subscription.cancellation_scheduled",
}
"""Facts of a subscription that change none of its cycles."""


class Subscription:
    """A subscription and its cycles, from its facts."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.customer_id = self.currency = ""
        self.items: tuple[tuple[str, int], ...] = ()
        self.cycles: list[Cycle] = []
        self.replaces: str | None = None
        for fact in facts:
            if fact.kind not in IGNORED:
                handle = getattr(self, "_" + fact.kind.replace(".", "_"), None)
                need(handle is not None, f"this program does not know the fact '{fact.kind}'; take a newer one")
                handle(fact.state)  # type: ignore[misc]

    def starting(self, start: int) -> Cycle | None:
        return next((cycle for cycle in self.cycles if cycle.start == start), None)

    def _subscription_created(self, state: dict[str, Any]) -> None:
        self.customer_id, self.currency = state["customer_id"], state["currency"]
        self.items = items_of(state["items"])

    def _subscription_plan_changed(self, state: dict[str, Any]) -> None:
        self.items = items_of(state["plan"]["items"])

    def _cycle_opened(self, state: dict[str, Any]) -> None:
        start, end = micros(state["start"]), micros(state["end"])
        opened = Cycle(
            start=start,
            end=end,
            # The first version of this fact had no planned start, items, fee and trial.
            planned_start=micros(state.get("planned_start", state["start"])),
            planned_end=micros(state["planned_end"]),
            items=items_of(state.get("items") or ()) or self.items,
            fee=state.get("fee", "shared"),
            trial=state.get("trial", False),
        )
        if self.cycles and self.cycles[-1].start == start:
            self.cycles.pop()
        self.cycles.append(opened)

    def _cycle_cut(self, state: dict[str, Any]) -> None:
        end, newest = micros(state["end"]), self.cycles.pop()
        if newest.start < end:
            self.cycles.append(newest.until(end, state["fee"]))

    def _cycle_closed(self, state: dict[str, Any]) -> None:
        start, invoice_id, self.replaces = micros(state["start"]), state["invoice_id"], None
        self.cycles = [replace(one, invoice_id=invoice_id) if one.start == start else one for one in self.cycles]

    def _cycle_reopened(self, state: dict[str, Any]) -> None:
        invoice_id = state["invoice_id"]
        if all(one.invoice_id != invoice_id for one in self.cycles):
            self.replaces = invoice_id
        self.cycles = [
            replace(one, invoice_id=None, replaces=invoice_id) if one.invoice_id == invoice_id else one
            for one in self.cycles
        ]

    def _subscription_late_usage_settled(self, _: dict[str, Any]) -> None:
        self.replaces = None

    def _subscription_billing_date_moved(self, state: dict[str, Any]) -> None:
        if self.cycles:
            end = micros(state["end"])
            newest = self.cycles.pop().until(end, "full")
            planned_end = end if newest.start == newest.planned_start else newest.planned_end
            self.cycles.append(replace(newest, planned_end=planned_end))

    def _subscription_ended(self, state: dict[str, Any]) -> None:
        end = micros(state["end"])
        kept = [one for one in self.cycles if one.start < end]
        self.cycles = [one.until(end, "shared") if end < one.end else one for one in kept]


def items_of(items: Iterable[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((item["product_id"], item["quantity"]) for item in items)


@dataclass(frozen=True)
class Product:
    """The price versions of a product, as recorded."""

    facts: list[Fact]

    def price_at(self, start: int, position: int) -> dict[str, Any]:
        """The price of a cycle that starts then, as known at a position."""
        best, since = None, None
        for fact in self.facts:
            if fact.position > position:
                break
            if fact.kind == "product.created":
                best = fact.state["price"]
            elif fact.kind == "product.repriced":
                at = micros(fact.state["effective_at"])
                if at <= start and (since is None or at >= since):
                    best, since = fact.state["price"], at
        need(best is not None, "a product has no price at its invoice's position")
        return best or {}

    def name_at(self, at: int, position: int) -> str:
        """What the product was called at an instant."""
        known = [fact for fact in self.facts if fact.position <= position]
        named = [fact.state["name"] for fact in recorded_before(known, at) if "name" in fact.state]
        return named[-1]

    def taxed_inside(self, position: int) -> bool:
        """Whether its prices contain tax, by the one recorded last."""
        prices = [fact.state["price"] for fact in self.facts if fact.position <= position and "price" in fact.state]
        return bool(prices[-1].get("tax_inclusive"))


# --- Meters ---------------------------------------------------------------------------------------------------------


def read_numbers(text: str) -> Any:
    """JSON with exact numbers."""
    return EXACT_JSON.decode(text) if text else {}


EXACT_JSON = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal)


def passes(condition: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether an event passes a filter, or one condition of it."""
    if "clauses" in condition:
        joined = all if condition["conjunction"] == "and" else any
        return joined(passes(clause, metadata) for clause in condition["clauses"])
    actual, how, expected = metadata.get(condition["key"]), condition["operator"], condition["value"]
    if actual is None:
        return False
    if how in ("contains", "does_not_contain"):
        found = isinstance(actual, str) and isinstance(expected, str) and expected in actual
        return found is (how == "contains")
    if isinstance(expected, bool):
        left: Any = actual if isinstance(actual, bool) else None
    elif isinstance(expected, Decimal):
        left = measure(actual)
    else:
        left = actual if isinstance(actual, str) else None
    if left is None:
        return how == "not_equals"
    return COMPARISONS[how](left, expected)


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda a, b: a == b,
    "not_equals": lambda a, b: a != b,
    "greater_than": lambda a, b: a > b,
    "greater_than_or_equals": lambda a, b: a >= b,
    "less_than": lambda a, b: a < b,
    "less_than_or_equals": lambda a, b: a <= b,
}


class Meter:
    """Which events count, and how, from the meter's facts."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        first = facts[0].state
        self.facts = facts
        self.id = facts[0].stream.partition(":")[2]
        self.event_name: str = first["event_name"]
        self.how: str = first["aggregation"]["type"]
        self.key: str | None = first["aggregation"]["key"]
        self.filter = read_numbers(first["filter"]) or None
        archived = [fact.position for fact in facts if fact.kind == "meter.archived"]
        again: list[float] = [fact.position for fact in facts if fact.kind == "meter.unarchived"]
        # Archived, it counts nothing that is recorded until it is taken out of the archive again.
        self.gaps = list(zip(archived, [*again, float("inf")], strict=False))

    def texts_at(self, at: int) -> tuple[str, str]:
        """Its name and unit at an instant."""
        told = [fact.state for fact in recorded_before(self.facts, at) if "name" in fact.state]
        return told[-1]["name"], told[-1]["measurement_unit"]

    @property
    def looks_inside(self) -> bool:
        """Whether it matters what an event holds."""
        return self.filter is not None or self.key is not None

    def sees(self, position: int) -> bool:
        return not any(since < position <= until for since, until in self.gaps)


def distinct(value: Any) -> bytes:
    """What tells values apart: text in plain notation is its number."""
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    number = measure(value)
    return b"s" + value.encode() if number is None else b"n" + plain(number).encode()


@dataclass
class Tally:
    """What was counted so far. ``left_out`` did not pass the filter, ``unmeasured`` had no usable value."""

    events: int = 0
    left_out: int = 0
    unseen: int = 0
    unmeasured: int = 0
    total: Decimal = ZERO
    low: Decimal | None = None
    high: Decimal | None = None
    last: tuple[int, int, Decimal] | None = None
    values: set[bytes] = field(default_factory=set)

    def count(self, meter: Meter, at: int, position: int, metadata: dict[str, Any]) -> None:
        """Take in one event of the meter's name."""
        if not meter.sees(position):
            self.unseen += 1
        elif meter.filter is not None and not passes(meter.filter, metadata):
            self.left_out += 1
        elif meter.how == "count":
            self.events += 1
        else:
            self._measure(meter, at, position, metadata.get(meter.key or ""))

    def _measure(self, meter: Meter, at: int, position: int, value: Any) -> None:
        if meter.how == "unique":
            if value is None:
                self.unmeasured += 1
            else:
                self.events += 1
                self.values.add(sha256(distinct(value)).digest())
            return
        number = measure(value)
        if number is None:
            self.unmeasured += 1
            return
        self.events += 1
        self.total = EXACT.add(self.total, number)
        self.low = number if self.low is None else min(self.low, number)
        self.high = number if self.high is None else max(self.high, number)
        if self.last is None or (at, position) > self.last[:2]:
            self.last = (at, position, number)

    def join(self, other: Tally) -> None:
        """Take in what another span counted."""
        self.events += other.events
        self.left_out += other.left_out
        self.unseen += other.unseen
        self.unmeasured += other.unmeasured
        self.total = EXACT.add(self.total, other.total)
        self.low = min((one for one in (self.low, other.low) if one is not None), default=None)
        self.high = max((one for one in (self.high, other.high) if one is not None), default=None)
        self.last = max((one for one in (self.last, other.last) if one is not None), default=None)
        self.values |= other.values

    def quantity(self, how: str) -> Decimal:
        """The meter's number; 0 where nothing counted."""
        match how:
            case "count":
                return Decimal(self.events)
            case "sum":
                return self.total
            case "max":
                return ZERO if self.high is None else self.high
            case "min":
                return ZERO if self.low is None else self.low
            case "last":
                return ZERO if self.last is None else self.last[2]
            case "avg":
                return quotient(self.total, Decimal(self.events)) if self.events else ZERO
            case "unique":
                return Decimal(len(self.values))
            case _:
                raise Unproved(f"this program does not know the aggregation '{how}'")


class Counter:
    """Counts one meter between the edges of a cycle: its start, instants inside, its end."""

    def __init__(self, meter: Meter, edges: Sequence[int]) -> None:
        self.meter = meter
        self.edges = edges
        self.parts = [Tally() for _ in edges[1:]]

    def count(self, at: int, position: int, metadata: dict[str, Any]) -> None:
        """Take in an event of the meter's name, if it happened inside."""
        if self.edges[0] <= at < self.edges[-1]:
            self.parts[bisect_right(self.edges, at) - 1].count(self.meter, at, position, metadata)

    def whole(self) -> Tally:
        """Everything from the start to the end."""
        total = Tally()
        for part in self.parts:
            total.join(part)
        return total

    def so_far(self) -> Iterator[tuple[int, Decimal]]:
        """At each edge but the first, the quantity of everything before it."""
        total = Tally()
        for until, part in zip(self.edges[1:], self.parts, strict=True):
            total.join(part)
            yield until, total.quantity(self.meter.how)


def count_usage(usage: Iterable[tuple[int, list[Any]]], counters: Iterable[Counter]) -> None:
    """Run all events past all counters, once."""
    named: dict[str, list[Counter]] = {}
    for counter in counters:
        named.setdefault(counter.meter.event_name, []).append(counter)
    inside = {name: any(one.meter.looks_inside for one in found) for name, found in named.items()}
    for first, events in usage:
        for ordinal, _, name, at, text in events:
            found = named.get(name)
            if found is None:
                continue
            metadata = read_numbers(text) if inside[name] else {}
            for counter in found:
                counter.count(at, first + ordinal, metadata)


# --- Lines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """The credits that a line drew, and the overage that was counted beyond them."""

    credits: Decimal = ZERO
    overage: Decimal = ZERO
    price_per_credit: Decimal | None = None


@dataclass(frozen=True)
class Priced:
    """What paid units cost: exact minor units, the price that the line names, the tiers used."""

    exact: Decimal
    price: str
    tiers: tuple[dict[str, Any], ...] = ()


def priced(price: dict[str, Any], paid: Decimal) -> Priced:
    """Every price model there is; each costs nothing for 0 units."""
    tiers = price.get("tiers") or ()
    if tiers:
        uses = tuple(by_volume(tiers, paid) if price["tier_mode"] == "volume" else graduated(tiers, paid))
        exact = add(*(Decimal(use["amount"]) for use in uses))
        return Priced(exact, (uses[-1] if uses else tiers[0])["price_per_unit"], uses)
    per_unit, size = price.get("price_per_unit"), price.get("package_size")
    if per_unit is None:
        return Priced(ZERO, "0")
    return Priced(times(packages(paid, Decimal(size)) if size else paid, Decimal(per_unit)), per_unit)


def tier_use(tier: dict[str, Any], units: Decimal) -> dict[str, Any]:
    per_unit, fixed = tier["price_per_unit"], tier["fixed_price"]
    return {
        "up_to": tier["up_to"],
        "units": plain(units),
        "price_per_unit": per_unit,
        "fixed_price": fixed,
        "amount": plain(add(times(units, Decimal(per_unit)), Decimal(fixed))),
    }


def graduated(tiers: Sequence[dict[str, Any]], units: Decimal) -> Iterator[dict[str, Any]]:
    """Each tier prices the units inside it."""
    below = ZERO
    for tier in tiers:
        if units <= below:
            return
        top = units if tier["up_to"] is None else min(units, Decimal(tier["up_to"]))
        yield tier_use(tier, less(top, below))
        below = top


def by_volume(tiers: Sequence[dict[str, Any]], units: Decimal) -> Iterator[dict[str, Any]]:
    """The tier that holds the total prices every unit."""
    if units > 0:
        yield tier_use(next(one for one in tiers if one["up_to"] is None or units <= Decimal(one["up_to"])), units)


def chargeable(consumed: Decimal, price: dict[str, Any]) -> Decimal:
    return max(ZERO, less(consumed, Decimal(price.get("free_threshold", "0"))))


def credits_only(price: dict[str, Any]) -> bool:
    return price.get("price_per_unit") is None and not price.get("tiers")


def line(kind: str, product_id: str, meter_id: str | None, description: str, **more: Any) -> dict[str, Any]:
    """An invoice line in the order of its members."""
    return {"kind": kind, "product_id": product_id, "meter_id": meter_id, "description": description, **more}


class Rater:
    """Rates one cycle: its lines, product by product, as the invoice has to have them."""

    def __init__(self, cycle: Cycle, currency: str) -> None:
        self.cycle = cycle
        self.currency = currency

    def fixed(self, product_id: str, name: str, price: dict[str, Any], quantity: int) -> Iterator[dict[str, Any]]:
        """The fixed fee, shared out by microseconds when the cycle did not last its planned span."""
        cycle, fee = self.cycle, price["fixed_price"]
        if not fee or cycle.trial or cycle.fee == "waived":
            return
        late = cycle.start != cycle.planned_start
        cut = cycle.fee != "full" and cycle.end != cycle.planned_end
        share, part = ONE, ""
        if late or cut:
            end = cycle.planned_end if cycle.fee == "full" else cycle.end
            share = quotient(Decimal(end - cycle.start), Decimal(cycle.planned_end - cycle.planned_start))
            part += f", from {people_text(cycle.start)}" if late else ""
            part += f", until {people_text(cycle.end)}" if cut else ""
        units = times(Decimal(quantity), share)
        yield line(
            "proration" if late or cut else "fixed",
            product_id,
            None,
            f"{name}: fixed price per cycle{part}",
            consumed_units=plain(units),
            free_units="0",
            credit_units="0",
            paid_units=plain(units),
            price_per_unit=plain(Decimal(fee)),
            amount=minor(times(Decimal(fee), units)),
        )

    def usage(
        self, product_id: str, name: str, price: dict[str, Any], texts: tuple[str, str], consumed: Decimal, drawn: Drawn
    ) -> dict[str, Any]:
        """What a meter came to: the free units, those in credits, and the price of the rest."""
        wanted = chargeable(consumed, price)
        in_credits = min(times(drawn.credits, Decimal(price.get("meter_units_per_credit") or 0)), wanted)
        paid = ZERO if self.cycle.trial else less(wanted, in_credits)
        costs = priced(price, paid)
        made = line(
            "usage",
            product_id,
            price["meter_id"],
            f"{name}: {texts[0]}, {self._price_text(price, texts[1])}",
            consumed_units=plain(consumed),
            free_units=plain(max(ZERO, less(consumed, add(in_credits, paid)))),
            credit_units=plain(in_credits),
            paid_units=plain(paid),
            price_per_unit=costs.price,
            amount=minor(costs.exact),
        )
        if price.get("package_size") is not None:
            made["package_size"] = price["package_size"]
        if costs.tiers:
            made["tiers"] = list(costs.tiers)
        return made

    def overage(
        self, product_id: str, name: str, price: dict[str, Any], texts: tuple[str, str], drawn: Drawn
    ) -> Iterator[dict[str, Any]]:
        """Credits beyond those there were, where they are invoiced."""
        used, per_credit = drawn.overage, drawn.price_per_credit
        if not used or per_credit is None or not credits_only(price) or self.cycle.trial:
            return
        yield line(
            "overage",
            product_id,
            price["meter_id"],
            f"{name}: {texts[0]}, overage, {major_price(per_credit, self.currency)} {self.currency} per credit",
            consumed_units=plain(used),
            free_units="0",
            credit_units="0",
            paid_units=plain(used),
            price_per_unit=plain(per_credit),
            amount=minor(times(used, per_credit)),
        )

    def _price_text(self, price: dict[str, Any], unit: str) -> str:
        if price.get("tiers"):
            return f"{price['tier_mode']} price per {unit}"
        if price.get("price_per_unit") is None:
            return f"in credits, {price.get('meter_units_per_credit')} {unit} per credit"
        package = f"package of {price['package_size']} " if price.get("package_size") is not None else ""
        return f"{major_price(Decimal(price['price_per_unit']), self.currency)} {self.currency} per {package}{unit}"


UNITS = ("consumed_units", "free_units", "credit_units", "paid_units")


def computation(lines: Sequence[dict[str, Any]], corrections: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """What a meter's own lines, and corrections of them, come to together."""
    usage = [one for one in lines if one["kind"] == "usage"]
    own = [one for one in lines if one["kind"] in ("usage", "overage")]
    sums: dict[str, Any] = {unit: plain(add(*(Decimal(one[unit]) for one in (*usage, *corrections)))) for unit in UNITS}
    return sums | {"amount": sum(one["amount"] for one in (*own, *corrections))}


def correction(
    key: tuple[str, str],
    names: tuple[str, str],
    price: str,
    cycle: Cycle,
    before: dict[str, Any],
    after: dict[str, Any],
) -> dict[str, Any]:
    """The line that corrects a meter of a closed cycle."""
    span = f"from {people_text(cycle.start)} until {people_text(cycle.end)}"
    return line(
        "adjustment",
        *key,
        f"{names[0]}: {names[1]}, adjustment of the cycle {span}",
        **{unit: plain(less(Decimal(after[unit]), Decimal(before[unit]))) for unit in UNITS},
        price_per_unit=price,
        amount=after["amount"] - before["amount"],
        cycle_start=instant_text(cycle.start),
        cycle_end=instant_text(cycle.end),
        before=before,
        after=after,
    )


def tax_lines(tax: dict[str, Any], lines: Sequence[dict[str, Any]], inside: set[str]) -> Iterator[dict[str, Any]]:
    """A tax on all lines: added to those whose prices are without it, contained in the others."""
    contained = [one["amount"] for one in lines if tax["included"] or one["product_id"] in inside]
    added = [one["amount"] for one in lines if not (tax["included"] or one["product_id"] in inside)]
    percent = Decimal(str(tax["percent"]))
    parts = [(added, tax["included"])] if added or not contained else []
    for amounts, included in [*parts, *([(contained, True)] if contained else [])]:
        under = add(PERCENT, percent) if included else PERCENT
        amount = int(quotient(times(Decimal(sum(amounts)), percent), under, 0))
        yield {"name": tax["name"], "percent": plain(percent), "amount": amount, "included": included}


# --- Credits --------------------------------------------------------------------------------------------------------

LineKey = tuple[str, int, str, str]
"""A meter line of a cycle: subscription, start of the cycle, product, meter."""

NEVER = 1 << 62
DAYS = {"Day": 1, "Week": 7}
MONTHS = {"Month": 1, "Year": 12}


@dataclass(frozen=True)
class Grant:
    """Credits that are valid from ``begins`` until ``expires``."""

    id: str
    amount: Decimal
    begins: int
    expires: int | None
    order: int
    rollover_count: int
    parent_id: str | None
    rollover: dict[str, Any] | None
    cycle: tuple[str, str, int, int] | None
    recorded: bool = True

    def valid_at(self, at: int) -> bool:
        return self.begins <= at and (self.expires is None or self.expires > at)

    @property
    def place(self) -> tuple[int, str, str, int]:
        """Its place among those that begin with it: what was rolled over comes first."""
        subscription_id, product_id = self.cycle[:2] if self.cycle else ("", "")
        return -self.rollover_count, subscription_id, product_id, self.order

    @property
    def root_id(self) -> str:
        return self.id if self.parent_id is None else self.id.rpartition(".")[0]

    @property
    def rolls_at(self) -> int | None:
        """When its rest is rolled over, if it is at all."""
        terms, cycle = self.rollover, self.cycle
        if terms is None or cycle is None or self.expires != cycle[3] or cycle[3] <= self.begins:
            return None
        most = terms["max_count"]
        return None if most is not None and self.rollover_count >= most else cycle[3]


def boundary(anchor: dict[str, Any], interval: dict[str, Any], index: int, zone: str) -> int:
    """Boundary ``index`` of the cycles that are counted from an anchor, an instant or a local date."""
    count = interval["count"] * index
    at = moment(micros(anchor["instant"])) if anchor["instant"] is not None else None
    day = at.date() if at else date.fromisoformat(anchor["date"])
    if interval["unit"] in DAYS:
        day += timedelta(days=DAYS[interval["unit"]] * count)
    else:
        year, month = divmod(day.year * 12 + day.month - 1 + MONTHS[interval["unit"]] * count, 12)
        day = date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
    if at is not None:
        return micros(datetime.combine(day, at.timetz()).isoformat())
    return first_instant(day, ZoneInfo(zone))


def first_instant(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local date, or of the next one where the zone has none."""
    low = int(datetime.combine(day - timedelta(days=2), time(), UTC).timestamp())
    high = int(datetime.combine(day + timedelta(days=2), time(), UTC).timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            low = middle
        else:
            high = middle
    return high * 1_000_000


def child_of(parent: Grant, amount: Decimal) -> Grant:
    """The grant that a rollover makes."""
    terms, cycle = parent.rollover or {}, parent.cycle
    need(cycle is not None, "a grant without a cycle is rolled over")
    start = cycle[3]  # type: ignore[index]
    plan = terms["calendar"]
    if terms["timeframe"] is not None:
        expires = boundary({"instant": instant_text(start), "date": None}, terms["timeframe"], 1, plan["zone"])
    else:
        expires = start
        while expires <= start:
            plan = plan | {"index": plan["index"] + 1}
            expires = boundary(plan["anchor"], plan["interval"], plan["index"], plan["zone"])
    return Grant(
        id=f"{parent.root_id}.{parent.rollover_count + 1}",
        amount=amount,
        begins=start,
        expires=expires,
        order=parent.order,
        rollover_count=parent.rollover_count + 1,
        parent_id=parent.id,
        rollover=terms | {"calendar": plan},
        cycle=(*cycle[:2], start, expires),  # type: ignore[index]
        recorded=False,
    )


@dataclass
class Burned:
    """What the invoices that stand burned for a line."""

    cycle_end: int
    draws: dict[str, Decimal] = field(default_factory=dict)
    overage: Decimal = ZERO
    behavior: str | None = None

    @property
    def carries(self) -> bool:
        return self.behavior in CARRYING


CARRYING = ("carry_deficit", "carry_deficit_auto_repay")


def added_up(sums: dict[str, Decimal], draws: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    for grant_id, amount in draws:
        sums[grant_id] = add(sums.get(grant_id, ZERO), amount)
    return sums


def told_draws(draws: Iterable[dict[str, str]]) -> list[tuple[str, Decimal]]:
    return [(draw["grant_id"], Decimal(draw["credits"])) for draw in draws]


class Account:
    """A credit account, from its facts: grants, what was drawn of them, and what lines drew."""

    def __init__(self, facts: Sequence[Fact], entitlement: Sequence[Fact]) -> None:
        self.facts = facts
        self.entitlement = entitlement
        self.precision = entitlement[0].state["precision"]
        self.grants: dict[str, Grant] = {}
        self.debits: dict[str, Decimal] = {}
        self.rolled: dict[str, Decimal] = {}
        self.lines: dict[LineKey, Burned] = {}
        # An invoice is voided once, and what it burned lies before that.
        self._returned = {fact.state["invoice_id"] for fact in facts if fact.kind == "credit.burns_returned"}
        for fact in facts:
            self._take(fact.kind, fact.state)

    def _take(self, kind: str, state: dict[str, Any]) -> None:
        match kind:
            case "credit.granted":
                self._grant(state)
            case "credit.grant_moved":
                moved = {"expires": micros_or_none(state["expires"]), "rollover": state["rollover"]}
                grant = self.grants[state["grant_id"]]
                self.grants[grant.id] = replace(grant, **moved, cycle=granted_cycle(state["cycle"]))
            case "credit.debited":
                added_up(self.debits, told_draws(state["draws"]))
            case "credit.rolled_over":
                self.rolled[state["grant_id"]] = Decimal(state["amount"])
            case "credit.burned":
                if state["invoice_id"] not in self._returned:
                    self._burn(state)
            case "credit_account.opened" | "credit.burns_returned":
                pass
            case _:
                raise Unproved(f"this program does not know the fact '{kind}'; take a newer one")

    def _grant(self, state: dict[str, Any]) -> None:
        parent = self.grants.get(state["parent_grant_id"] or "")
        self.grants[state["grant_id"]] = Grant(
            id=state["grant_id"],
            amount=Decimal(state["amount"]),
            begins=micros(state["begins"]),
            expires=micros_or_none(state["expires"]),
            order=parent.order if parent else len(self.grants),
            rollover_count=state["rollover_count"],
            parent_id=state["parent_grant_id"],
            rollover=state["rollover"],
            cycle=granted_cycle(state["cycle"]),
        )

    def _burn(self, state: dict[str, Any]) -> None:
        for part in state["lines"]:
            key = (state["subscription_id"], micros(state["cycle_start"]), part["product_id"], part["meter_id"])
            burned = self.lines.setdefault(key, Burned(micros(state["cycle_end"])))
            added_up(burned.draws, told_draws(part["draws"]))
            burned.overage = add(burned.overage, Decimal(part["overage"]))
            burned.behavior = part["overage_behavior"] or burned.behavior

    def terms_at(self, at: int, price: dict[str, Any]) -> dict[str, Any]:
        """The terms at an instant, with what the product says otherwise."""
        terms = [fact.state["terms"] for fact in recorded_before(self.entitlement, at) if "terms" in fact.state][-1]
        entitlement_id = self.entitlement[0].stream.partition(":")[2]
        own = next((one for one in price.get("credits", ()) if one["credit_entitlement_id"] == entitlement_id), {})
        over = terms["overage"]
        return {
            "burn_order": terms["burn_order"],
            "enabled": own.get("overage_enabled", over["enabled"]),
            "behavior": own.get("overage_behavior", over["behavior"]),
            "limit": own.get("overage_limit", over["limit"]),
            "price": own.get("price_per_unit", terms["price_per_unit"]),
        }

    def drawn(self, key: LineKey, cycle: Cycle, price: dict[str, Any], meter: dict[str, Any]) -> Drawn:
        """What the burns that stand drew for a line, and the overage that they counted."""
        terms, burned = self.terms_at(cycle.end, price), self.lines.get(key, Burned(cycle.end))
        invoiced = credits_only(meter) and terms["enabled"] and terms["behavior"] == "invoice_at_billing"
        per_credit = Decimal(terms["price"]) if invoiced and terms["price"] is not None else None
        return Drawn(add(*burned.draws.values()), burned.overage, per_credit)

    def check(self, key: LineKey, cycle: Cycle, wanted: Decimal) -> None:
        """What must hold of a line's draws, whichever grants they are of. Raises ``Unproved``."""
        draws = self.lines.get(key, Burned(cycle.end)).draws
        need(all(amount >= 0 for amount in draws.values()), "a line draws less than nothing of a grant")
        need(add(*draws.values()) <= wanted, "a line draws more credits than it wants")
        for grant_id in draws:
            grant = self.grants.get(grant_id)
            if grant is not None:
                inside = grant.begins < cycle.end and (grant.expires is None or grant.expires > cycle.start)
                need(inside, f"the grant {grant_id} was not valid in the cycle that draws on it")

    def check_grants(self) -> None:
        """Raises ``Unproved`` when more was taken of a grant than it had."""
        taken = dict(self.debits)
        for burned in self.lines.values():
            added_up(taken, burned.draws.items())
        for grant_id, grant in self.grants.items():
            held = add(taken.get(grant_id, ZERO), self.rolled.get(grant_id, ZERO))
            need(held <= grant.amount, f"more was taken of the grant {grant_id} than it had")

    def turning_points(self, start: int, end: int) -> list[int]:
        """The instants inside of a span at which a grant begins or expires, those that rollovers will make too."""
        found = {
            at for grant in self.grants.values() for one in self._family(grant, end) for at in (one.begins, one.expires)
        }
        return sorted(at for at in found if at is not None and start < at < end)

    def _family(self, grant: Grant, end: int) -> Iterator[Grant]:
        yield grant
        rolled = grant.id in self.rolled
        while not rolled and grant.rolls_at is not None and grant.rolls_at < end:
            grant = child_of(grant, grant.amount)
            yield grant


def granted_cycle(cycle: dict[str, Any] | None) -> tuple[str, str, int, int] | None:
    if cycle is None:
        return None
    return cycle["subscription_id"], cycle["product_id"], micros(cycle["start"]), micros(cycle["end"])


@dataclass(frozen=True)
class Claim:
    """What a line wants of the credits: its chargeable units at each turning point of its cycle, and at its end."""

    key: LineKey
    place: int
    cycle_end: int
    per_credit: Decimal
    steps: list[tuple[int, Decimal]]
    burn_order: str
    overage: dict[str, Any] | None
    closed: bool
    waived: bool

    @property
    def order(self) -> tuple[Any, ...]:
        return self.cycle_end, self.key[0], self.place, self.key[1], *self.key[2:]

    def rises(self, precision: int) -> Iterator[tuple[int, Decimal]]:
        """The credits wanted more from an instant on, that are still wanted at the end."""
        lasting: list[tuple[int, Decimal]] = []
        for until, units in reversed(self.steps):
            wanted = quotient(max(ZERO, units), self.per_credit, precision)
            lasting.append((until, min(wanted, lasting[-1][1]) if lasting else wanted))
        since, before = self.key[1], ZERO
        for until, wanted in reversed(lasting):
            if wanted > before:
                yield since, less(wanted, before)
            since, before = until, wanted


class Outstanding:
    """Overage on the way through time: what stays, what grants repay, and what is counted by cycle."""

    def __init__(self, lines: dict[LineKey, Burned]) -> None:
        self.kept = self.due = ZERO
        self.cycles: dict[tuple[str, int], Decimal] = {}
        self.later = {key: burned for key, burned in lines.items() if burned.overage > 0}

    def enter(self, key: LineKey) -> None:
        """Come to the place of a line that was invoiced."""
        burned = self.later.pop(key, None)
        if burned is not None:
            self._add(key, burned.behavior, burned.overage)

    def count(self, claim: Claim, uncovered: Decimal, grants: Iterable[tuple[int, Decimal]]) -> Decimal:
        """How much counts of what a claim does not find covered. ``grants`` begin later, with what is free of them."""
        self.later.pop(claim.key, None)
        terms = claim.overage
        if terms is None or claim.waived:
            return ZERO
        counted, behavior = uncovered, terms["behavior"]
        if terms["limit"] is not None:
            limit = Decimal(terms["limit"])
            room = (
                self._room(behavior, limit, grants) if behavior in CARRYING else less(limit, self._in_cycle(claim.key))
            )
            counted = max(ZERO, min(uncovered, room))
        self._add(claim.key, behavior, counted)
        return counted

    def repay(self, free: Decimal) -> Decimal:
        """How much of a grant that begins goes into what is due."""
        repaid = max(ZERO, min(self.due, free))
        self.due = less(self.due, repaid)
        return repaid

    def _add(self, key: LineKey, behavior: str | None, counted: Decimal) -> None:
        if behavior == "carry_deficit_auto_repay":
            self.due = add(self.due, counted)
        elif behavior == "carry_deficit":
            self.kept = add(self.kept, counted)
        else:
            self.cycles[key[:2]] = add(self.cycles.get(key[:2], ZERO), counted)

    def _in_cycle(self, key: LineKey) -> Decimal:
        later = (one.overage for other, one in self.later.items() if other[:2] == key[:2] and not one.carries)
        return add(self.cycles.get(key[:2], ZERO), *later)

    def _room(self, behavior: str, limit: Decimal, grants: Iterable[tuple[int, Decimal]]) -> Decimal:
        """How much may be added so that neither now nor at a later line more than the limit is outstanding."""
        kept, due, repaid = self.kept, self.due, ZERO
        room = less(limit, add(kept, due))
        events: list[tuple[int, int, Any]] = [(one.cycle_end, 0, one) for one in self.later.values() if one.carries]
        events += [(begins, 1, max(ZERO, free)) for begins, free in grants]
        for _, what, one in sorted(events, key=lambda event: event[:2]):
            if what:
                share = min(due, one)
                due = less(due, share)
                repaid = add(repaid, less(one, share)) if behavior == "carry_deficit_auto_repay" else repaid
                continue
            if one.behavior == "carry_deficit_auto_repay":
                due = add(due, one.overage)
            else:
                kept = add(kept, one.overage)
            room = min(room, add(max(ZERO, less(limit, add(kept, due))), repaid))
        return room


class Settling:
    """Who draws what: time is walked through once, with claims, rollovers and repayments in their order."""

    def __init__(self, account: Account, claims: Sequence[Claim]) -> None:
        self.precision = account.precision
        self.claims = sorted(claims, key=lambda claim: claim.order)
        self.claimed = {claim.key for claim in claims}
        self.standing = account.lines
        self.grants, self.rolled = dict(account.grants), dict(account.rolled)
        self.taken = dict(account.debits)
        for key, burned in account.lines.items():
            # A line that claims again keeps its own until its turn comes.
            own = key in self.claimed
            added_up(self.taken, ((one, max(ZERO, drawn) if own else drawn) for one, drawn in burned.draws.items()))
        self.free: dict[str, Decimal] = {}
        self.reserved: dict[str, Decimal] = {}
        self.outstanding = Outstanding(account.lines)
        self.settled: dict[LineKey, tuple[dict[str, Decimal], Decimal]] = {}
        self._ahead: list[tuple[int, int, int, Any, Callable[[], None]]] = []
        self._pushed = 0
        for grant in account.grants.values():
            self._take_in(grant, self.rolled.get(grant.id, ZERO))

    def run(self) -> dict[LineKey, tuple[dict[str, Decimal], Decimal]]:
        """The draws of each claim by grant, and its overage."""
        for claim in self.claims:
            self._push(claim.cycle_end, 0, (0,), partial(self._settle, claim))
        for key in list(self.outstanding.later):
            if key not in self.claimed:
                self._push(self.standing[key].cycle_end, 0, (1,), partial(self.outstanding.enter, key))
        for grant in list(self.grants.values()):
            self._expect(grant)
        horizon = max(claim.cycle_end for claim in self.claims)
        while self._ahead and self._ahead[0][0] <= horizon:
            heapq.heappop(self._ahead)[-1]()
        return self.settled

    def _push(self, at: int, phase: int, place: tuple[Any, ...], action: Callable[[], None]) -> None:
        self._pushed += 1
        heapq.heappush(self._ahead, (at, phase, place, self._pushed, action))  # type: ignore[arg-type]

    def _take_in(self, grant: Grant, rolled: Decimal) -> None:
        later = self._promised(grant) if grant.id not in self.rolled else ZERO
        self.reserved[grant.id] = later
        self.free[grant.id] = less(grant.amount, add(self.taken.get(grant.id, ZERO), later, rolled))

    def _promised(self, grant: Grant) -> Decimal:
        """What was drawn of its children that are not recorded."""
        found = ZERO
        for grant_id, drawn in self.taken.items():
            root, _, count = grant_id.rpartition(".")
            if grant_id not in self.grants and root == grant.root_id and int(count) > grant.rollover_count:
                found = add(found, drawn)
        return found

    def _expect(self, grant: Grant) -> None:
        if grant.valid_at(grant.begins):
            self._push(grant.begins, 2, grant.place, partial(self._repay, grant))
            if grant.rolls_at is not None and grant.id not in self.rolled:
                self._push(grant.rolls_at, 1, grant.place, partial(self._roll_over, grant))

    def _settle(self, claim: Claim) -> None:
        bounds = self._release(claim)
        draws: dict[str, Decimal] = {}
        uncovered = ZERO
        for since, rise in claim.rises(self.precision):
            for grant in sorted(self.grants.values(), key=partial(burn_key, claim.burn_order)):
                taken = min(rise, self.free[grant.id], bounds.get(grant.id, rise))
                if grant.valid_at(since) and taken > 0:
                    added_up(draws, [(grant.id, taken)])
                    self.free[grant.id] = less(self.free[grant.id], taken)
                    bounds |= {grant.id: less(bounds[grant.id], taken)} if grant.id in bounds else {}
                    rise = less(rise, taken)
            uncovered = add(uncovered, rise)
        later = [
            (one.begins, self.free[one.id])
            for one in self.grants.values()
            if one.begins >= claim.cycle_end and one.valid_at(one.begins)
        ]
        self.settled[claim.key] = draws, self.outstanding.count(claim, uncovered, later)

    def _release(self, claim: Claim) -> dict[str, Decimal]:
        """Give a line's own draws back, and bound what a closed cycle may draw of grants that outlive it."""
        burned = self.standing.get(claim.key)
        own = {one: max(ZERO, drawn) for one, drawn in burned.draws.items()} if burned else {}
        added_up(self.free, own.items())
        if not claim.closed:
            return {}
        lasting = [one for one in self.grants.values() if one.expires is None or one.expires > claim.cycle_end]
        return {one.id: own.get(one.id, ZERO) for one in lasting}

    def _roll_over(self, grant: Grant) -> None:
        left = add(self.free[grant.id], self.reserved[grant.id])
        percentage = Decimal((grant.rollover or {})["percentage"])
        share = min(left, quotient(times(left, percentage), PERCENT, self.precision))
        amount = max(self.reserved[grant.id], share)
        self.rolled[grant.id], self.reserved[grant.id], self.free[grant.id] = amount, ZERO, less(left, amount)
        if amount:
            child = child_of(grant, amount)
            self.grants[child.id] = child
            self._take_in(child, ZERO)
            self._expect(child)

    def _repay(self, grant: Grant) -> None:
        self.free[grant.id] = less(self.free[grant.id], self.outstanding.repay(self.free[grant.id]))


def burn_key(order: str, grant: Grant) -> tuple[Any, ...]:
    first = grant.begins if order == "oldest" else NEVER if grant.expires is None else grant.expires
    return first, grant.begins, grant.place


# --- The invoice ----------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What was found, in the order in which it is printed."""

    proved: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    word: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        for title, found in (("PROVED", self.proved), ("FACTS ", self.facts), ("WORD  ", self.word)):
            for text in found:
                yield f"{title}  {text}"


Key = tuple[str, str]
"""A line of a cycle: product and meter."""


@dataclass
class Part:
    """A meter line to compute: of the invoice's own cycle, or of a closed one that is corrected."""

    subscription_id: str
    cycle: Cycle
    product_id: str
    price: dict[str, Any]
    meter_price: dict[str, Any]
    place: int
    counter: Counter = field(init=False)

    @property
    def key(self) -> Key:
        return self.product_id, self.meter_price["meter_id"]

    @property
    def line_key(self) -> LineKey:
        return self.subscription_id, self.cycle.start, *self.key

    @property
    def entitlement_id(self) -> str | None:
        return self.meter_price.get("credit_entitlement_id")

    def claim(self, account: Account) -> Claim:
        """What the line wants of the credits."""
        terms = account.terms_at(self.cycle.end, self.price)
        return Claim(
            key=self.line_key,
            place=self.place,
            cycle_end=self.cycle.end,
            per_credit=Decimal(self.meter_price["meter_units_per_credit"]),
            steps=[(until, chargeable(units, self.meter_price)) for until, units in self.counter.so_far()],
            burn_order=terms["burn_order"],
            overage=terms if credits_only(self.meter_price) and terms["enabled"] else None,
            closed=self.cycle.invoice_id is not None,
            waived=self.cycle.trial,
        )


class Checker:
    """Computes an invoice again from what a pack proves, and compares it with the one that was recorded."""

    def __init__(self, proven: Proven) -> None:
        self.proven = proven
        self.report = Report()
        self.position = proven.position
        self.invoice = stream_of(proven, f"invoice:{proven.invoice_id}")[0]
        self.text: str = self.invoice.state["document"]
        self.document: dict[str, Any] = json.loads(self.text)
        self.sealed = self.invoice.sealed
        self._check_place()
        facts = stream_of(proven, f"subscription:{self.document['subscription_id']}")
        self.closing = self._closing(facts)
        self.subscription = Subscription(fact for fact in facts if fact.version < self.closing.version)
        self.cycle = self._own_cycle()
        self.products: dict[str, Product] = {}
        self.meters: dict[str, Meter] = {}
        self.accounts: dict[str, Account] = {}
        self.settled_from: dict[str, Account] = {}
        self.parts: list[Part] = []
        self.claiming: list[Part] = []
        self.by_the_rules: dict[str, bool] = {}

    def _check_place(self) -> None:
        """The invoice stands in the commit right after the position and the digest that it names."""
        document, what = self.document, "the invoice"
        need(self.invoice.kind == "invoice.issued", f"{what} is not issued in its first fact")
        need(encode(document) == self.text.encode(), f"{what} is not written as documents are")
        need(document["invoice_id"] == self.proven.invoice_id, f"{what} has another id")
        need(document["customer_id"] == self.proven.customer_id, f"{what} is another customer's")
        need(document["position"] == self.position, f"{what} names another position")
        need(self.sealed.first == self.position + 1, f"{what} was not recorded right after its position")
        need(self.sealed.previous.hex() == document["digest"], f"{what} names another digest than the log had")
        need(self.proven.head["position"] >= self.sealed.last, f"{what} lies after the signed head")
        for facts in self.proven.streams.values():
            need(facts[-1].position <= self.sealed.last, "a fact lies after the invoice")

    def _closing(self, facts: Sequence[Fact]) -> Fact:
        """The subscription's own fact about this invoice. Everything before it was known, and nothing is missing."""
        kinds = ("cycle.closed", "subscription.late_usage_settled")
        found = [fact for fact in facts if fact.sealed is self.sealed and fact.kind in kinds]
        need(
            len(found) == 1 and found[0] is facts[-1],
            "the subscription does not say once, and last, that it was invoiced",
        )
        invoice_id = found[0].state.get("invoice_id", self.proven.invoice_id)
        need(invoice_id == self.proven.invoice_id, "the subscription names another invoice")
        return found[0]

    def _own_cycle(self) -> Cycle | None:
        """The cycle that the invoice closes; ``None`` when it only corrects others."""
        need(self.subscription.customer_id == self.proven.customer_id, "the subscription is another customer's")
        need(self.subscription.currency == self.document["currency"], "the subscription has another currency")
        cycle = self.subscription.starting(micros(self.document["cycle_start"]))
        need(cycle is not None, "the subscription has no such cycle")
        need(instant_text(cycle.end) == self.document["cycle_end"], "the cycle ends elsewhere")  # type: ignore[union-attr]
        if self.closing.kind != "cycle.closed":
            return None
        need(micros(self.closing.state["start"]) == cycle.start, "another cycle was closed")  # type: ignore[union-attr]
        need(cycle.invoice_id is None, "the cycle was invoiced before")  # type: ignore[union-attr]
        return cycle

    def product(self, product_id: str) -> Product:
        if product_id not in self.products:
            facts = [one for one in stream_of(self.proven, f"product:{product_id}") if one.position <= self.position]
            self.products[product_id] = Product(facts)
        return self.products[product_id]

    def meter(self, meter_id: str) -> Meter:
        if meter_id not in self.meters:
            facts = [one for one in stream_of(self.proven, f"meter:{meter_id}") if one.position <= self.position]
            self.meters[meter_id] = Meter(facts)
        return self.meters[meter_id]

    def account(self, entitlement_id: str) -> Account:
        """The customer's account; its facts are complete up to the burns of this invoice."""
        if entitlement_id not in self.accounts:
            stream = f"credit_account:{entitlement_id}:{self.proven.customer_id}"
            facts = stream_of(self.proven, stream, needed=False)
            terms = stream_of(self.proven, f"credit_entitlement:{entitlement_id}")
            self.accounts[entitlement_id] = Account(facts, [one for one in terms if one.position <= self.position])
        return self.accounts[entitlement_id]

    # What is to be counted

    def plan(self, documents: Documents) -> None:
        """Find every meter line to compute, and those that only claim the same credits."""
        own, until = self.document["subscription_id"], micros(self.document["cycle_end"])
        if self.cycle is not None:
            self.parts += self._lines(own, self.cycle, self.position)
        for one in self.corrections():
            cycle, key = self.corrected(one), (one["product_id"], one["meter_id"])
            until = max(until, cycle.end)
            if cycle is not self.cycle:
                priced_at = documents.own(cycle)["position"]
                self.parts += [part for part in self._lines(own, cycle, priced_at) if part.key == key]
        wanted = {part.entitlement_id for part in self.parts} - {None}
        if wanted:
            self.claiming += [part for part in self._claiming(own, until) if part.entitlement_id in wanted]
        for part in (*self.parts, *self.claiming):
            inside = part.entitlement_id in wanted and self.before(str(part.entitlement_id)).turning_points
            points = inside(part.cycle.start, part.cycle.end) if inside else []
            part.counter = Counter(self.meter(part.key[1]), (part.cycle.start, *points, part.cycle.end))

    def _lines(self, subscription_id: str, cycle: Cycle, position: int) -> Iterator[Part]:
        """The meter lines of a cycle, with the price versions known at a position."""
        place = 0
        for product_id, _ in cycle.items:
            price = self.product(product_id).price_at(cycle.start, position)
            for meter_price in price.get("meters", ()):
                yield Part(subscription_id, cycle, product_id, price, meter_price, place)
                place += 1

    def _claiming(self, own: str, until: int) -> Iterator[Part]:
        """The lines of the customer's other cycles that are not closed and end by an instant."""
        for stream in sorted(self.proven.streams):
            kind, _, subscription_id = stream.partition(":")
            if kind != "subscription":
                continue
            mine = subscription_id == own
            found = self.subscription if mine else Subscription(stream_of(self.proven, stream))
            need(found.customer_id == self.proven.customer_id, "a subscription is another customer's")
            for cycle in found.cycles:
                if cycle.invoice_id is None and cycle.end <= until and not (mine and cycle is self.cycle):
                    yield from self._lines(subscription_id, cycle, self.position)

    def before(self, entitlement_id: str) -> Account:
        """The account as it was settled: before what this invoice burned and rolled over."""
        if entitlement_id not in self.settled_from:
            account = self.account(entitlement_id)
            made_final = ("credit.burned", "credit.rolled_over")
            known = list(
                takewhile(
                    lambda fact: not (fact.sealed is self.sealed and fact.kind in made_final),
                    account.facts,
                )
            )
            self.settled_from[entitlement_id] = Account(known, account.entitlement)
        return self.settled_from[entitlement_id]

    def settle(self, entitlement_id: str) -> bool:
        """Whether the draws, computed again from grants and claims, are those that were burned.

        Raises ``Unproved`` where they cannot be others. Where the subscription has closed cycles, late usage that
        changed no amount may have claimed anew, and the pack does not tell.
        """
        account, before = self.account(entitlement_id), self.before(entitlement_id)
        parts = [part for part in (*self.parts, *self.claiming) if part.entitlement_id == entitlement_id]
        settled = Settling(before, [part.claim(before) for part in parts]).run()
        for part in self.parts:
            if part.entitlement_id == entitlement_id:
                burned = account.lines.get(part.line_key, Burned(part.cycle.end))
                draws, overage = settled[part.line_key]
                recorded = {grant_id: drawn for grant_id, drawn in burned.draws.items() if drawn}
                if (draws, overage) != (recorded, burned.overage):
                    closed = any(one.invoice_id is not None for one in self.subscription.cycles)
                    need(closed, f"the credits of {part.key[0]}, {part.key[1]} were not drawn by the rules")
                    return False
        return True

    def corrections(self) -> list[dict[str, Any]]:
        return [one for one in self.document["lines"] if one["kind"] == "adjustment"]

    def corrected(self, one: dict[str, Any]) -> Cycle:
        """The cycle that a line corrects."""
        cycle = self.subscription.starting(micros(one["cycle_start"]))
        need(cycle is not None, "a line corrects a cycle that the subscription never had")
        return cycle  # type: ignore[return-value]

    # The lines

    def drawn(self, part: Part, consumed: Decimal) -> Drawn:
        """What a line drew of credits, by the recorded burns."""
        if part.entitlement_id is None:
            return Drawn()
        account, key = self.account(part.entitlement_id), part.line_key
        per_credit = Decimal(part.meter_price["meter_units_per_credit"])
        account.check(key, part.cycle, quotient(chargeable(consumed, part.meter_price), per_credit, account.precision))
        return account.drawn(key, part.cycle, part.price, part.meter_price)

    def meter_lines(self, part: Part) -> list[dict[str, Any]]:
        """A usage line and the overage beside it."""
        consumed = part.counter.whole().quantity(part.counter.meter.how)
        drawn, rater = self.drawn(part, consumed), Rater(part.cycle, self.document["currency"])
        texts = part.counter.meter.texts_at(part.cycle.end)
        name = self.product(part.product_id).name_at(part.cycle.end, self.position)
        told = (part.product_id, name, part.meter_price, texts)
        return [rater.usage(*told, consumed, drawn), *rater.overage(*told, drawn)]

    def own_lines(self) -> list[dict[str, Any]]:
        """The lines of the invoice's own cycle."""
        found: list[dict[str, Any]] = []
        cycle = self.cycle
        for product_id, quantity in cycle.items if cycle else ():
            product = self.product(product_id)
            price = product.price_at(cycle.start, self.position)  # type: ignore[union-attr]
            name = product.name_at(cycle.end, self.position)  # type: ignore[union-attr]
            rater = Rater(cycle, self.document["currency"])  # type: ignore[arg-type]
            found += rater.fixed(product_id, name, price, quantity)
            for part in self.parts:
                if part.cycle is cycle and part.product_id == product_id:
                    found += self.meter_lines(part)
        return found

    def correction_lines(self, own: Sequence[dict[str, Any]], documents: Documents) -> list[dict[str, Any]]:
        """The corrections that the invoice has, computed again; and all that an issue for a voided one has to have."""
        found: list[dict[str, Any]] = []
        for one in self.corrections():
            cycle, key = self.corrected(one), (one["product_id"], one["meter_id"])
            if cycle is self.cycle:
                before = documents.invoiced(cycle, key, of_key(own, key))
                rated = of_key(own, key)
            else:
                before = documents.invoiced(cycle, key, of_key(documents.own(cycle)["lines"], key))
                rated = [
                    x for part in self.parts if part.cycle is cycle and part.key == key for x in self.meter_lines(part)
                ]
            price = next((each["price_per_unit"] for each in rated if each["kind"] == "usage"), "0")
            names = self.product(key[0]).name_at(cycle.end, self.position), self.meter(key[1]).texts_at(cycle.end)[0]
            after = computation(rated)
            need(after != before, "a line corrects nothing")
            found.append(correction(key, names, price, cycle, before, after))
        told = [(one["cycle_start"], one["product_id"], one["meter_id"]) for one in found]
        need(len(set(told)) == len(told), "a line is corrected twice")
        if self.cycle is not None and self.cycle.replaces is not None:
            for key in documents.corrected_keys(self.cycle):
                taken_back = documents.invoiced(self.cycle, key, of_key(own, key)) == computation(of_key(own, key))
                need(taken_back or (instant_text(self.cycle.start), *key) in told, "a correction is not taken back")
        return found

    # The whole

    def check(self, reader: Reader) -> Report:
        """Compute the document and compare every byte. Raises ``Unproved``."""
        documents = Documents(self)
        self.plan(documents)
        self._check_ids(reader)
        count_usage(reader.usage(self.proven.sha256), [part.counter for part in (*self.parts, *self.claiming)])
        own = self.own_lines()
        lines = [*own, *self.correction_lines(own, documents)]
        for entitlement_id, account in self.accounts.items():
            account.check_grants()
            self.by_the_rules[entitlement_id] = self.settle(entitlement_id)
        made = encode(self.compose(lines)).decode()
        if made != self.text:
            raise Unproved(
                f"the invoice does not come to what it says: {first_difference(self.document, json.loads(made))}"
            )
        self._check_number()
        Telling(self).tell()
        return self.report

    def compose(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        """The document as it has to be."""
        document, cycle = self.document, self.cycle
        issued = micros(document["issued_at"])
        subtotal = sum(one["amount"] for one in lines)
        taxed = [product_id for product_id, _ in cycle.items] if cycle else []
        taxed += [one["product_id"] for one in lines]
        inside = {one for one in taxed if self.product(one).taxed_inside(self.position)}
        taxes = [one for tax in self.taxes(cycle.end if cycle else issued) for one in tax_lines(tax, lines, inside)]
        tax = sum(one["amount"] for one in taxes if not one["included"])
        due = subtotal + tax
        wallet = min(self.wallet(due), due)
        kind = "invoice" if cycle else "credit_note" if subtotal < 0 else "adjustment"
        return document | {
            "lines": lines,
            "subtotal_amount": subtotal,
            "wallet_amount": wallet,
            "tax_amount": tax,
            "total_amount": due - wallet,
            "type": kind,
            "replaces": cycle.replaces if cycle else self.subscription.replaces,
            "tax_lines": taxes,
        }

    def taxes(self, at: int) -> list[dict[str, Any]]:
        """The tenant's taxes as set before an instant."""
        facts = self.proven.facts(f"tenant:{self.proven.tenant_id}", self.position)
        need(all(fact.kind == "tenant.settings_changed" for fact in facts), "a setting is none")
        known = [fact for fact in facts if fact.at < at]
        return known[-1].state["settings"].get("tax_lines", []) if known else []

    def wallet(self, due: int) -> int:
        """What the customer's wallet held, after checking that the invoice moved what it says."""
        stream = f"wallet:{self.document['currency']}:{self.proven.customer_id}"
        moves = [fact for fact in stream_of(self.proven, stream, needed=False) if fact.kind == "wallet.moved"]
        balance = sum(fact.state["amount"] for fact in moves if fact.sealed is not self.sealed)
        paid = min(balance, due)
        mine = [fact.state["amount"] for fact in moves if fact.sealed is self.sealed]
        need(mine == ([-paid] if paid else []), "the wallet did not move by what the invoice says")
        return balance

    def _check_ids(self, reader: Reader) -> None:
        """No event is shown twice under one id. Only where short hashes of ids meet are the ids themselves compared."""
        hashed = sorted(self.proven.ids)
        met = {one for one, other in pairwise(hashed) if one == other}
        if met:
            events = (event for _, events in reader.usage(self.proven.sha256) for event in events)
            ids = [event[1] for event in events if short_hash(event[1]) in met]
            need(len(set(ids)) == len(ids), "an event's id is recorded twice")

    def _check_number(self) -> None:
        given = [fact for fact in self.proven.facts("invoice_numbers:all") if fact.sealed is self.sealed]
        need(len(given) == 1 and given[0].state["invoice_id"] == self.proven.invoice_id, "the number's fact is missing")
        need(
            self.document["number"].endswith(f"{given[0].version:06d}"), "the invoice has another number than was given"
        )


def of_key(lines: Iterable[dict[str, Any]], key: Key) -> list[dict[str, Any]]:
    """A cycle's own lines of one meter of one product."""
    return [one for one in lines if (one["product_id"], one["meter_id"]) == key and one["kind"] != "adjustment"]


def first_difference(recorded: Any, made: Any, where: str = "") -> str:
    """Where two documents part, for people."""
    if isinstance(recorded, dict) and isinstance(made, dict):
        for name in recorded:
            if recorded[name] != made.get(name):
                return first_difference(recorded[name], made.get(name), f"{where}.{name}".strip("."))
    if isinstance(recorded, list) and isinstance(made, list):
        for index, (one, other) in enumerate(zip(recorded, made, strict=False)):
            if one != other:
                return first_difference(one, other, f"{where}[{index}]")
        return f"{where} has {len(recorded)} parts and not {len(made)}"
    return f"{where} is {recorded!r} and not {made!r}"


class Documents:
    """The earlier documents of the subscription, as they stood when the invoice was issued."""

    def __init__(self, checker: Checker) -> None:
        self._standing: list[dict[str, Any]] = []
        for stream in sorted(checker.proven.streams):
            if stream.startswith("invoice:") and stream != checker.invoice.stream:
                facts = [fact for fact in stream_of(checker.proven, stream) if fact.position <= checker.position]
                need(bool(facts), "an earlier invoice lies after this one")
                document = json.loads(facts[0].state["document"])
                need(
                    document["subscription_id"] == checker.document["subscription_id"],
                    "a document is of another subscription",
                )
                if all(fact.kind != "invoice.voided" for fact in facts):
                    self._standing.append(document)
        self._standing.sort(key=lambda document: document["position"])

    def own(self, cycle: Cycle) -> dict[str, Any]:
        """The invoice that closed a cycle."""
        found = next((one for one in self._standing if one["invoice_id"] == cycle.invoice_id), None)
        need(found is not None, "the invoice of a corrected cycle is missing")
        return found or {}

    def _corrections(self, cycle: Cycle) -> list[dict[str, Any]]:
        start = instant_text(cycle.start)
        lines = [one for document in self._standing for one in document["lines"] if one["kind"] == "adjustment"]
        return [one for one in lines if one["cycle_start"] == start]

    def corrected_keys(self, cycle: Cycle) -> list[Key]:
        """The lines of a cycle that documents which stand corrected."""
        return list(dict.fromkeys((one["product_id"], one["meter_id"]) for one in self._corrections(cycle)))

    def invoiced(self, cycle: Cycle, key: Key, own: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What a line of a cycle has come to so far."""
        corrections = [one for one in self._corrections(cycle) if (one["product_id"], one["meter_id"]) == key]
        return computation(own, corrections)


# --- What is told ---------------------------------------------------------------------------------------------------


class Telling:
    """Says what was proved, what rests on facts, and what is the service's word."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._report = checker.report

    def tell(self) -> None:
        checker, proven, report = self._checker, self._checker.proven, self._report
        head, sealed, facts = proven.head, checker.sealed, sum(map(len, proven.streams.values()))
        report.proved += [
            f"the file is whole, and signed by the key {head['public_key']}",
            f"{proven.events:,} usage events and {facts:,} facts are in the log up to the head at position"
            f" {head['position']:,}, signed at {head['published_at']}",
            f"the invoice was recorded at position {checker.invoice.position:,} at {instant_text(sealed.recorded_at)},"
            f" right after the position {checker.position:,} and the digest that it names",
            "the document, computed again from these events and facts, is the recorded one, byte for byte",
        ]
        if proven.events:
            report.proved.append("each of the events has an id of its own")
        for index, one in enumerate(checker.document["lines"], 1):
            self._line(f"line {index} ({one['amount']:,}): {one['description']}:", one)
        self._rest()

    def _line(self, what: str, one: dict[str, Any]) -> None:
        checker, report = self._checker, self._report
        if one["meter_id"] is None:
            report.proved.append(f"{what} recomputed from the price and the cycle")
            return
        start = micros(one.get("cycle_start", checker.document["cycle_start"]))
        key = (one["product_id"], one["meter_id"])
        for part in checker.parts:
            if part.cycle.start == start and part.key == key:
                if one["kind"] == "overage":
                    self._credits(what, part.entitlement_id)
                    continue
                tally = part.counter.whole()
                counts = f"{tally.events:,} events counted, {tally.left_out:,} left out by the filter,"
                counts += f" {tally.unmeasured:,} without a usable value"
                counts += f", {tally.unseen:,} recorded while the meter was archived" if tally.unseen else ""
                report.proved.append(
                    f"{what} consumed units recomputed from events ({counts}), price and rounding from facts"
                )
                self._credits(what, part.entitlement_id)
        if one["kind"] == "adjustment":
            report.facts.append(f"{what} what was invoiced before is that of the earlier documents in the file")

    def _credits(self, what: str, entitlement_id: str | None) -> None:
        if entitlement_id is None:
            return
        if self._checker.by_the_rules[entitlement_id]:
            self._report.proved.append(
                f"{what} credits and overage computed again from grants and usage, by the burn order"
            )
        else:
            self._report.facts.append(
                f"{what} credits and overage are those of the recorded burns: no more than wanted, or than grants had"
            )

    def _rest(self) -> None:
        checker, report = self._checker, self._report
        report.facts.append("cycle, products, prices, meters and taxes are as the facts in the file say")
        subscription = f"subscription:{checker.document['subscription_id']}"
        report.proved.append(f"no fact of {subscription} before the invoice was left out")
        for stream, facts in sorted(checker.proven.streams.items()):
            whole = stream.split(":")[0] in ("credit_account", "wallet") and facts[-1].sealed is checker.sealed
            if whole:
                report.proved.append(f"no fact of {stream} before the invoice was left out")
        open_ended = sorted(
            stream
            for stream, facts in checker.proven.streams.items()
            if facts[-1].sealed is not checker.sealed and not stream.startswith(("tenant:", "invoice_numbers:"))
        )
        if open_ended:
            report.word.append(f"nothing more was recorded, before the invoice, of {', '.join(open_ended)}")
        for stream in self._absent():
            report.word.append(f"there was no {stream}")
        if checker.by_the_rules:
            report.word.append("no other subscription of the customer claimed the same credits")
        if checker.corrections():
            report.word.append("no earlier document of the subscription was left out")
        report.word.append("no other settings of the tenant (taxes) were in force")
        report.word.append(
            "none of the events shown was retracted before the invoice, and no other event was to be counted"
        )
        report.word.append("no other closed cycle was to be corrected on this invoice")
        report.word.append("the invoice still stands: its status is kept beside the document")

    def _absent(self) -> Iterator[str]:
        """The streams that would matter, and of which the file has nothing."""
        checker, customer_id = self._checker, self._checker.proven.customer_id
        streams = [f"wallet:{checker.document['currency']}:{customer_id}"]
        streams += [f"credit_account:{entitlement_id}:{customer_id}" for entitlement_id in checker.by_the_rules]
        return (stream for stream in streams if stream not in checker.proven.streams)


# --- The command ----------------------------------------------------------------------------------------------------

DEFECTS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    struct.error,
    StopIteration,
)
"""What reading a file raises that is not made as the format has it."""


def verify(path: Path) -> Checker:
    """Check a pack. Raises ``Unproved`` for whatever does not fit, ``OSError`` when the file cannot be read."""
    try:
        reader = Reader(path)
        checker = Checker(reader.read())
        checker.check(reader)
    except DEFECTS as error:
        raise Unproved(f"the file is not made as a pack is ({type(error).__name__}: {error})") from error
    return checker


def check_published(proven: Proven, path: Path) -> str:
    """Compare the head with those that were published before. Raises ``Unproved`` when none is of its position."""
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            head = json.loads(text)
            check_head(head, hash_of(head["tree"]))
        except DEFECTS as error:
            raise Unproved(f"{path} holds a line that is no signed head ({error})") from error
        if (head["tenant_id"], head["position"]) == (proven.tenant_id, proven.head["position"]):
            same = all(head[name] == proven.head[name] for name in ("commits", "digest", "tree", "public_key"))
            need(same, f"the head in {path} at position {head['position']:,} is of another history, or of another key")
            return f"the head is the one in {path}, published on {head['published_at']}"
    raise Unproved(f"{path} has no head at position {proven.head['position']:,}; ask for a pack up to one that it has")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a file and print what was found; the exit status is 0 when everything fits."""
    asked = argparse.ArgumentParser(prog="taximeter-verify", description="Checks the proof pack of an invoice.")
    asked.add_argument("file", type=Path)
    asked.add_argument("--public-key", metavar="HEX", help="the key that has to have signed it")
    asked.add_argument("--heads", type=Path, metavar="FILE", help="signed heads that were published before")
    flags = asked.parse_args(arguments)
    try:
        checker = verify(flags.file)
        key = checker.proven.head["public_key"]
        report = checker.report
        if flags.public_key is not None:
            need(flags.public_key.lower() == key, f"the file is signed by another key, {key}")
            report.proved.insert(1, "the key is the one that was given")
        else:
            report.word.insert(
                0, "the key is the business's own: compare it with the one that it publishes (--public-key)"
            )
        if flags.heads is not None:
            report.proved.insert(1, check_published(checker.proven, flags.heads))
        else:
            report.word.insert(0, "no other history was shown to others: compare with published heads (--heads)")
    except (Unproved, OSError) as error:
        print(f"FAILED  {error}")
        return 1
    document = checker.document
    total = major_amount(document["total_amount"], document["currency"])
    print(f"Invoice {document['number']} ({document['invoice_id']}) of {document['customer_id']}: {total}")
    print("\n".join(report.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
