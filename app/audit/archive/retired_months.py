"""Which months of usage are retired, and which commits went with them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from app.retired import SQL
from projections.database import Database, Row
from projections.log_reader import StoredCommit
from projections.log_source import CommitKind


class RetiredMonth(msgspec.Struct, frozen=True):
    """A retired month of one tenant: the positions between which its commits lie, and the span of their batches."""

    tenant_id: str
    month: str
    first_position: int
    last_position: int
    events: int
    since_batch: UUID
    until_batch: UUID
    archive: str

    def reaches(self, tenant_id: str, after: int, up_to: int) -> bool:
        """Whether some of it may lie in the positions ``(after, up_to]``."""
        return self.tenant_id == tenant_id and self.last_position > after and self.first_position <= up_to

    def holds(self, stored: StoredCommit) -> bool:
        """Whether a commit of the tenant was retired with it."""
        usage = stored.commit.kind == CommitKind.usage
        return usage and bool(self.since_batch <= stored.batch < self.until_batch)


async def retired_months(database: Database) -> list[RetiredMonth]:
    """Every retired month of every tenant."""
    rows = await database.fetch(SQL["retired_months"], None)
    return [_span(row) for row in rows]


def _span(row: Row) -> RetiredMonth:
    month: Any = row["month"]
    return RetiredMonth(
        tenant_id=row["tenant_id"],
        month=f"{month:%Y-%m}",
        first_position=row["first_position"],
        last_position=row["last_position"],
        events=row["events"],
        since_batch=row["since_batch"],
        until_batch=row["until_batch"],
        archive=row["archive"].hex(),
    )
