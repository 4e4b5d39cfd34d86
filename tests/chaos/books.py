"""One tenant's rows as they stand in the database, read without any code of the service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol


class Snapshot(Protocol):
    """A connection whose transaction sees one state of the database."""

    async def fetch(self, query: str, /, *args: object) -> list[Any]: ...

    async def fetchval(self, query: str, /, *args: object) -> Any: ...


@dataclass(frozen=True)
class Usage:
    """A stored usage event. ``retracted`` is the position of its retraction."""

    position: int
    event_id: str
    event_name: str
    customer_id: str
    at: datetime
    metadata_text: str
    metadata: dict[str, Any]
    retracted: int | None


@dataclass(frozen=True)
class Stored:
    """A stored domain event, its state read as plain JSON."""

    position: int
    stream: str
    version: int
    kind: str
    raw: bytes
    state: dict[str, Any]


@dataclass
class Books:
    """Everything of one tenant that the checks look at."""

    tenant_id: str
    head: Any
    commits: Sequence[Any]
    rows: dict[Any, list[Any]]
    keys: Sequence[Any]
    retractions: Sequence[Any]
    events: list[Stored]
    quantities: Sequence[Any]
    distinct: Sequence[Any]
    unmeasured: Sequence[Any]
    projected: int
    invoices: Sequence[Any]
    usage: list[Usage] = field(default_factory=list[Usage])

    def of_kind(self, *kinds: str) -> list[Stored]:
        """The domain events of these kinds, in order of position."""
        return [event for event in self.events if event.kind in kinds]

    def documents(self) -> dict[str, dict[str, Any]]:
        """Every issued invoice's document by the invoice's id, as the log has it."""
        return {
            event.stream.partition(":")[2]: read_json(event.state["document"])
            for event in self.of_kind("invoice.issued")
        }

    def voided_invoices(self) -> set[str]:
        """The ids of invoices that do not hold any more."""
        return {event.stream.partition(":")[2] for event in self.of_kind("invoice.voided")}


def read_json(text: str | bytes) -> Any:
    """JSON with exact numbers."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


async def tenants_of(snapshot: Snapshot) -> list[str]:
    """Every tenant that anything is stored for."""
    tables = ("head", "commit", "event_key", "usage_event", "domain_event", "retraction")
    rows = await snapshot.fetch(
        " union ".join(f"select tenant_id from log.{table}" for table in tables) + " order by 1"
    )
    return [row["tenant_id"] for row in rows]


async def read_books(snapshot: Snapshot, tenant_id: str) -> Books:
    """Read a tenant."""

    async def rows(what: str, order: str) -> list[Any]:
        return await snapshot.fetch(f"select * from {what} where tenant_id = $1 order by {order}", tenant_id)

    live = await _read_models(snapshot)
    batches: dict[Any, list[Any]] = {}
    for row in await rows("log.usage_event", "batch, ordinal"):
        batches.setdefault(row["batch"], []).append(row)
    heads = await rows("log.head", "1")
    books = Books(
        tenant_id=tenant_id,
        head=heads[0] if heads else None,
        commits=await rows("log.commit", "last_position"),
        rows=batches,
        keys=await rows("log.event_key", "event_id"),
        retractions=await rows("log.retraction", "position"),
        events=[
            Stored(
                row["position"],
                row["originator_id"],
                row["originator_version"],
                row["kind"],
                row["state"],
                read_json(row["state"]),
            )
            for row in await rows("log.domain_event", "position")
        ],
        quantities=await rows(f"{live}.quantity", "meter_id, customer_id, hour"),
        distinct=await rows(f"{live}.distinct_value", "meter_id, customer_id, hour, digest"),
        unmeasured=await rows(f"{live}.unmeasured_event", "meter_id, position"),
        projected=await snapshot.fetchval(
            f"select coalesce(max(position), 0) from {live}.progress"
            " where tenant_id = $1 and projection = 'quantities'",
            tenant_id,
        ),
        invoices=await rows(f"{live}.invoice", "position"),
    )
    books.usage = _usage(books)
    return books


async def _read_models(snapshot: Snapshot) -> str:
    """The schema of the read models: its name has the number of their shape."""
    names: list[str] = [
        row["nspname"] for row in await snapshot.fetch(r"select nspname from pg_namespace where nspname ~ '^read_\d+$'")
    ]
    (name,) = names
    return name


def _usage(books: Books) -> list[Usage]:
    retracted = {row["event_id"]: row["position"] for row in books.retractions}
    return [
        Usage(
            position=commit["first_position"] + row["ordinal"],
            event_id=row["event_id"],
            event_name=row["event_name"],
            customer_id=row["customer_id"],
            at=row["timestamp"],
            metadata_text=row["metadata"],
            metadata=read_json(row["metadata"] or "{}"),
            retracted=retracted.get(row["event_id"]),
        )
        for commit in books.commits
        for row in books.rows.get(commit["batch"], [])
    ]
