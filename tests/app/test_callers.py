"""Keys asked for together: one question, and nothing remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app import callers as callers_module
from app.callers import Callers
from app.keys import callers_of, create_key, revoke_key
from app.service import Caller, Service


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many digests each question to the database held."""
    sizes: list[int] = []

    async def counted(service: Service, digests: Sequence[bytes]) -> dict[bytes, Caller]:
        sizes.append(len(digests))
        return await callers_of(service, digests)

    monkeypatch.setattr(callers_module, "callers_of", counted)
    return sizes


async def test_whoever_waits_shares_a_question(service: Service, caller: Caller, asked: list[int]) -> None:
    _, reading = await create_key(service, caller, scope="read")
    _, writing = await create_key(service, caller, scope="write")
    callers = Callers(service)
    found = await asyncio.gather(
        *(callers.find(secret, f"10.0.0.{n}") for n in range(50) for secret in (reading, writing, "tax_nothing"))
    )
    assert [one and (one.tenant_id, one.scope, one.address) for one in found] == [
        expected
        for n in range(50)
        for expected in (
            (caller.tenant_id, "read", f"10.0.0.{n}"),
            (caller.tenant_id, "write", f"10.0.0.{n}"),
            None,
        )
    ]
    assert asked == [3]


async def test_a_question_that_is_on_its_way_does_not_answer_for_who_comes_later(
    service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have seen the key before it was revoked; the request that came after must not get in."""
    key_id, secret = await create_key(service, caller, scope="read")
    seen, go_on = asyncio.Event(), asyncio.Event()

    async def slow(service: Service, digests: Sequence[bytes]) -> dict[bytes, Caller]:
        found = await callers_of(service, digests)
        seen.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(callers_module, "callers_of", slow)
    callers = Callers(service)
    before = asyncio.create_task(callers.find(secret, ""))
    await seen.wait()
    await revoke_key(service, caller, key_id)
    after = asyncio.create_task(callers.find(secret, ""))
    await asyncio.sleep(0)
    go_on.set()
    assert await before is not None
    assert await after is None


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others(service: Service, caller: Caller) -> None:
    _, secret = await create_key(service, caller, scope="read")
    callers = Callers(service)
    gone, staying = (asyncio.create_task(callers.find(secret, "")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await staying is not None


async def test_a_lost_database_is_told_to_all_and_asked_again(
    service: Service, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = await create_key(service, caller, scope="read")

    async def lost(service: Service, digests: Sequence[bytes]) -> dict[bytes, Caller]:
        raise ConnectionResetError("gone")

    callers = Callers(service)
    with monkeypatch.context() as patch:
        patch.setattr(callers_module, "callers_of", lost)
        outcomes = await asyncio.gather(*(callers.find(secret, "") for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, ConnectionResetError) for outcome in outcomes)
    assert await callers.find(secret, "") is not None
