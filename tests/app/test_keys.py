"""API keys: shown once, stored hashed, gone when revoked."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from app.keys import create_first_key, create_key, find_caller, has_keys, revoke_key, system_caller
from app.service import Caller, Service
from domain.errors import Conflict, Invalid, NotFound


async def test_a_secret_finds_its_tenant_and_scope(service: Service) -> None:
    tenant_id = f"t{uuid4().hex[:12]}"
    assert not await has_keys(service, tenant_id)
    key_id, secret = await create_key(service, system_caller(tenant_id), scope="ingest")
    assert await has_keys(service, tenant_id)
    assert await find_caller(service, secret, "10.0.0.1") == Caller(tenant_id, key_id, "ingest", "10.0.0.1")
    assert await find_caller(service, secret + "x", "10.0.0.1") is None


async def test_the_secret_is_nowhere_in_the_database(service: Service, caller: Caller) -> None:
    _, secret = await create_key(service, caller, scope="read", name="reader")
    rows = await service.pool.fetch("select k::text as row from kept.api_key k where tenant_id = $1", caller.tenant_id)
    rows += await service.pool.fetch(
        "select convert_from(state, 'UTF8') as row from log.domain_event where tenant_id = $1", caller.tenant_id
    )
    assert len(rows) >= 4
    assert not any(secret in row["row"] or secret.removeprefix("tax_") in row["row"] for row in rows)


async def test_a_revoked_key_opens_nothing(service: Service, caller: Caller) -> None:
    key_id, secret = await create_key(service, caller, scope="read")
    await revoke_key(service, caller, key_id)
    assert await find_caller(service, secret, "") is None
    with pytest.raises(NotFound):
        await revoke_key(service, caller, key_id)


async def test_a_secret_opens_one_door_only(service: Service, caller: Caller) -> None:
    _, secret = await create_key(service, caller, scope="read")
    with pytest.raises(Conflict):
        await create_key(service, system_caller(f"t{uuid4().hex[:12]}"), scope="write", secret=secret)


@pytest.mark.parametrize("tenant_id", ["", "Ada", "a b", "a" * 64, "-a", "ä"])
async def test_tenant_ids_are_plain(service: Service, tenant_id: str) -> None:
    with pytest.raises(Invalid, match="tenant: 1 to 63"):
        await create_key(service, system_caller(tenant_id), scope="write")


async def test_who_made_a_key_is_in_the_log(service: Service, caller: Caller) -> None:
    maker = Caller(caller.tenant_id, caller.key_id, "write", "10.0.0.9")
    await create_key(service, maker, scope="read")
    origin = await service.pool.fetchval(
        "select convert_from(origin, 'UTF8') from log.commit where tenant_id = $1 order by last_position desc limit 1",
        caller.tenant_id,
    )
    assert origin == f'{{"key_id":"{caller.key_id}","from":"10.0.0.9","command":"api_key.create","via":"key"}}'


@pytest.mark.parametrize("secret", [None, "a-secret-of-my-own"])
async def test_of_many_services_that_begin_at_once_one_makes_the_first_key(
    service: Service, secret: str | None
) -> None:
    tenant_id = f"t{uuid4().hex[:12]}"
    secret = f"{secret}-{tenant_id}" if secret else None
    made = await asyncio.gather(*(create_first_key(service, tenant_id, "first key", secret) for _ in range(6)))
    (shown,) = [answer for answer in made if answer is not None]
    assert shown == (secret or shown)
    found = await find_caller(service, shown, "")
    assert found is not None
    assert (found.tenant_id, found.scope) == (tenant_id, "write")
    assert await service.pool.fetchval("select count(*) from kept.api_key where tenant_id = $1", tenant_id) == 1


async def test_a_first_key_takes_no_secret_of_another_tenant(service: Service, caller: Caller) -> None:
    key_id, secret = await create_key(service, caller, scope="read")
    with pytest.raises(Conflict):
        await create_first_key(service, f"t{uuid4().hex[:12]}", "first key", secret)
    # The secret of a revoked key is used up, too.
    await revoke_key(service, caller, key_id)
    with pytest.raises(Conflict):
        await create_key(service, caller, scope="read", secret=secret)
    with pytest.raises(Invalid, match="tenant: 1 to 63"):
        await create_first_key(service, "Not Plain", "first key")
