"""What holds of a log: positions, chain, keys, and what clients were told about events (I1, I2, I8, I9)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from tests.chaos.books import Books, Usage, read_json
from tests.chaos.evidence import Evidence

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def usage_bytes(row: Any) -> bytes:
    """Decision 0003, layout 1 of a usage event."""
    texts = [row[name].encode() for name in ("event_id", "event_name", "customer_id", "metadata")]
    lengths = [len(text) for text in texts]
    return struct.pack(">BIIIqI", 1, *lengths[:3], micros(row["timestamp"]), lengths[3]) + b"".join(texts)


def fact_bytes(stream: str, version: int, kind: str, state: bytes) -> bytes:
    """Decision 0003, layout 1 of a domain event."""
    return (
        struct.pack(">BIqII", 1, len(stream.encode()), version, len(kind.encode()), len(state))
        + stream.encode()
        + kind.encode()
        + state
    )


def retraction_bytes(row: Any) -> bytes:
    """Decision 0003, layout 1 of a retraction."""
    event_id, reason = row["event_id"].encode(), row["reason"].encode()
    return struct.pack(">BII", 1, len(event_id), len(reason)) + event_id + reason


def tree_hash(contents: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, by its own recursion."""
    if len(contents) == 1:
        return sha256(b"\x00" + contents[0]).digest()
    split = 1
    while split * 2 < len(contents):
        split *= 2
    return sha256(b"\x01" + tree_hash(contents[:split]) + tree_hash(contents[split:])).digest()


def header(tenant_id: str, commit: Any, root: bytes) -> bytes:
    """Decision 0003, a commit's header."""

    def sized(body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + body

    span = struct.pack(">qqq", commit["first_position"], commit["last_position"], micros(commit["recorded_at"]))
    return (
        b"taximeter.commit.v1"
        + sized(commit["kind"].encode())
        + sized(tenant_id.encode())
        + span
        + root
        + sized(commit["origin"])
    )


def check_chain(books: Books) -> Iterator[str]:
    """I8: positions 1, 2, 3 … without a gap, times that never decrease, and a chain that ends in the head."""
    position, digest, recorded_at = 0, bytes(32), EPOCH
    for commit in books.commits:
        where = f"commit {commit['first_position']}..{commit['last_position']}"
        if commit["first_position"] != position + 1:
            yield f"{where} does not follow position {position}"
        if commit["recorded_at"] < recorded_at:
            yield f"{where} was recorded before the commit before it"
        contents = list(_contents(books, commit))
        if len(contents) != commit["last_position"] - commit["first_position"] + 1:
            yield f"{where} holds {len(contents)} events"
        if not contents or tree_hash(contents) != commit["root"]:
            yield f"{where}: its events do not give its root"
        digest = sha256(digest + header(books.tenant_id, commit, commit["root"])).digest()
        if digest != commit["digest"]:
            yield f"{where}: its digest does not follow from the one before"
            digest = commit["digest"]
        position, recorded_at = commit["last_position"], commit["recorded_at"]
    if position and (books.head is None or (books.head["position"], books.head["digest"]) != (position, digest)):
        yield f"the head is not at the last commit, which ends at {position}"
    if books.head is not None and not position and books.head["position"]:
        yield "the head has moved without a commit"


def _contents(books: Books, commit: Any) -> Iterator[bytes]:
    first, last = commit["first_position"], commit["last_position"]
    if commit["kind"] == "usage":
        for ordinal, row in enumerate(books.rows.get(commit["batch"], [])):
            if row["ordinal"] == ordinal:
                yield usage_bytes(row)
    elif commit["kind"] == "domain":
        for event in books.events:
            if first <= event.position <= last:
                yield fact_bytes(event.stream, event.version, event.kind, event.raw)
    else:
        for row in books.retractions:
            if first <= row["position"] <= last:
                yield retraction_bytes(row)


def check_whole(books: Books) -> Iterator[str]:
    """I1 and I8 of the rows alone: no torn batch, no key without its event, no id twice, no version twice."""
    sealed = {commit["batch"] for commit in books.commits}
    for batch, rows in books.rows.items():
        if batch not in sealed:
            yield f"{len(rows)} usage events of batch {batch} belong to no commit"
    for event_id, times in Counter(row["event_id"] for rows in books.rows.values() for row in rows).items():
        if times > 1:
            yield f"event '{event_id}' is stored {times} times"
    stored = {(row["event_id"], row["batch"], row["ordinal"]) for rows in books.rows.values() for row in rows}
    keyed = {(key["event_id"], key["batch"], key["ordinal"]) for key in books.keys}
    for event_id, _, _ in sorted(stored ^ keyed, key=str)[:10]:
        yield f"event '{event_id}' has a key without a row or a row without a key"
    end = books.commits[-1]["last_position"] if books.commits else 0
    versions: dict[str, int] = {}
    for event in books.events:
        if event.version != versions.get(event.stream, 0) + 1:
            yield f"version {event.version} of {event.stream} follows version {versions.get(event.stream, 0)}"
        versions[event.stream] = event.version
        if event.position > end:
            yield f"a domain event stands at position {event.position}, past the last commit"
    ids = {row["event_id"] for rows in books.rows.values() for row in rows}
    for row in books.retractions:
        if row["event_id"] not in ids:
            yield f"event '{row['event_id']}' was retracted and is not stored"


def check_told(books: Books, told: Evidence) -> Iterator[str]:
    """I1 and I2: what was acknowledged is stored as it was sent; what was refused or lost a conflict is not."""
    stored = {usage.event_id: usage for usage in books.usage}
    for event_id, event in told.recorded.items():
        if event_id not in stored:
            yield f"event '{event_id}' was acknowledged and is not stored"
        elif not _same(stored[event_id], event):
            yield f"event '{event_id}' is stored with other content than was acknowledged"
    for event_id in sorted(told.refused & stored.keys()):
        yield f"event '{event_id}' was refused and is stored"
    for event in told.conflicts:
        if event["event_id"] in stored and _same(stored[event["event_id"]], event):
            yield f"event '{event['event_id']}' is stored with the content that lost a conflict"
    retracted = {row["event_id"] for row in books.retractions}
    for event_id in sorted(told.voided - retracted):
        yield f"event '{event_id}' was voided and is not retracted"
    digests = {commit["last_position"]: commit["digest"].hex() for commit in books.commits}
    for position, digest in told.heads.items():
        if digests.get(position) != digest:
            yield f"the head at position {position} was another one when it was read"


def _same(stored: Usage, sent: dict[str, Any]) -> bool:
    if (stored.event_name, stored.customer_id) != (sent["event_name"], sent["customer_id"]):
        return False
    if sent.get("timestamp") is not None and stored.at != datetime.fromisoformat(sent["timestamp"]):
        return False
    return stored.metadata == _exact(sent.get("metadata") or {})


def _exact(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata as it was read back from the evidence, whose numbers are those of its text."""
    return {
        key: Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for key, value in metadata.items()
    }


def check_foreign(books: Books) -> Iterator[str]:
    """I9: whatever an invoice names is an object of its own tenant."""
    own = {event.stream for event in books.events}
    for row in books.invoices:
        named = [f"invoice:{row['invoice_id']}", f"subscription:{row['subscription_id']}"]
        for line in read_json(row["document"])["lines"]:
            named += [f"{kind}:{line[f'{kind}_id']}" for kind in ("product", "meter") if line[f"{kind}_id"] is not None]
        for stream in named:
            if stream not in own:
                yield f"invoice {row['invoice_id']} names {stream}, which the tenant does not have"
