"""`taximeter audit replay`: every read model made again from the log and compared, or one invoice recomputed."""

from __future__ import annotations

import asyncio
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from app import settings
from app.audit.archive.reading import Archive
from app.audit.archive.replay_archive import ReplayedArchive, replay_archive
from app.audit.archive.telling import one_line_errors
from app.audit.invoice_replay import ReplayedInvoice, deviations, replay_invoice
from app.commands import database, open_service, tell
from app.database import check_schema, connect_owner
from app.settings import SettingError, add_flags
from app.upgrading import alone
from projections.comparing import Difference, DifferingRow, Values
from projections.rebuild import Report, Shadow
from projections.shape import AUDIT

SHOWN_ROWS = 10
"""Differing rows that are printed of each table and tenant: enough to see a pattern, few enough to read."""


ROWS_MAX = 10_000
"""The most that can be asked for: they are gathered in one answer of the database."""


class Replayed(msgspec.Struct, frozen=True):
    """What a replay found: events that were folded in so many seconds, and where the live read models differ.

    ``went_on`` says that an earlier replay had built a part, which is not among the events.
    """

    events: int
    seconds: float
    went_on: bool
    swapped: bool
    differences: list[Difference]


async def replay(
    dsn: str,
    report: Report,
    *,
    swap: bool = False,
    resume: bool = True,
    tenants: Collection[str] | None = None,
    shown: int = SHOWN_ROWS,
) -> Replayed:
    """Build every read model again in a schema of its own while the service runs, and compare with the live ones.

    A replay that died is gone on with, unless ``resume`` is false. With ``swap`` the new ones take the place of the
    live ones; without, they are dropped. Raises ``DatabaseError`` when the live ones have another shape.
    """
    owner = await connect_owner(dsn)
    events, reached = 0, dict[str, int]()

    def count(tenant_id: str, position: int, until: int) -> None:
        nonlocal events
        if tenant_id in reached:
            events += position - reached[tenant_id]
        reached[tenant_id] = position
        report(tenant_id, position, until)

    try:
        await alone(owner, tell)
        await check_schema(owner)
        shadow = Shadow(owner, AUDIT, count, tenants)
        began = time.perf_counter()
        went_on = await shadow.build(resume=resume)
        seconds = time.perf_counter() - began
        differences = await shadow.compare(shown)
        if swap:
            await shadow.put_in_place()
        else:
            await shadow.drop()
        return Replayed(events, seconds, went_on, swap, differences)
    finally:
        await owner.close()


def add_replay(actions: Any) -> None:
    """Add the action and its flags."""
    text = "make every read model again from the log and compare, or recompute one invoice"
    parser: ArgumentParser = actions.add_parser("replay", help=text, description=text)
    add_flags(parser, (settings.TENANT, *settings.DATABASE))
    parser.add_argument("--invoice", metavar="NUMBER_OR_ID", help="recompute this invoice of the tenant, byte for byte")
    parser.add_argument(
        "--archive", metavar="DIR", type=Path, help="instead of the database: what `taximeter audit export` wrote"
    )
    parser.add_argument("--swap", action="store_true", help="put what was made in the place of the live read models")
    parser.add_argument("--anew", action="store_true", help="do not go on with what a replay that died has built")
    parser.add_argument(
        "--rows", type=int, default=SHOWN_ROWS, metavar="COUNT", help="differing rows to print of each table"
    )


async def run_replay(flags: Namespace, environment: Mapping[str, str]) -> int:
    """``taximeter audit replay``"""
    if flags.archive is not None:
        return await _run_archive(flags, environment)
    if flags.invoice is not None:
        return await _run_invoice(flags, environment)
    if flags.swap and flags.tenant is not None:
        raise SettingError("--swap takes the read models of all tenants; leave --tenant out")
    if not 0 <= flags.rows <= ROWS_MAX:
        raise SettingError(f"--rows must be from 0 to {ROWS_MAX}")
    tenants = None if flags.tenant is None else [settings.value(settings.TENANT, flags, environment)]
    async with database(flags, environment, create=False) as dsn:
        with _progress() as progress:
            done = await replay(
                dsn,
                _telling(progress),
                swap=flags.swap,
                resume=not flags.anew,
                tenants=tenants,
                shown=flags.rows,
            )
    print("\n".join(told(done)))
    return 1 if done.differences else 0


async def _run_invoice(flags: Namespace, environment: Mapping[str, str]) -> int:
    if flags.swap:
        raise SettingError("--swap does not go with --invoice, which changes nothing")
    rules = settings.rules(flags, environment)
    tenant_id = settings.value(settings.TENANT, flags, environment)
    async with (
        database(flags, environment, create=False) as dsn,
        open_service(dsn, rules) as service,
        service.pool.acquire() as connection,
    ):
        began = time.perf_counter()
        done = await replay_invoice(connection, rules, tenant_id, flags.invoice)
        seconds = time.perf_counter() - began
    print("\n".join(told_of_invoice(done)))
    tell(f"that took {seconds:.2f} s")
    return 0 if done.proved else 1


async def _run_archive(flags: Namespace, environment: Mapping[str, str]) -> int:
    if flags.swap:
        raise SettingError("--swap does not go with --archive, whose read models are dropped in the end")
    rules, tenant_id = settings.rules(flags, environment), settings.value(settings.TENANT, flags, environment)
    only = None if flags.invoice is None else (tenant_id, flags.invoice)
    with one_line_errors() as failed:
        archive = await asyncio.to_thread(Archive, flags.archive.absolute())
        with _progress() as progress:
            done = await replay_archive(archive, rules, _telling(progress), tell, only=only)
        print("\n".join(told_of_archive(done)))
        return 1 if done.deviating else 0
    return failed.status


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} events/s"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _telling(progress: Progress) -> Report:
    """A bar for each tenant, with how fast its events are folded since it began."""
    bars: dict[str, tuple[TaskID, int, float]] = {}

    def report(tenant_id: str, position: int, until: int) -> None:
        if tenant_id not in bars:
            bar = progress.add_task(tenant_id, total=until, completed=position, rate="0")
            bars[tenant_id] = (bar, position, time.perf_counter())
        bar, since, began = bars[tenant_id]
        rate = (position - since) / max(time.perf_counter() - began, 0.001)
        progress.update(bar, completed=position, total=until, rate=f"{rate:,.0f}")

    return report


def told(done: Replayed) -> Iterator[str]:
    """What a replay found, line by line."""
    if done.went_on:
        yield "went on with what an earlier replay had built"
    rate = done.events / max(done.seconds, 0.001)
    yield f"replayed {done.events:,} events in {done.seconds:.1f} s, {rate:,.0f} events/s"
    for one in done.differences:
        yield (
            f"tenant {one.tenant_id}, {one.table}: {one.changed:,} rows differ, {one.missing:,} are missing,"
            f" {one.extra:,} are not in the log"
        )
        for row in one.rows:
            yield from _told_of_row(row)
    if not done.differences:
        yield "every row of the live read models is as the log gives it"
    if done.swapped:
        yield "the replayed read models are in use now"


def told_of_archive(done: ReplayedArchive) -> Iterator[str]:
    """What replaying an archive found, line by line."""
    rate = done.events / max(done.seconds, 0.001)
    yield f"read, checked and replayed {done.events:,} events in {done.seconds:.1f} s, {rate:,.0f} events/s"
    for tenant_id, one in done.deviating:
        yield f"tenant {tenant_id}:"
        yield from told_of_invoice(one)
    if not done.deviating:
        yield f"{done.invoices:,} invoices came out to the same bytes"


def _told_of_row(row: DifferingRow) -> Iterator[str]:
    place = ", ".join(f"{name} {_shown(value)}" for name, value in row.key.items() if name != "tenant_id")
    if row.live is None or row.replayed is None:
        yield f"  {place}: " + ("missing in the live table" if row.live is None else "only in the live table")
        yield from (f"    {name}: {_shown(value)}" for name, value in _beside_key(row).items())
        return
    yield f"  {place}"
    for name, value in row.live.items():
        yield f"    {name}: live {_shown(value)}, replayed {_shown(row.replayed[name])}"


def _beside_key(row: DifferingRow) -> Values:
    side = row.live or row.replayed or {}
    return {name: value for name, value in side.items() if name not in row.key}


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return msgspec.json.encode(value).decode()


def told_of_invoice(done: ReplayedInvoice) -> Iterator[str]:
    """What recomputing an invoice found, line by line."""
    yield f"invoice {done.invoice_id}, recomputed from the log up to position {done.position:,}"
    for what, text in (("the log before it", done.recomputed), ("the list of invoices", done.shown)):
        if text is None:
            yield f"{what} does not have it"
        elif text == done.recorded:
            yield f"{what} gives the same {len(text.encode()):,} bytes"
        else:
            yield f"{what} gives another document:"
            for one in deviations(done.recorded, text):
                yield f"  {one.path}: issued {one.recorded or 'without it'}, there {one.other or 'without it'}"
