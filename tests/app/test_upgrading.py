"""A newer program meets the data of an older one, alone and beside it."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest

from app import database, upgrading
from app.database import DatabaseError, connect_owner, migrate, migrations
from app.engine.launcher import Engine
from app.upgrading import bring_read_models, read_models_fit, watch_fit
from projections.shape import LIVE, NUMBER, Standing, standing
from tests.app.test_supervisor import ROOT, START_SECONDS, command, ready, serving
from tests.projections.histories import LOG, WHOLE, grown, new_database

HOLDING = "select pg_advisory_lock(hashtextextended('taximeter rebuild', 0))"
RELEASING = "select pg_advisory_unlock_all()"


@pytest.fixture
async def own(engine: Engine) -> str:
    """The address of a migrated database of the test's own."""
    return await new_database(engine, f"db{uuid4().hex[:12]}")


@pytest.fixture
async def owner(own: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(own)
    yield connection
    await connection.close()


@pytest.fixture
def data() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="taximeter-upgrade-"))
    yield home
    shutil.rmtree(home)


def event(number: int) -> dict[str, object]:
    return {"events": [{"event_id": f"e{number}", "customer_id": "ada", "event_name": "call"}]}


class Said(list[str]):
    """What was told, with somebody waiting for it."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.append(line)
        self.news.set()


async def test_older_read_models_are_rebuilt_once_however_many_start(
    own: str, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    async with database.open_pool(own) as pool:
        history = await grown(pool, LOG)  # type: ignore[arg-type]
        await owner.execute(f"alter schema {LIVE} rename to read")
        assert not await read_models_fit(own)
        said = Said()
        await asyncio.gather(*(bring_read_models(own, said) for _ in range(3)))
        assert await read_models_fit(own)
        await history.check(WHOLE)
        assert sum("100 %" in line for line in said) <= 1
        assert "another process rebuilds the read models; waiting for it" in said
    assert await owner.fetchval("select to_regnamespace('read') is null")


async def test_a_command_that_takes_long_only_delays_the_swap(
    own: str, owner: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 1)
    await owner.execute(f"alter schema {LIVE} rename to read")
    holder = owner.transaction()
    await holder.start()
    await owner.execute("lock table log.head in row share mode")
    said = Said()
    bringing = asyncio.create_task(bring_read_models(own, said))
    await said.news.wait()
    assert said == ["the new read models are ready and wait for a command that takes long"]
    assert not await read_models_fit(own)
    await holder.rollback()
    await bringing
    assert await read_models_fit(own)


async def test_an_older_program_never_rebuilds_by_itself(own: str, owner: asyncpg.Connection[asyncpg.Record]) -> None:
    await owner.execute(f"alter schema {LIVE} rename to read_{NUMBER + 1}")
    for refusing in (read_models_fit(own), bring_read_models(own, Said())):
        with pytest.raises(DatabaseError, match="a newer Taximeter has made the read models"):
            await refusing
    assert await standing(owner) is Standing.NEWER


async def test_a_service_whose_database_moved_on_stops(
    own: str, owner: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "LOOK_SECONDS", 0.01)
    stop, said = asyncio.Event(), Said()
    watching = asyncio.create_task(watch_fit(lambda: own, stop, said))
    # A lost database is no reason to stop.
    ended = 0
    while ended < 3:
        ended += await owner.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert not watching.done()
    await owner.execute("insert into public.taximeter_migration values ('9999_newer', 'x', now(), true)")
    await owner.execute(f"alter schema {LIVE} rename to read_{NUMBER + 1}")
    assert await watching
    assert stop.is_set()
    assert said == [said[0]]
    assert "a newer Taximeter has made the read models" in said[0]


async def test_a_connection_that_is_cut_as_a_statement_begins_is_no_reason_to_stop(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "LOOK_SECONDS", 0.01)
    stop, looks = asyncio.Event(), list[int]()

    async def cut(_: object) -> None:
        looks.append(1)
        if len(looks) == 3:
            stop.set()
        raise asyncpg.InternalClientError("cannot switch to state 11; another operation (2) is in progress")

    monkeypatch.setattr(upgrading, "check_schema", cut)
    assert not await watch_fit(lambda: own, stop, Said())
    assert len(looks) == 3


async def test_events_are_taken_while_the_read_models_are_rebuilt(own: str, data: Path) -> None:
    """The rebuild is held up from outside for as long as the test looks."""
    async with (
        serving(data, "--database-url", own, TAXIMETER_API_KEY="key") as before,
        client_at(before.url) as client,
    ):
        await ready(client)
        assert (await client.post("/events/ingest", json=event(1))).json()["ingested_count"] == 1
    holder = await asyncpg.connect(own)
    await holder.execute(f"alter schema {LIVE} rename to read")
    await holder.fetchval(HOLDING)
    starting = await started(data, own)
    try:
        async with client_at(await url_of(starting)) as client:
            while (await client.get("/health/live")).status_code != 200:
                await asyncio.sleep(0.05)
            assert (await client.get("/health/ready")).json()["code"] == "REBUILDING"
            assert (await client.get("/customers")).json()["code"] == "REBUILDING"
            assert (await client.post("/events/ingest", json=event(2))).json()["ingested_count"] == 1
            await holder.fetchval(RELEASING)
            await ready(client)
            # Nobody was refused in between, and both events count.
            assert (await client.get("/log/head")).json()["position"] == 4
            assert (await client.post("/events/ingest", json=event(1))).json()["duplicate_count"] == 1
            assert (await client.get("/customers")).status_code == 200
    finally:
        starting.terminate()
        assert await starting.wait() == 0
        await holder.close()


async def test_an_old_and_a_new_service_side_by_side(own: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one migrates and rebuilds while the old one takes events: none is refused before it stops, none lost."""
    known = migrations()
    harmless = (
        "9998_harmless",
        "-- Locks: kept.api_key. Duration: under a second.\n-- Older services: may run.\n"
        "alter table kept.api_key add column note text;\n",
    )
    acknowledged: list[int] = []
    async with serving(data, "--database-url", own, TAXIMETER_API_KEY="key") as old:
        async with client_at(old.url) as client:
            await ready(client)

            async def send() -> None:
                number = 0
                while True:
                    number += 1
                    answer = await client.post("/events/ingest", json=event(number))
                    if answer.status_code != 200:
                        return
                    acknowledged.append(number)

            sending = asyncio.create_task(send())
            monkeypatch.setattr(database, "migrations", lambda: [*known, harmless])
            assert await migrate(own) == ["9998_harmless"]
            since = len(acknowledged)
            while len(acknowledged) < since + 20:
                await asyncio.sleep(0.01)
            # Another old one may still start, such as one that a supervisor restarts.
            monkeypatch.undo()
            owner = await connect_owner(own)
            await database.check_schema(owner)
            # The swap of the new one's read models, of another number.
            await owner.execute(f"alter schema {LIVE} rename to read_{NUMBER + 1}")
            async with asyncio.timeout(START_SECONDS):
                assert await old.process.wait() == 2
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        stored = {row["event_id"] for row in await owner.fetch("select event_id from log.usage_event")}
        assert {f"e{number}" for number in acknowledged} <= stored
        assert len(stored) <= len(acknowledged) + 1, "at most the one whose answer was lost"
        await owner.close()


def client_at(url: str) -> httpx.AsyncClient:
    headers = {"Authorization": "Bearer key"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=START_SECONDS)


async def started(data: Path, url: str) -> asyncio.subprocess.Process:
    """A service that is not waited for."""
    return await asyncio.create_subprocess_exec(
        *command("serve", "--data", str(data), "--port", "0", "--database-url", url),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )


async def url_of(process: asyncio.subprocess.Process) -> str:
    """Where a service that rebuilds takes events, as it says."""
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    found = re.search(r"read models are an older version's and are rebuilt now; (\S+) takes events meanwhile", line)
    assert found, line
    return found[1]
