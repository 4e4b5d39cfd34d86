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

from app import settings, tracing
from app.alerting.watch import run_watch
from app.clock import system_clock
from app.close_progress import close_telling
from app.database import check_migrations, check_schema, connect_owner, migrate, open_pool
from app.engine.launcher import embedded
from app.engine.problems import EngineError
from app.erasing import erase_customer
from app.event_log import ensure_partitions
from app.garbage import look_rarely
from app.health.sampling import Sampler
from app.keys import create_key, terminal_caller
from app.ledger_check import check_ledgers
from app.projecting import run_projector
from app.scheduling import run_scheduler
from app.service import Service
from app.upgrading import alone, bring_read_models, watch_fit
from domain.tenant import Rules
from projections.rebuild import rebuild
from projections.shape import LIVE, made_read_models

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
async def open_service(dsn: str, rules: Rules, *, events_only: bool = False) -> AsyncIterator[Service]:
    """A service on a database whose schema fits; with ``events_only`` its read models may be an older program's."""
    owner = await connect_owner(dsn)
    try:
        await (check_migrations if events_only else check_schema)(owner)
        made = await made_read_models(owner)
    finally:
        await owner.close()
    async with open_pool(dsn, schema=made.schema if made else LIVE) as pool:
        yield Service(pool, system_clock, rules)


def tell(line: str) -> None:
    """Say something to the person at the terminal, beside what is printed as an answer."""
    print(f"taximeter: {line}", file=sys.stderr, flush=True)


@asynccontextmanager
async def traced_service(
    dsn: str, rules: Rules, environment: Environment, *, events_only: bool = False
) -> AsyncIterator[Service]:
    """The service of a process that stays, traced if that is asked for."""
    with tracing.traced(environment):
        async with open_service(dsn, rules, events_only=events_only) as service:
            yield service


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
                service, terminal_caller(tenant_id), scope=flags.scope, name=flags.name, test_mode=flags.test
            )
    print(f"tenant:  {tenant_id}\nscope:   {flags.scope}\nkey id:  {key_id}\nAPI key: {secret}   (shown only now)")
    return 0


async def rebuild_read_models(flags: Namespace, environment: Environment) -> int:
    """``taximeter rebuild``"""
    # What draws on a terminal comes with the few commands that do: the processes of a service begin here, too.
    from rich.progress import Progress

    async with database(flags, environment, create=False) as dsn:
        await prepare(dsn)
        if flags.prepare:
            await bring_read_models(dsn, tell, swap=False)
            print("the read models of this program stand beside those in use; its `taximeter serve` will take them")
            return 0
        owner = await connect_owner(dsn)
        try:
            await alone(owner, tell)
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
        print(
            f"{difference.table} of tenant {difference.tenant_id}: {difference.changed} rows differed,"
            f" {difference.missing} were missing, {difference.extra} were not in the log"
        )
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


async def erase_personal_data(flags: Namespace, environment: Environment) -> int:
    """``taximeter erase-customer``"""
    tenant_id = settings.value(settings.TENANT, flags, environment)
    if not flags.yes and not await asyncio.to_thread(_confirmed, flags.customer):
        print("taximeter: nothing was erased", file=sys.stderr)
        return 2
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, settings.rules(flags, environment)) as service,
    ):
        erased = await erase_customer(service, terminal_caller(tenant_id), flags.customer)
    print(f"the personal data of customer '{flags.customer}' " + ("are erased" if erased else "were erased already"))
    return 0


def _confirmed(customer_id: str) -> bool:
    """Ask the person at the terminal; without one there is no answer, and nothing is confirmed."""
    print(f"This erases e-mail, name, phone number and billing addresses of '{customer_id}' for ever.", file=sys.stderr)
    print("Type the customer's id to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == customer_id


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
        traced_service(dsn, settings.rules(flags, environment), environment) as service,
        asyncio.TaskGroup() as tasks,
    ):
        stop = asyncio.Event()
        outdated = tasks.create_task(watch_fit(lambda: dsn, stop, tell))
        await work(service, dsn, stop)
    return 2 if outdated.result() else 0


async def work(service: Service, dsn: str, stop: asyncio.Event) -> None:
    """Project, close what is due and look at alerts until ``stop``, which the signals to end set, too."""
    look_rarely()
    projected = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_projector(service, dsn, stop, projected))
        tasks.create_task(run_scheduler(service, stop))
        tasks.create_task(run_watch(service, stop, projected))
        sampling = tasks.create_task(Sampler(service).run())
        await stop.wait()
        sampling.cancel()


async def watch_customer(flags: Namespace, environment: Environment) -> int:
    """``taximeter watch``"""
    from app.watching_terminal import WatchEnded, watch

    url, api_key = (settings.value(one, flags, environment) for one in (settings.URL, settings.API_KEY))
    try:
        await watch(url, api_key, flags.customer)
    except WatchEnded as ended:
        print(f"taximeter: {ended}", file=sys.stderr)
    return 1


async def simulate(flags: Namespace, environment: Environment) -> int:
    """``taximeter simulate``"""
    # It reads the body of a request: the web framework comes with it, which hardly any command needs.
    from app.simulating.command import run_simulation

    return await run_simulation(flags, environment)


def run_flights(flags: Namespace, environment: Environment) -> int:
    """``taximeter example flights``"""
    # The example's packages are an extra, which nobody else needs.
    from app.example.flights import run

    return run(settings.value(settings.URL, flags, environment), settings.value(settings.API_KEY, flags, environment))
