"""`taximeter audit replay --archive`: the whole history of an archive lived through again, in a database of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from app.audit.archive.exporting import Report
from app.audit.archive.importing import SQL, import_archive
from app.audit.archive.reading import Archive
from app.audit.archive.streaming import owner_of
from app.audit.invoice_replay import ReplayedInvoice, replay_invoice
from app.commands import open_service, prepare
from app.engine.launcher import embedded
from app.upgrading import bring_read_models
from domain.tenant import Rules

Say = Callable[[str], None]
"""Told how far the read models are."""


class ReplayedArchive(msgspec.Struct, frozen=True):
    """What replaying found: so many events in so many seconds, so many invoices, and those that came out otherwise."""

    events: int
    seconds: float
    invoices: int
    deviating: list[tuple[str, ReplayedInvoice]]


@asynccontextmanager
async def database_of(archive: Archive, report: Report, say: Say) -> AsyncIterator[str]:
    """The address of a database that holds what an archive holds, read models and all, and is gone afterwards.

    Raises what ``import_archive`` raises, and ``EngineError``.
    """
    with _home() as home:
        async with embedded(home / "data") as engine:
            await prepare(engine.dsn)
            async with owner_of(engine.dsn) as owner:
                await import_archive(owner, archive, report)
            await bring_read_models(engine.dsn, say)
            yield engine.dsn


@contextmanager
def _home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="taximeter-replay-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        # The account of the embedded server passes through.
        home.chmod(0o711)
        yield home


async def replay_archive(
    archive: Archive, rules: Rules, report: Report, say: Say, *, only: tuple[str, str] | None = None
) -> ReplayedArchive:
    """Check the archive's chain, fold its whole log into read models, and recompute every invoice in it.

    ``only`` is a tenant and the number or id of the one invoice that is asked for. Raises ``NotFound``, and what
    ``database_of`` raises.
    """
    began = time.perf_counter()
    async with database_of(archive, report, say) as dsn, open_service(dsn, rules) as service:
        seconds = time.perf_counter() - began
        async with service.pool.acquire() as connection:
            if only is None:
                rows = await connection.fetch(SQL["invoices"])
                wanted = [(row["tenant_id"], row["invoice_id"]) for row in rows]
            else:
                wanted = [only]
            found = [(tenant, await replay_invoice(connection, rules, tenant, name)) for tenant, name in wanted]
    events = sum(head.position for head in archive.heads)
    return ReplayedArchive(events, seconds, len(found), [one for one in found if not one[1].proved])
