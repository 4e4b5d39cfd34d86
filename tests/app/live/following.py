"""A feed that is moved on by hand."""

from __future__ import annotations

import asyncio

from app.live.feed import LogFeed


async def moved_on(feed: LogFeed) -> None:
    """One turn of the feed, and the end of whatever it began to read."""
    await feed.turn()
    readings = [reading.task for tenant in feed._tenants.values() for reading in tenant.reading.values()]
    await asyncio.gather(*readings)
