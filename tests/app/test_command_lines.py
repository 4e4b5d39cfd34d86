"""Commands of one tenant wait in a line of their own, and no other tenant behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app import command_lines
from app.command_lines import CommandLines, CommandsFull
from app.database import connect_owner
from app.keys import create_key, system_caller
from app.limits import COMMANDS_AT_ONCE, COMMANDS_WAITING_MAX, POOL_SIZE
from tests.app.log_rows import until_waiting
from tests.conftest import Api, serving

TURNED_AWAY = 3
METER = {"name": "Calls", "event_name": "call", "aggregation": {"type": "count"}, "measurement_unit": "call"}


@asynccontextmanager
async def held_head(dsn: str, tenant_id: str) -> AsyncIterator[Any]:
    """No command of the tenant gets on while the block runs; the connection that holds its head."""
    owner = await connect_owner(dsn)
    try:
        async with owner.transaction():
            await owner.execute("select log.lock_head($1)", tenant_id)
            yield owner
    finally:
        await owner.close()


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_tenant_whose_head_is_held_takes_two_connections_and_no_other_tenant_waits(
    api: Api, dsn: str, caller: Any
) -> None:
    _, secret = await create_key(api.service, system_caller(caller.tenant_id), scope="write")
    transport, headers = httpx.ASGITransport(app=serving(api.service)), {"Authorization": f"Bearer {secret}"}
    assert COMMANDS_AT_ONCE + COMMANDS_WAITING_MAX > POOL_SIZE
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as other:
        async with held_head(dsn, api.caller.tenant_id) as owner:
            count = COMMANDS_AT_ONCE + COMMANDS_WAITING_MAX + TURNED_AWAY
            asked = [asyncio.create_task(api.post("/meters", json=METER)) for _ in range(count)]
            await until_waiting(owner, COMMANDS_AT_ONCE)
            turned_away: list[httpx.Response] = []
            async with asyncio.timeout(30):
                for first in asyncio.as_completed(asked):
                    turned_away.append(await first)
                    if len(turned_away) == TURNED_AWAY:
                        break
                assert (await other.post("/meters", json=METER)).status_code == 201
                assert (await api.get("/meters")).json() == {"items": []}
        answered = await asyncio.gather(*asked)
    for one in turned_away:
        assert (one.status_code, one.json()["code"], one.headers["retry-after"]) == (503, "OVERLOADED", "1")
        assert "nothing was done" in one.json()["message"]
    assert sorted(one.status_code for one in answered) == [201] * (count - TURNED_AWAY) + [503] * TURNED_AWAY
    assert len((await api.get("/meters", params={"page_size": 100})).json()["items"]) == count - TURNED_AWAY


async def test_turns_come_in_order_and_a_line_that_is_empty_is_forgotten() -> None:
    lines, order, go_on = CommandLines(), list[int](), asyncio.Event()

    async def command(number: int) -> None:
        async with lines.turn("a"):
            order.append(number)
            await go_on.wait()

    tasks = [asyncio.create_task(command(number)) for number in range(6)]
    await settle()
    assert order == list(range(COMMANDS_AT_ONCE))
    # Who goes away while waiting leaves no gap.
    tasks[3].cancel()
    go_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 2, 4, 5]
    assert vars(lines) == {"_lines": {}}


async def test_who_waits_too_long_is_sent_back_and_one_that_fails_gives_its_turn_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_lines, "COMMAND_WAIT_SECONDS", 0)
    monkeypatch.setattr(command_lines, "COMMANDS_AT_ONCE", 1)
    lines = CommandLines()
    async with lines.turn("a"):
        with pytest.raises(CommandsFull, match="took 0 seconds; nothing was done"):
            async with lines.turn("a"):
                pass
        async with lines.turn("b"):
            pass
    with pytest.raises(ZeroDivisionError):
        async with lines.turn("a"):
            raise ZeroDivisionError
    async with lines.turn("a"):
        pass
