"""A replay builds every read model beside the live ones, says what differs and where, and changes nothing else.

In a database of its own: a replay looks at every tenant there is.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg import Connection, Pool, Record

from app.audit.replaying import add_replay, replay, run_replay, told
from app.database import open_pool
from app.engine.launcher import Engine
from app.settings import SettingError
from projections.log_reader import head
from projections.quantities import PROJECTED
from projections.shape import AUDIT, LIVE
from tests.projections.histories import LOG, WHOLE, History, grown, new_database

pytestmark = pytest.mark.usefixtures("small_pages")


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    return await new_database(engine, "replaying")


@pytest.fixture(scope="module")
async def pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as opened:
        yield opened


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def history(pool: Pool[Record]) -> History:
    grown_log = await grown(pool, LOG)
    await grown_log.project()
    return grown_log


def quiet(*_: object) -> None:
    """Nobody looks at the progress."""


async def test_what_was_changed_in_the_live_rows_is_told(history: History, dsn: str, owner: Connection[Record]) -> None:
    tenant_id = history.tenant_id
    await owner.execute(f"set search_path = {LIVE}")
    await owner.execute(
        "update quantity set total = 41.50 where ctid = (select ctid from quantity where tenant_id = $1"
        " and meter_id = 'mtr_0' and customer_id = 'ada' order by hour limit 1)",
        tenant_id,
    )
    await owner.execute("delete from meter where tenant_id = $1 and meter_id = 'mtr_2'", tenant_id)
    await owner.execute("insert into wallet values ($1, 'eve', 'USD', 999, now(), now())", tenant_id)
    done = await replay(dsn, quiet)
    assert [(one.table, one.changed, one.missing, one.extra) for one in done.differences] == [
        ("meter", 0, 1, 0),
        ("wallet", 0, 0, 1),
        ("quantity", 1, 0, 0),
    ]
    text = "\n".join(told(done))
    assert f"tenant {tenant_id}, quantity: 1 rows differ, 0 are missing, 0 are not in the log" in text
    assert '  meter_id "mtr_0", customer_id "ada", hour "2026-03-10T09:00:00+00:00"\n' in text
    assert "    total: live 41.50, replayed 1" in text.splitlines()
    assert '  meter_id "mtr_2": missing in the live table\n' in text
    assert '  customer_id "eve", currency "USD": only in the live table\n    balance: 999\n' in text
    # Only told: the live rows are as they were, and what was built is gone.
    assert await owner.fetchval("select count(*) from wallet where tenant_id = $1", tenant_id) == 1
    assert not await owner.fetchval("select to_regnamespace($1) is not null", AUDIT)
    mended = await replay(dsn, quiet, swap=True)
    assert mended.swapped
    assert (await replay(dsn, quiet)).differences == []
    await history.check(WHOLE)


async def test_a_replay_that_was_killed_is_gone_on_with(history: History, dsn: str, owner: Connection[Record]) -> None:
    class Killed(Exception):
        pass

    half = (await head(owner, history.tenant_id)).position // 2

    def dying(tenant_id: str, position: int, _until: int) -> None:
        if tenant_id == history.tenant_id and position >= half:
            raise Killed

    with pytest.raises(Killed):
        await replay(dsn, dying)
    begun: dict[str, int] = {}
    done = await replay(dsn, lambda tenant_id, position, _: begun.setdefault(tenant_id, position) and None)
    assert done.went_on
    assert done.differences == []
    assert begun[history.tenant_id] >= half
    assert not (await replay(dsn, quiet)).went_on


async def test_only_the_asked_tenant_is_replayed(
    history: History, pool: Pool[Record], dsn: str, owner: Connection[Record]
) -> None:
    other = await grown(pool, LOG)
    await other.project()
    await owner.execute(f"update {LIVE}.quantity set events = events + 1 where tenant_id = $1", other.tenant_id)
    assert (await replay(dsn, quiet, tenants=[history.tenant_id])).differences == []
    found = (await replay(dsn, quiet, tenants=[other.tenant_id])).differences
    assert [(one.tenant_id, one.table) for one in found] == [(other.tenant_id, "quantity")]
    await replay(dsn, quiet, swap=True)


async def test_the_log_goes_on_and_nobody_is_told_of_a_replay(
    history: History, dsn: str, owner: Connection[Record]
) -> None:
    """Usage is recorded in the middle of it, and is no difference; the only notices are the projector's."""
    heard: list[str] = []
    await owner.add_listener(PROJECTED, lambda *notice: heard.append(str(notice[3])))
    writing: list[asyncio.Task[None]] = []

    async def live_on() -> None:
        for step in LOG[3:]:
            await history.do(step)

    def meanwhile(tenant_id: str, _position: int, _until: int) -> None:
        if tenant_id == history.tenant_id and not writing:
            writing.append(asyncio.create_task(live_on()))

    assert (await replay(dsn, meanwhile)).differences == []
    await asyncio.gather(*writing)
    assert heard == []
    await history.project()
    await owner.execute("select 1")
    assert set(heard) == {history.tenant_id}
    assert (await replay(dsn, quiet)).differences == []


async def test_the_command_tells_by_its_status(
    history: History, dsn: str, owner: Connection[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ArgumentParser()
    add_replay(parser.add_subparsers())

    async def run(*flags: str) -> int:
        return await run_replay(parser.parse_args(["replay", "--database-url", dsn, *flags]), {})

    assert await run() == 0
    assert "every row of the live read models is as the log gives it" in capsys.readouterr().out
    await owner.execute(f"delete from {LIVE}.quantity where tenant_id = $1", history.tenant_id)
    assert await run("--rows", "1") == 1
    out = capsys.readouterr().out
    assert "0 rows differ" in out
    assert out.count("missing in the live table") == 1
    with pytest.raises(SettingError, match="--swap takes the read models of all tenants"):
        await run("--swap", "--tenant", history.tenant_id)
    assert await run("--swap") == 1
    assert await run() == 0
