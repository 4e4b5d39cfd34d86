"""A dump fits where a copy does not: another major release, another server, a database by URL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from app.backup.record import Backup
from app.backup.restoring import Wanted, restore_home, restore_url
from app.backup.taking import take_dump
from app.commands import open_service, prepare
from app.database import check_schema, connect_owner
from app.engine import launcher
from app.engine.binaries import SYSTEM_ROOT, Binaries, find_binaries
from app.engine.launcher import Engine, embedded
from app.engine.problems import EngineError
from app.service import Service
from projections.log_reader import Head, head
from tests.app.backup.drill import check_whole
from tests.app.business import a_shop
from tests.app.shop import MARCH, Shop
from tests.conftest import RULES, MovingClock

OLDER = sorted(int(path.name) for path in SYSTEM_ROOT.glob("[0-9]*") if (path / "bin" / "initdb").is_file())
"""Major releases of this machine beside the wheel's."""


def silent(_: str) -> None:
    """Nobody is told how far it is."""


@pytest.fixture
async def empty(engine: Engine) -> AsyncIterator[str]:
    """The address of a new, empty database of the shared server."""
    name = f"db{uuid4().hex[:12]}"
    owner = await connect_owner(engine.dsn)
    await owner.execute(f"create database {name} template template0")
    yield engine.dsn_for(name)
    await owner.execute(f"drop database {name} with (force)")
    await owner.close()


async def sold(dsn: str) -> tuple[Shop, Head]:
    """A shop with some usage, an invoice and its log's head, in a database that is migrated for it."""
    await prepare(dsn)
    async with open_service(dsn, RULES) as opened:
        shop = await a_shop(opened.pool, MovingClock())  # type: ignore[arg-type]
        await shop.open()
        await shop.subscribe(anchor=MARCH.date())
        await shop.use(*[shop.service.clock()] * 30)
        return shop, await head(opened.pool, shop.tenant_id)


async def check_sold(dsn: str, shop: Shop, before: Head) -> None:
    """The same log, usable as before; the next event takes the next position."""
    async with open_service(dsn, RULES) as opened:
        again = Shop(Service(opened.pool, shop.service.clock, RULES), shop.caller, sent=30)
        assert await head(opened.pool, shop.tenant_id) == before
        assert len(await check_whole(again, dsn)) == 30
        assert await again.use(again.service.clock()) == before.position + 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await opened.pool.execute("update log.usage_event set customer_id = 'eve'")


async def test_a_database_by_url_comes_back_from_its_dump(
    engine: Engine, empty: str, directory: Path, request: pytest.FixtureRequest
) -> None:
    owner = await connect_owner(engine.dsn)
    source = f"db{uuid4().hex[:12]}"
    await owner.execute(f"create database {source}")
    shop, before = await sold(engine.dsn_for(source))
    backup = await take_dump(engine.dsn_for(source), engine.programs, directory / "backups")
    await owner.execute(f"drop database {source} with (force)")
    await owner.close()
    heads = await restore_url(backup, empty, silent)
    assert {one.tenant_id: one.position for one in heads} == {shop.tenant_id: before.position}
    await check_sold(empty, shop, before)
    with pytest.raises(EngineError, match="is not empty, and a restore never writes over one"):
        await restore_url(backup, empty, silent)


async def test_a_dump_that_breaks_off_leaves_the_database_empty(engine: Engine, empty: str, directory: Path) -> None:
    dsn = re.sub(r"/\w+\?", "/template1?", engine.dsn)
    with pytest.raises(EngineError, match="There is no log in this database"):
        await take_dump(dsn, engine.programs, directory / "backups")
    assert list((directory / "backups").glob("dump*")) == []
    shop_dsn = empty
    await sold(shop_dsn)
    backup = await take_dump(shop_dsn, engine.programs, directory / "backups")
    next(iter(sorted(backup.content.glob("*.dat.gz"), key=lambda file: -file.stat().st_size))).write_bytes(b"broken")
    home = directory / "home"
    with pytest.raises(EngineError, match="pg_restore failed"):
        await restore_home(backup, home, None, Wanted(), silent)
    assert [entry.name for entry in home.iterdir()] == ["start.lock"]


@pytest.mark.skipif(not OLDER, reason="this machine has one major release of PostgreSQL only")
async def test_data_of_an_older_major_release_are_carried_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served on by the old programs while they are there, refused clearly without them, and dumped and restored."""
    old = Binaries(SYSTEM_ROOT / str(OLDER[0]) / "bin", OLDER[0])
    old_home, new_home = directory / "old", directory / "new"
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "find_binaries", lambda _wanted: old)
        async with embedded(old_home) as engine:
            assert engine.data_directory.name == f"pg{OLDER[0]}"
            shop, before = await sold(engine.dsn)
    newest = find_binaries()
    assert newest.major > OLDER[0]
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "find_binaries", lambda _wanted: newest)
        with pytest.raises(EngineError, match=f"pg{OLDER[0]} holds data of PostgreSQL {OLDER[0]}, but the programs"):
            async with embedded(old_home):
                pass
    # Its own programs are found by themselves, although newer ones come first otherwise.
    async with embedded(old_home) as engine:
        assert engine.version == OLDER[0]
        backup = await take_dump(engine.dsn, newest.directory, directory / "backups")
    await restore_home(backup, new_home, None, Wanted(), silent)
    async with embedded(new_home) as engine:
        assert engine.version == newest.major
        await check_sold(engine.dsn, shop, before)
    async with embedded(old_home) as engine:
        owner = await connect_owner(engine.dsn)
        await check_schema(owner)
        await owner.close()
        with pytest.raises(EngineError, match="holds a database already"):
            await restore_home(backup, old_home, None, Wanted(), silent)


async def test_a_copy_of_another_major_release_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.backup import restoring
    from tests.app.backup.test_record import note_of

    monkeypatch.setattr(restoring, "find_binaries", partial(lambda found, _wanted: found, find_binaries()))
    backup = Backup(directory / "base", note_of("base", major=14))
    with pytest.raises(EngineError, match=r"data directory of PostgreSQL 14, .* Install PostgreSQL 14"):
        await restore_home(backup, directory / "home", None, Wanted(), silent)
