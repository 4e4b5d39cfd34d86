"""Customer tokens: minted by a key for one customer's page, short-lived, shown once and kept hashed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.identity import new_id, new_secret
from app.keys import digest_of
from app.live.statements import SQL as LIVE
from app.service import Caller, Service
from domain.errors import Invalid, NotFound
from projections.statements import load

SQL = load("app.sql", "customer_token.sql")

LIFETIME_SECONDS = 3_600
"""A page asks for a new token once an hour, unless the caller wants something else."""

LIFETIME_SECONDS_MAX = 86_400
"""A day: a token stands in a browser, so it should be worth little when it is stolen."""


@dataclass(frozen=True)
class CustomerToken:
    """A token that was just minted; ``secret`` is kept nowhere."""

    token_id: str
    secret: str
    customer_id: str
    expires_at: datetime


async def mint(service: Service, caller: Caller, customer_id: str, seconds: int = LIFETIME_SECONDS) -> CustomerToken:
    """Mint a token for a customer of the caller's tenant. It lives by the real clock, also in test mode.

    Raises ``Invalid`` for a lifetime out of range, and ``NotFound``. Tokens that have expired are dropped on the way.
    """
    if not 1 <= seconds <= LIFETIME_SECONDS_MAX:
        raise Invalid("expires_in_seconds", f"must be a whole number from 1 to {LIFETIME_SECONDS_MAX}")
    if not await service.pool.fetchval(LIVE["has_customer"], caller.tenant_id, customer_id):
        raise NotFound("customer", customer_id)
    now = service.clock()
    token = CustomerToken(new_id("ctk"), new_secret("taxc"), customer_id, now + timedelta(seconds=seconds))
    await service.pool.execute(SQL["drop_expired_tokens"], now)
    await service.pool.execute(
        SQL["mint"],
        digest_of(token.secret),
        caller.tenant_id,
        token.token_id,
        customer_id,
        caller.key_id,
        now,
        token.expires_at,
    )
    return token


async def revoke(service: Service, caller: Caller, token_id: str) -> None:
    """Make a token open nothing from now on; its sockets close within seconds. Raises ``NotFound``."""
    if await service.pool.fetchval(SQL["revoke_token"], caller.tenant_id, token_id, service.clock()) is None:
        raise NotFound("customer_token", token_id)
