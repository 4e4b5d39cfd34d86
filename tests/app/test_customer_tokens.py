"""Customer tokens: kept hashed, and worth something only while token and key are."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app import customer_tokens
from app.credentials import find_credential, living
from app.customer_tokens import mint, revoke
from app.keys import create_key, revoke_key
from app.service import Caller, Service, Via
from domain.errors import Invalid, NotFound


@pytest.fixture
async def minter(api: Any) -> Caller:
    """A key of a tenant that has the customer ``ada``."""
    made = await api.post("/customers", json={"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    assert made.status_code == 200, made.text
    key_id, _ = await create_key(api.service, api.caller, scope="write")
    return Caller(api.caller.tenant_id, key_id, "write", "")


async def test_a_token_stands_for_its_customer(service: Service, minter: Caller) -> None:
    token = await mint(service, minter, "ada")
    assert token.expires_at == service.clock() + timedelta(hours=1)
    found = await find_credential(service, token.secret, "10.0.0.1")
    assert found is not None
    assert found.caller == Caller(minter.tenant_id, minter.key_id, "read", "10.0.0.1", "ada", Via.token)
    assert await living(service, [found.digest, b"\0" * 32]) == {found.digest}
    assert await find_credential(service, token.secret + "x", "") is None


async def test_the_token_is_nowhere_in_the_database(service: Service, minter: Caller) -> None:
    token = await mint(service, minter, "ada")
    row = await service.pool.fetchval(
        "select t::text from kept.customer_token t where tenant_id = $1", minter.tenant_id
    )
    assert token.token_id in row
    assert token.secret not in row
    assert token.secret.partition("_")[2] not in row


async def test_it_ends_when_it_expires(service: Service, clock: Any, minter: Caller) -> None:
    token = await mint(service, minter, "ada", seconds=60)
    found = await find_credential(service, token.secret, "")
    assert found is not None
    clock.advance(seconds=59)
    assert await living(service, [found.digest]) == {found.digest}
    clock.advance(seconds=1)
    assert await living(service, [found.digest]) == set()
    assert await find_credential(service, token.secret, "") is None
    with pytest.raises(NotFound):
        await revoke(service, minter, token.token_id)
    # The next one that is minted takes it out of the table.
    await mint(service, minter, "ada")
    query = "select count(*) from kept.customer_token where token_id = $1"
    assert await service.pool.fetchval(query, token.token_id) == 0


async def test_it_ends_when_it_is_revoked(service: Service, minter: Caller) -> None:
    token, other = await mint(service, minter, "ada"), await mint(service, minter, "ada")
    await revoke(service, minter, token.token_id)
    assert await find_credential(service, token.secret, "") is None
    assert await find_credential(service, other.secret, "") is not None
    with pytest.raises(NotFound):
        await revoke(service, minter, token.token_id)


async def test_it_ends_with_the_key_that_minted_it(service: Service, minter: Caller) -> None:
    token = await mint(service, minter, "ada")
    found = await find_credential(service, token.secret, "")
    assert found is not None
    await revoke_key(service, minter, minter.key_id)
    assert await find_credential(service, token.secret, "") is None
    assert await living(service, [found.digest]) == set()


async def test_only_its_own_tenant_revokes_it(service: Service, caller: Caller, minter: Caller) -> None:
    token = await mint(service, minter, "ada")
    with pytest.raises(NotFound):
        await revoke(service, caller, token.token_id)
    assert await find_credential(service, token.secret, "") is not None


async def test_a_customer_of_another_tenant_is_not_there(service: Service, caller: Caller, minter: Caller) -> None:
    with pytest.raises(NotFound, match="customer 'ada'"):
        await mint(service, caller, "ada")


@pytest.mark.parametrize("seconds", [0, -1, customer_tokens.LIFETIME_SECONDS_MAX + 1])
async def test_a_lifetime_has_its_limits(service: Service, minter: Caller, seconds: int) -> None:
    with pytest.raises(Invalid, match="expires_in_seconds: must be a whole number from 1 to 86400"):
        await mint(service, minter, "ada", seconds)


async def test_keys_and_tokens_are_asked_for_together(service: Service, minter: Caller) -> None:
    _, secret = await create_key(service, minter, scope="read")
    tokens = await asyncio.gather(*(mint(service, minter, "ada") for _ in range(5)))
    found = [await find_credential(service, one, "") for one in [secret, *(token.secret for token in tokens)]]
    digests = {one.digest for one in found if one is not None}
    assert len(digests) == 6
    assert await living(service, digests) == digests
