"""A feed that is moved on by hand, and a watcher that keeps what it was told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from app.live.feed import LogFeed
from app.live.standing import Standing
from app.projecting import project_all
from tests.app.shop import Shop


@dataclass(eq=False)
class Noting:
    """A watcher that keeps everything it was told."""

    offers: list[Standing] = field(default_factory=list[Standing])
    resyncs: int = 0
    alerts: list[int] = field(default_factory=list[int])

    def offer(self, standing: Standing) -> None:
        self.offers.append(standing)

    def alerts_until(self, position: int) -> None:
        self.alerts.append(position)

    def resync(self) -> None:
        self.resyncs += 1

    def quantity(self, customer_id: str = "ada") -> Decimal:
        newest = [offer for offer in self.offers if offer.customer_id == customer_id][-1]
        return Decimal(newest.cycles[0].meters[0].quantity)


async def moved_on(feed: LogFeed) -> None:
    """One turn of the feed, and the end of whatever it began to read."""
    await feed.turn()
    readings = [reading.task for tenant in feed._tenants.values() for reading in tenant.reading.values()]
    await asyncio.gather(*readings)


async def look(shop: Shop, feed: LogFeed) -> None:
    """The projector moves on, and the feed after it, until there is nothing left."""
    await project_all(shop.service)
    await moved_on(feed)
    await moved_on(feed)


async def watching(shop: Shop, feed: LogFeed, customer_id: str = "ada") -> Noting:
    watcher = Noting()
    # Reading a customer offers it too, to whoever has begun to watch it.
    watcher.offers = [await feed.watch_customer(shop.tenant_id, customer_id, watcher)]
    return watcher
