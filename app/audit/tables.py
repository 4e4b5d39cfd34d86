"""Whether the tables of the log agree: each row is of a commit, each event has its key, retractions name events."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from app.audit.findings import SHOWN_MAX, Finding, Rule, shown
from app.audit.place import SQL, Place
from projections.database import Row
from projections.log_source import CommitKind


class Sums(msgspec.Struct, frozen=True):
    """How many rows a tenant has in a table, and the sum of their hashes."""

    rows: int = 0
    total: int = 0


NOTHING = Sums()


class Tables(msgspec.Struct, frozen=True):
    """What the tables hold, by tenant."""

    usage: Mapping[str, Sums]
    keys: Mapping[str, Sums]
    facts: Mapping[str, Sums]
    retractions: Mapping[str, Sums]

    def tenants(self) -> set[str]:
        """Every tenant that has any row."""
        return {*self.usage, *self.keys, *self.facts, *self.retractions}


async def usage_sums(place: Place, tenant_id: str | None, seed: int) -> dict[str, Sums]:
    """The usage rows: a job of some tenths of a microsecond each."""
    return _sums(await place.database.fetch(SQL["usage_sums"], tenant_id, seed))


async def key_sums(place: Place, tenant_id: str | None, seed: int) -> dict[str, Sums]:
    """The keys, summed in the same way."""
    return _sums(await place.database.fetch(SQL["key_sums"], tenant_id, seed))


async def fact_counts(place: Place, tenant_id: str | None) -> dict[str, Sums]:
    """The domain events, which are counted only."""
    return {row["tenant_id"]: Sums(row["rows"]) for row in await place.database.fetch(SQL["fact_counts"], tenant_id)}


async def retraction_counts(place: Place, tenant_id: str | None) -> dict[str, Sums]:
    """The retractions, which are counted only."""
    rows = await place.database.fetch(SQL["retraction_counts"], tenant_id)
    return {row["tenant_id"]: Sums(row["rows"]) for row in rows}


def _sums(rows: list[Row]) -> dict[str, Sums]:
    return {row["tenant_id"]: Sums(row["rows"], int(row["total"])) for row in rows}


async def compare(place: Place, tenant_id: str, tables: Tables, named: Mapping[str, int]) -> list[Finding]:
    """What does not agree in a tenant's tables, when its commits name so many events of each kind.

    Where every commit fits its rows, as many rows as are named means that there are no others.
    """
    usage, keys = tables.usage.get(tenant_id, NOTHING), tables.keys.get(tenant_id, NOTHING)
    facts = tables.facts.get(tenant_id, NOTHING)
    findings: list[Finding] = []
    if usage.rows != named.get(CommitKind.usage, 0):
        findings += await _find(place, tenant_id, "loose_usage", _loose_usage)
    if facts.rows != named.get(CommitKind.domain, 0):
        findings += await _find(place, tenant_id, "loose_facts", _loose_facts)
    if usage != keys:
        findings += await _find(place, tenant_id, "rows_without_key", _without_key)
        findings += await _find(place, tenant_id, "keys_without_row", _without_row)
    if tenant_id in tables.retractions:
        findings += await _find(place, tenant_id, "odd_retractions", _odd_retractions)
    return findings


async def _find(
    place: Place, tenant_id: str, statement: str, finding: Callable[[list[Row], int], Finding]
) -> list[Finding]:
    rows = await place.database.fetch(SQL[statement], tenant_id, SHOWN_MAX)
    return [finding(rows, rows[0]["total"])] if rows else []


def _loose_usage(rows: list[Row], total: int) -> Finding:
    return Finding(
        rule=Rule.rows,
        message=f"{total:,} usage rows belong to no commit: they count nowhere, and no append has left them",
        rows=shown([f"event '{row['event_id']}'" for row in rows], total),
    )


def _loose_facts(rows: list[Row], total: int) -> Finding:
    return Finding(
        rule=Rule.rows,
        message=f"{total:,} domain events belong to no commit, though whoever reads their objects takes them for true",
        rows=shown([f"{row['kind']} of {row['originator_id']} at position {row['position']:,}" for row in rows], total),
    )


def _without_key(rows: list[Row], total: int) -> Finding:
    return Finding(
        rule=Rule.keys,
        message=f"{total:,} events have no key of their own, so that their ids could be used, and billed, again",
        rows=shown([f"event '{row['event_id']}'" for row in rows], total),
    )


def _without_row(rows: list[Row], total: int) -> Finding:
    return Finding(
        rule=Rule.keys,
        message=f"{total:,} keys name no event, so that an event of that id would be refused or is lost",
        rows=shown([f"key '{row['event_id']}'" for row in rows], total),
    )


def _odd_retractions(rows: list[Row], total: int) -> Finding:
    return Finding(
        rule=Rule.retractions,
        message=f"{total:,} retractions do not stand where their commit says, or name no event recorded before them",
        first_position=rows[0]["position"],
        last_position=rows[-1]["position"],
        rows=shown([f"event '{row['event_id']}' at position {row['position']:,}" for row in rows], total),
    )
