"""API keys: made, found by their secret, revoked. The secret itself is shown once and kept nowhere."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Sequence
from hashlib import sha256

import asyncpg

from app.identity import new_id, new_secret
from app.rules import set_test_mode
from app.service import Caller, Service, Via
from app.transaction import Transaction, transaction
from domain.errors import Conflict, Invalid
from domain.tenant import Tenant
from projections.statements import load

SQL = load("app.sql", "api_key.sql")

SCOPES = ("ingest", "read", "write")
ALLOWED = {"ingest": {"ingest"}, "read": {"read"}, "write": {"ingest", "read", "write"}}
"""What a key of each scope may do: ``write`` includes the others."""

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
TENANT_ID_RULE = "1 to 63 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
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
    found = (await callers_of(service, [digest])).get(digest)
    return None if found is None else Caller(found.tenant_id, found.key_id, found.scope, address)


async def callers_of(service: Service, digests: Sequence[bytes]) -> dict[bytes, Caller]:
    """The callers whose secrets have these digests, without the address that they ask from; some may open nothing.

    From how long it takes to compare digests nothing of a secret can be learnt.
    """
    rows = await service.pool.fetch(SQL["find"], digests)
    return {row["digest"]: Caller(row["tenant_id"], row["key_id"], row["scope"], "") for row in rows}


async def create_key(
    service: Service,
    caller: Caller,
    *,
    scope: str,
    name: str = "",
    secret: str | None = None,
    test_mode: bool = False,
) -> tuple[str, str]:
    """Make a key for the caller's tenant, and the tenant if it is new. Returns key id and secret.

    Raises ``Invalid`` for a bad tenant id or scope, ``Conflict`` when the secret is in use, or when ``test_mode`` is to
    begin where usage was recorded.
    """
    if not TENANT_ID.fullmatch(caller.tenant_id):
        raise Invalid("tenant", TENANT_ID_RULE)
    if scope not in SCOPES:
        raise Invalid("scope", f"must be one of {', '.join(SCOPES)}")
    if len(name) > KEY_NAME_MAX_CHARS:
        raise Invalid("name", f"at most {KEY_NAME_MAX_CHARS} characters")
    secret = secret or new_secret()
    async with transaction(service, caller, "api_key.create") as running:
        key_id = await _create(running, scope, name, secret)
        if test_mode:
            await set_test_mode(running, True)
    return key_id, secret


async def create_first_key(service: Service, tenant_id: str, name: str, secret: str | None = None) -> str | None:
    """Make the tenant's first ``write`` key and return its secret; ``None`` when the tenant has had a key.

    Any number of services may begin at once: the question is asked under the tenant's lock. Raises as `create_key`.
    """
    if not TENANT_ID.fullmatch(tenant_id):
        raise Invalid("tenant", TENANT_ID_RULE)
    if await has_keys(service, tenant_id):
        return None
    secret = secret or new_secret()
    async with transaction(service, system_caller(tenant_id), "api_key.create") as running:
        if await running.database.fetchval(SQL["has_keys"], tenant_id):
            return None
        await _create(running, "write", name, secret)
    return secret


async def _create(running: Transaction, scope: str, name: str, secret: str) -> str:
    key_id, digest = new_id("key"), digest_of(secret)
    tenant = await running.find(Tenant, running.tenant_id)
    if tenant is None:
        tenant = Tenant.create(running.tenant_id, running.now)
        running.add(tenant)
    tenant.create_key(key_id, scope, name, running.now)
    try:
        await running.database.execute(SQL["create"], digest, running.tenant_id, key_id, scope, name, running.now)
    except asyncpg.UniqueViolationError:
        raise Conflict("API_KEY_EXISTS", "this secret is in use already") from None
    return key_id


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
    return Caller(tenant_id, SYSTEM, "write", "local", via=Via.service)


def terminal_caller(tenant_id: str) -> Caller:
    """Whoever runs a command on this machine: the account and the machine stand in the log, as the system names them.

    Accounts without a name, as in some containers, are their number.
    """
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = str(os.getuid())
    return Caller(tenant_id, SYSTEM, "write", f"{account}@{socket.gethostname()}", via=Via.command_line)
