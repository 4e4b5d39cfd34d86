"""A database that is written to, backed up meanwhile, written to again, and lost: what it has to come back with."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from app.backup.record import Backup
from app.backup.taking import take_base
from app.clock import system_clock
from app.commands import open_service, prepare
from app.database import connect_owner
from app.engine.account import SERVER_ACCOUNTS
from app.engine.archive import use_archive
from app.engine.launcher import embedded
from app.projecting import project_all
from app.service import Service
from domain.event import UsageEvent
from domain.invoice import Document
from projections.log_reader import Head, head
from projections.rebuild import rebuild
from tests.app.business import a_shop
from tests.app.log_rows import recomputed_digest, record_usage, stored
from tests.app.shop import APRIL, MARCH, Shop
from tests.conftest import RULES, MovingClock

BATCH = 20
"""Events of one request of the writer."""

Known = dict[str, int]
"""Acknowledged event ids with the position that their request was answered with."""


@contextmanager
def a_directory() -> Iterator[Path]:
    """A directory with a short name that every account may enter, gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="backup-"))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def archive_in(directory: Path) -> Path:
    """A directory that the server's account may write WAL files to."""
    archive = directory / "wal"
    archive.mkdir(mode=0o700)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(SERVER_ACCOUNTS[0])
        os.chown(archive, entry.pw_uid, entry.pw_gid)
    return archive


@dataclass
class Drill:
    """What is outside of the lost data directory: backups, the archive, and what senders were told."""

    directory: Path
    archive: Path
    backup: Backup
    shop: Shop
    clock: MovingClock
    subscription_id: str
    by_moment: Known
    moment: datetime
    acknowledged: Known
    head: Head
    invoice: Document

    @property
    def tenant_id(self) -> str:
        return self.shop.tenant_id


@dataclass
class Writer:
    """Sends without a pause, and notes what was acknowledged."""

    shop: Shop
    known: Known = field(default_factory=Known)
    sent: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        async with self.shop.service.pool.acquire() as connection:
            while not stop.is_set():
                at = self.shop.service.clock() - timedelta(hours=1)
                events = [
                    UsageEvent(f"w{self.sent + number}", "call", "ada", at, '{"n": 1}') for number in range(BATCH)
                ]
                self.sent += BATCH
                receipt = await record_usage(connection, self.shop.tenant_id, events, self.shop.service.clock())
                self.known |= {event.event_id: receipt.position for event in events}

    async def more(self, count: int = 5 * BATCH) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.known) + count
        while len(self.known) < wanted:
            await asyncio.sleep(0.001)


async def rehearse(directory: Path) -> Drill:
    """Live through it; the data directory is gone at the end, and its WAL archive is whole."""
    home, archive, clock = directory / "home", archive_in(directory), MovingClock()
    await use_archive(home, archive)
    async with embedded(home) as engine:
        await prepare(engine.dsn)
        async with open_service(engine.dsn, RULES) as opened:
            shop = await a_shop(opened.pool, clock)  # type: ignore[arg-type]
            await shop.open()
            subscription_id = await shop.subscribe(anchor=MARCH.date())
            writer, stop = Writer(shop), asyncio.Event()
            writing = asyncio.create_task(writer.run(stop))
            await writer.more()
            backup = await take_base(engine, directory / "backups")
            await writer.more()
            by_moment = dict(writer.known)
            # The database's clock is this machine's: what is acknowledged by now was committed by now.
            moment = system_clock()
            await writer.more()
            stop.set()
            await writing
            clock.now = APRIL + timedelta(hours=2)
            invoice = await shop.close(subscription_id)
            end = await head(shop.service.pool, shop.tenant_id)
    shutil.rmtree(home)
    return Drill(
        directory, archive, backup, shop, clock, subscription_id, by_moment, moment, dict(writer.known), end, invoice
    )


@asynccontextmanager
async def opened_again(home: Path, drill: Drill) -> AsyncIterator[Shop]:
    """The shop on a restored data directory."""
    async with embedded(home) as engine:
        await prepare(engine.dsn)
        async with open_service(engine.dsn, RULES) as opened:
            yield Shop(Service(opened.pool, drill.clock, RULES), drill.shop.caller)


async def check_whole(shop: Shop, dsn: str) -> dict[str, int]:
    """The chain fits the rows and the read models fit the log; the event ids there are, with their positions."""
    await project_all(shop.service)
    end = await head(shop.service.pool, shop.tenant_id)
    assert await recomputed_digest(shop.service, shop.tenant_id) == end.digest
    owner = await connect_owner(dsn)
    try:
        assert await rebuild(owner, lambda *_: None, swap=False) == []
    finally:
        await owner.close()
    return {row["event_id"]: position for position, row in await stored(shop.service, shop.tenant_id)}
