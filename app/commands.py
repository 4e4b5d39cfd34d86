"""What the command line does, one function per command."""

from __future__ import annotations

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from rich.progress import Progress

from app import settings
from app.alerting.watch import run_watch
from app.clock import system_clock
from app.close_progress import close_telling
from app.database import check_schema, connect_owner, migrate, open_pool
from app.engine.launcher import embedded
from app.engine.problems import EngineError
from app.event_log import ensure_partitions
from app.keys import create_key, system_caller
from app.ledger_check import check_ledgers
from app.projecting import run_projector
from app.scheduling import run_scheduler
from app.service import Service
from app.watching_terminal import WatchEnded, watch
from domain.tenant import Rules
from projections.rebuild import rebuild

Environment = Mapping[str, str]


@asynccontextmanager
async def database(flags: Namespace, environment: Environment, *, create: bool = True) -> AsyncIterator[str]:
    """The address of the database: the given one, or the embedded server's while the block runs.

    With ``create`` false the embedded one has to exist: a mistyped directory must not become an empty database that
    reports success. Raises ``EngineError``.
    """
    url: str = settings.value(settings.DATABASE_URL, flags, environment)
    if url:
        yield url
        return
    data: Path = settings.value(settings.DATA, flags, environment)
    if not create and not await asyncio.to_thread(has_cluster, data):
        raise EngineError(f"there is no Taximeter data in {data}; `taximeter serve` makes it")
    async with embedded(data) as engine:
        yield engine.dsn


def has_cluster(data: Path) -> bool:
    """Whether an embedded database was ever made in this directory."""
    return any(data.glob("pg[0-9]*"))


@asynccontextmanager
async def open_service(dsn: str, rules: Rules) -> AsyncIterator[Service]:
    """A service on a database whose schema fits."""
    owner = await connect_owner(dsn)
    try:
        await check_schema(owner)
    finally:
        await owner.close()
    async with open_pool(dsn) as pool:
        yield Service(pool, system_clock, rules)


async def prepare(dsn: str) -> list[str]:
    """Migrate, and make the partitions of this month and the next; what was applied."""
    applied = await migrate(dsn)
    owner = await connect_owner(dsn)
    try:
        await ensure_partitions(owner, system_clock())
    finally:
        await owner.close()
    return applied


async def migrate_database(flags: Namespace, environment: Environment) -> int:
    """``taximeter migrate``"""
    async with database(flags, environment) as dsn:
        applied = await prepare(dsn)
    print("applied: " + ", ".join(applied) if applied else "the schema is up to date")
    return 0


async def create_api_key(flags: Namespace, environment: Environment) -> int:
    """``taximeter key create``"""
    async with database(flags, environment) as dsn:
        await prepare(dsn)
        async with open_service(dsn, settings.rules(flags, environment)) as service:
            tenant_id = settings.value(settings.TENANT, flags, environment)
            key_id, secret = await create_key(
                service, system_caller(tenant_id), scope=flags.scope, name=flags.name, test_mode=flags.test
            )
    print(f"tenant:  {tenant_id}\nscope:   {flags.scope}\nkey id:  {key_id}\nAPI key: {secret}   (shown only now)")
    return 0


async def rebuild_read_models(flags: Namespace, environment: Environment) -> int:
    """``taximeter rebuild``"""
    async with database(flags, environment, create=False) as dsn:
        await prepare(dsn)
        owner = await connect_owner(dsn)
        try:
            with Progress() as progress:
                tasks = {}

                def report(tenant_id: str, position: int, until: int) -> None:
                    if tenant_id not in tasks:
                        tasks[tenant_id] = progress.add_task(tenant_id, total=until)
                    progress.update(tasks[tenant_id], completed=position, total=until)

                differences = await rebuild(owner, report)
        finally:
            await owner.close()
    for difference in differences:
        print(f"{difference.table}: {difference.missing} rows were missing, {difference.extra} were not in the log")
    print("the read models were rebuilt" + ("" if differences else "; every row was as before"))
    return 0


async def close_what_is_due(flags: Namespace, environment: Environment) -> int:
    """``taximeter close-due``"""
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        done = await close_telling(service, lambda line: print(line, file=sys.stderr, flush=True))
    print(msgspec.json.encode(done).decode() if flags.json else done.text())
    return 1 if done.failures else 0


async def check_every_ledger(flags: Namespace, environment: Environment) -> int:
    """``taximeter check-ledgers``"""
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        summary = await check_ledgers(service)
    print(summary.text())
    return 1 if summary.wrong else 0


async def project(flags: Namespace, environment: Environment) -> int:
    """``taximeter project``: the projector and the scheduler, until SIGINT or SIGTERM."""
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        await work(service, dsn)
    return 0


async def work(service: Service, dsn: str) -> None:
    """Project, close what is due and look at alerts until the process is told to stop."""
    stop, projected = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_projector(service, dsn, stop, projected))
        tasks.create_task(run_scheduler(service, stop))
        tasks.create_task(run_watch(service, stop, projected))


async def watch_customer(flags: Namespace, environment: Environment) -> int:
    """``taximeter watch``"""
    url, api_key = (settings.value(one, flags, environment) for one in (settings.URL, settings.API_KEY))
    try:
        await watch(url, api_key, flags.customer)
    except WatchEnded as ended:
        print(f"taximeter: {ended}", file=sys.stderr)
    return 1


def run_flights(flags: Namespace, environment: Environment) -> int:
    """``taximeter example flights``"""
    # The example's packages are an extra, which nobody else needs.
    from app.example.flights import run

    return run(settings.value(settings.URL, flags, environment), settings.value(settings.API_KEY, flags, environment))
