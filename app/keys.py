"""API keys: made, found by their secret, revoked. The secret itself is shown once and kept nowhere."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

from app.identity import new_id, new_secret
from app.service import Caller, Service
from app.transaction import transaction
from domain.errors import Conflict, Invalid
from domain.tenant import Tenant
from projections.statements import load

SQL = load("app.sql", "api_key.sql")

SCOPES = ("ingest", "read", "write")
ALLOWED = {"ingest": {"ingest"}, "read": {"read"}, "write": {"ingest", "read", "write"}}
"""What a key of each scope may do: ``write`` includes the others."""

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Tenant ids stand in every index row, so they are short; and in file names later, so they are plain."""

KEY_NAME_MAX_CHARS = 100
"""A key's name is a label on one line."""

SYSTEM = "system"
"""The key id that the log shows where no key asked: the command line and the scheduler."""


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return sha256(secret.encode()).digest()


async def find_caller(service: Service, secret: str, address: str) -> Caller | None:
    """The caller that a secret belongs to; ``None`` when it opens nothing."""
    digest = digest_of(secret)
    row = await service.pool.fetchrow(SQL["find"], digest)
    # The database compares digests, from whose timing nothing of a secret can be learnt; this compares once more, in
    # constant time.
    if row is None or not hmac.compare_digest(row["digest"], digest):
        return None
    return Caller(row["tenant_id"], row["key_id"], row["scope"], address)


async def create_key(
    service: Service, caller: Caller, *, scope: str, name: str = "", secret: str | None = None
) -> tuple[str, str]:
    """Make a key for the caller's tenant, and the tenant if it is new. Returns key id and secret.

    Raises ``Invalid`` for a bad tenant id or scope, ``Conflict`` when the secret is in use.
    """
    if not TENANT_ID.fullmatch(caller.tenant_id):
        raise Invalid("tenant", "1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit")
    if scope not in SCOPES:
        raise Invalid("scope", f"must be one of {', '.join(SCOPES)}")
    if len(name) > KEY_NAME_MAX_CHARS:
        raise Invalid("name", f"at most {KEY_NAME_MAX_CHARS} characters")
    secret, key_id = secret or new_secret(), new_id("key")
    async with transaction(service, caller, "api_key.create") as running:
        tenant = await running.find(Tenant, caller.tenant_id)
        if tenant is None:
            tenant = Tenant.create(caller.tenant_id, running.now)
            running.add(tenant)
        if await running.database.fetchrow(SQL["find"], digest_of(secret)):
            raise Conflict("API_KEY_EXISTS", "this secret is in use already")
        tenant.create_key(key_id, scope, name, running.now)
        await running.database.execute(
            SQL["create"], digest_of(secret), caller.tenant_id, key_id, scope, name, running.now
        )
    return key_id, secret


async def has_keys(service: Service, tenant_id: str) -> bool:
    """Whether the tenant ever had a key."""
    return bool(await service.pool.fetchval(SQL["has_keys"], tenant_id))


async def revoke_key(service: Service, caller: Caller, key_id: str) -> None:
    """Make a key open nothing. Raises ``NotFound``."""
    async with transaction(service, caller, "api_key.revoke") as running:
        tenant = await running.get(Tenant, caller.tenant_id)
        tenant.revoke_key(key_id, running.now)
        await running.database.execute(SQL["revoke"], caller.tenant_id, key_id, running.now)


def system_caller(tenant_id: str) -> Caller:
    """The service itself, acting for a tenant."""
    return Caller(tenant_id, SYSTEM, "write", "local")
