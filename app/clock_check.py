"""A machine's clock that was set back shows in the log, whose recording times never decrease."""

from __future__ import annotations

from datetime import timedelta

from app.database import SQL
from app.service import Service
from domain import instant

BEHIND_MAX = timedelta(minutes=1)
"""What several machines' clocks may differ by; more than that was set back, or was ahead before."""


async def clock_trouble(service: Service) -> str | None:
    """A sentence when this machine's clock is behind the log's last recording; tenants in test mode have their own.

    Not a refusal: a clock that was ahead once has left its time in the log for ever.
    """
    last = await service.pool.fetchval(SQL["last_recording"])
    now = service.clock()
    if last is None or last - now <= BEHIND_MAX:
        return None
    return (
        f"the clock of this machine says {instant.text(now)}, but the log was last written at {instant.text(last)}. "
        "Until then events without a timestamp fall into earlier cycles, events with the right one may be refused as "
        "too new, and nothing closes. Set the clock right"
    )
