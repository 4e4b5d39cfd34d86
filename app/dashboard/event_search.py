"""Finding usage events for the tail: by position, a bounded part of the log at a time."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from domain import number
from domain.errors import Invalid
from domain.event import METADATA_KEY_MAX_CHARS, read_metadata
from domain.filter import Condition, Conjunction, Filter, Operator, matches
from projections.database import Database, Row
from projections.statements import load

SQL = load("app.sql", "dashboard_events.sql")

WINDOW_POSITIONS = 10_000
"""Positions read at once: some ten milliseconds of the database, and of this process when metadata is compared."""

WINDOWS_MAX = 5
"""Windows that one page looks through before it offers to look further."""


class Sought(msgspec.Struct, frozen=True):
    """Which events: each text is empty where it does not matter. ``metadata`` is ``key=value`` as it was entered."""

    event_name: str = ""
    customer_id: str = ""
    metadata: str = ""

    def condition(self) -> Filter | None:
        """What the metadata has to pass. Raises ``Invalid`` when it is not ``key=value``.

        A value is compared as a text, and also as the number or boolean that it can be read as.
        """
        if not self.metadata:
            return None
        key, sign, value = self.metadata.partition("=")
        key, value = key.strip(), value.strip()
        if not sign or not 1 <= len(key) <= METADATA_KEY_MAX_CHARS:
            raise Invalid("metadata", "must be key=value, such as model=large")
        values: list[str | bool | Decimal] = [value]
        if value in ("true", "false"):
            values.append(value == "true")
        measured = number.measure(value)
        if measured is not None:
            values.append(measured)
        return Filter(Conjunction.any_of, tuple(Condition(key, Operator.equals, one) for one in values))

    def query(self, **more: object) -> str:
        """The query of an address that asks for these events."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value}
        return urlencode({**given, **more})

    @property
    def narrowed(self) -> bool:
        """Whether anything matters."""
        return bool(self.event_name or self.customer_id or self.metadata)


class Found(msgspec.Struct, frozen=True):
    """Events, latest first. Those of ``searched_to`` and before were not looked at; 0 when all were."""

    rows: list[Row]
    searched_to: int


async def search(
    database: Database, tenant_id: str, sought: Sought, *, after: int = 0, before: int, limit: int
) -> Found:
    """The latest events between two positions, ``limit`` at most. Raises ``Invalid`` for a condition that is none."""
    condition, rows, top = sought.condition(), list[Row](), before
    for _ in range(WINDOWS_MAX):
        low = max(after, top - WINDOW_POSITIONS)
        rows += await _window(database, tenant_id, sought, condition, (low, top), limit - len(rows))
        if len(rows) >= limit:
            return Found(rows, rows[-1]["position"] - 1 if rows[-1]["position"] - 1 > after else 0)
        top = low + 1
        if low <= after:
            return Found(rows, 0)
    return Found(rows, top - 1)


async def _window(
    database: Database,
    tenant_id: str,
    sought: Sought,
    condition: Filter | None,
    between: tuple[int, int],
    limit: int,
) -> list[Row]:
    found = await database.fetch(
        SQL["usage_window"],
        tenant_id,
        *between,
        sought.event_name or None,
        sought.customer_id or None,
        limit if condition is None else WINDOW_POSITIONS,
    )
    return [row for row in found if matches(condition, read_metadata(row["metadata"]))][:limit]
