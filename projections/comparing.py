"""Comparing read models with those that were made again from the log, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from projections.database import Database
from projections.statements import load

SQL = load("projections.sql", "comparing.sql")

TABLES = (
    "tenant",
    "meter",
    "product",
    "customer",
    "subscription",
    "invoice",
    "credit_entitlement",
    "credit_account",
    "wallet",
    "alert",
    "alert_firing",
    "quantity",
    "distinct_value",
    "unmeasured_event",
    "late_hour",
    "progress",
)
"""Every read model, in the order in which they are compared."""

DERIVED_ROWS = {"progress": "projection <> 'alerts'"}
"""Which rows of a table follow from the log, where it is not all: how far alerts were looked at is no event's."""

Values: TypeAlias = dict[str, Any]
"""A row's columns by name, or some of them."""


class DifferingRow(msgspec.Struct, frozen=True):
    """A row that the live read model and the replayed one have differently. A side that lacks it is ``None``.

    Of two rows of one key only the columns that differ are kept.
    """

    key: Values
    live: Values | None
    replayed: Values | None


class Difference(msgspec.Struct, frozen=True):
    """What differs of one read model of a tenant: rows that only the log gives (``missing``), rows that it does not
    give (``extra``), and rows with other values. ``rows`` are the first of them, by key."""

    tenant_id: str
    table: str
    missing: int
    extra: int
    changed: int
    rows: Sequence[DifferingRow] = ()


async def compare_tenant(database: Database, tenant_id: str, live: str, replayed: str, shown: int) -> list[Difference]:
    """The read models of a tenant where two schemas differ, with the first ``shown`` rows of each.

    Both have to stand at the same position: it is the caller's transaction that sees to it.
    """
    found: list[Difference] = []
    for table in TABLES:
        key: str = await database.fetchval(SQL["key_of_table"], f"{live}.{table}")
        which = DERIVED_ROWS.get(table, "true")
        statement = SQL["compare_table"].format(table=table, key=key, which=which, a=live, b=replayed)
        row = await database.fetchrow(statement, tenant_id, shown)
        assert row is not None, "an aggregate always has a row"
        if row["missing"] or row["extra"] or row["changed"]:
            rows = [_differing(key.split(", "), one) for one in _DECODER.decode(row["rows"])]
            found.append(Difference(tenant_id, table, row["missing"], row["extra"], row["changed"], rows))
    return found


_DECODER = msgspec.json.Decoder(list[tuple[Values | None, Values | None]], float_hook=Decimal)


def _differing(key: Sequence[str], sides: tuple[Values | None, Values | None]) -> DifferingRow:
    live, replayed = sides
    either = live or replayed or {}
    place = {name: either[name] for name in key}
    if live is not None and replayed is not None:
        names = [name for name in live if live[name] != replayed[name]]
        live, replayed = ({name: side[name] for name in names} for side in (live, replayed))
    return DifferingRow(place, live, replayed)
