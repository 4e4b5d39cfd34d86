"""A log with something of every kind in it, in a database of its own, and empty databases to import into."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app import event_log
from app.audit.archive.exporting import Wanted, export
from app.audit.archive.importing import import_archive
from app.audit.archive.manifest import Exported
from app.audit.archive.reading import Archive
from app.audit.archive.retiring import Held, retire
from app.audit.archive.streaming import OwnerConnection, owner_of
from app.commands import open_service
from app.engine.launcher import Engine
from app.event_log import SQL as APPEND
from app.event_log import Sent, append_usage
from app.identity import new_batch
from app.invoicing import void
from app.projecting import project_all
from app.sealing import key_for, seal
from app.service import Service
from app.transaction import transaction
from app.upgrading import bring_read_models
from app.voiding import void_events
from domain.customer import Customer
from domain.invoice import Document
from tests.app.business import a_shop
from tests.app.log_rows import use
from tests.app.shop import APRIL, MARCH, Shop, sms_price
from tests.conftest import RULES, MovingClock
from tests.projections.histories import new_database

WHOLE = Wanted()


async def live(shop: Shop, clock: MovingClock) -> None:
    """A month of a business: usage in many commits, credits, money, a retraction, a void invoice, a late call."""
    await shop.open()
    await shop.entitle()
    await shop.sell("sms", sms_price("10"))
    subscription_id = await shop.subscribe(products=["sms"])
    await shop.pay_in(500)
    await shop.credit("3.25")
    for number in range(12):
        await shop.use(*[MARCH + timedelta(hours=number, minutes=one) for one in range(number % 7 + 1)])
    await void_events(shop.service, shop.caller, ["e3"], "sent twice")
    async with shop.service.pool.acquire() as connection:
        await append_usage(connection, shop.tenant_id, [Sent([use("e4", customer_id="eve")])], clock.now)
    async with transaction(shop.service, shop.caller, "customer.create") as running:
        key = await key_for(running.database, shop.tenant_id, "eve")
        personal = seal(key, "eve", {"email": "eve@example.com"})
        running.add(
            Customer.create(
                "eve", personal=personal, time_zone="UTC", preferred_locale=None, metadata="{}", at=running.now
            )
        )
    clock.now = APRIL + timedelta(hours=2)
    first = await shop.close(subscription_id)
    await void(shop.service, shop.caller, str(first.invoice_id), "wrong")
    await shop.close(subscription_id)
    await shop.use(MARCH + timedelta(days=3), APRIL)
    await project_all(shop.service)


@asynccontextmanager
async def opened_shop(dsn: str, shop: Shop | None = None) -> AsyncIterator[Shop]:
    """A shop on a database: a new one, or the one that lives in it already."""
    clock = MovingClock()
    async with open_service(dsn, RULES) as opened:
        if shop is None:
            made = await a_shop(opened.pool, clock)  # type: ignore[arg-type]
            await live(made, clock)
            yield made
        else:
            clock.now = APRIL + timedelta(hours=2)
            yield Shop(Service(opened.pool, clock, RULES), shop.caller, shop.sent)


async def empty(engine: Engine) -> str:
    """The address of an empty database with today's schema."""
    return await new_database(engine, f"a{uuid4().hex[:12]}")


async def exported(dsn: str, directory: Path, wanted: Wanted = WHOLE) -> Exported:
    """Export a database as the command does."""
    async with owner_of(dsn) as owner:
        return await export(owner, directory, wanted, MovingClock().now, lambda *_: None)


async def imported(dsn: str, directory: Path) -> None:
    """Import an archive as the command does."""
    async with owner_of(dsn) as owner:
        await import_archive(owner, Archive(directory), lambda *_: None)
    await bring_read_models(dsn, lambda _: None)


async def heads_in(owner: OwnerConnection) -> list[tuple[str, int, str]]:
    """Tenant, position and digest of every head."""
    rows = await owner.fetch("select tenant_id, position, digest from log.head order by tenant_id")
    return [(row["tenant_id"], row["position"], row["digest"].hex()) for row in rows]


def file_digests(one: Exported) -> dict[str, str]:
    """The digest of every file of an export, by its path."""
    return {note.path: note.sha256 for note in one.manifest.files}


MONTH = date(2026, 3, 1)
"""The first month of the shop that is long open."""


@dataclass(frozen=True)
class Old:
    """A shop whose first month is long over, and its archive."""

    dsn: str
    shop: Shop
    clock: MovingClock
    invoice: Document
    archive: Path


async def nothing_else(_: Shop) -> None:
    """The shop has no other customers."""


def month_after(first: date, months: int) -> datetime:
    """The beginning of a month that comes so many months after another."""
    years, month = divmod(first.month - 1 + months, 12)
    return datetime(first.year + years, month + 1, 1, tzinfo=UTC)


@asynccontextmanager
async def long_open(
    engine: Engine,
    directory: Path,
    month: date = MONTH,
    in_first: Callable[[Shop], Awaitable[None]] = nothing_else,
) -> AsyncIterator[Old]:
    """A shop that opened in a month and is twenty days into the fifth; ``in_first`` happens in the first of them.

    Batches are named after this machine's time; here they are named after the shop's.
    """
    dsn, clock = await empty(engine), MovingClock()
    start, second, *later = (month_after(month, count) for count in range(5))
    clock.now = start + timedelta(days=9, hours=12)

    def batch_of_the_shop() -> UUID:
        milliseconds = int(clock.now.timestamp()) * 1_000
        return UUID(int=(milliseconds << 80) | (new_batch().int & (2**80 - 1)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_log, "new_batch", batch_of_the_shop)
        async with open_service(dsn, RULES) as opened:
            shop = await a_shop(opened.pool, clock)  # type: ignore[arg-type]
            shop.service = Service(opened.pool, clock, RULES)
            await opened.pool.execute(APPEND["ensure_partition"], month)
            await shop.open()
            subscription_id = await shop.subscribe(anchor=month)
            for hour in range(6):
                await shop.use(*[start + timedelta(hours=hour, minutes=one) for one in (10, 40)])
            await in_first(shop)
            clock.now = second + timedelta(hours=2)
            invoice = await shop.close(subscription_id)
            await shop.use(second + timedelta(hours=1))
            for end in later:
                clock.now = end + timedelta(hours=2)
                await shop.close(subscription_id)
            clock.now = later[-1] + timedelta(days=19)
            await project_all(shop.service)
            archive = await exported(dsn, directory / "archive")
            yield Old(dsn, shop, clock, invoice, archive.directory)


async def retire_march(old: Old) -> list[Held]:
    """Retire the shop's first month; what was retired of whom."""
    async with owner_of(old.dsn) as owner:
        return await retire(owner, old.shop.service, Archive(old.archive), MONTH, old.clock.now)
