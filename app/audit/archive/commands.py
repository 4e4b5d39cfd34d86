"""``taximeter audit export`` and ``taximeter audit import``."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app import settings
from app.audit.archive.exporting import Report, Wanted, export
from app.audit.archive.importing import import_archive
from app.audit.archive.manifest import Exported
from app.audit.archive.places import check_archives
from app.audit.archive.reading import Archive
from app.audit.archive.retiring import bring_back, retire
from app.audit.archive.streaming import owner_of
from app.audit.archive.telling import one_line_errors
from app.clock import system_clock
from app.commands import database, open_service, prepare, tell
from app.database import check_migrations
from app.settings import SettingError, add_flags
from app.upgrading import bring_read_models
from domain import instant

Environment = Mapping[str, str]


def add_export(sub: Any) -> None:
    """``taximeter audit export`` and its flags."""
    made: ArgumentParser = sub.add_parser("export", help="write the log, invoice lines and ledgers to files")
    add_flags(made, settings.DATABASE)
    made.add_argument("--to", type=_path, required=True, metavar="DIR", help="a directory that does not exist yet")
    made.add_argument("--tenant", help="only this tenant; without it, all")
    made.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="Parquet alone makes an archive")
    made.add_argument("--from", dest="since", metavar="TIME", help="only what happened from then on: no archive then")
    made.add_argument("--until", metavar="TIME", help="only what happened before: no archive then")
    made.add_argument(
        "--with-keys",
        action="store_true",
        help="also the sealing keys of customers and the hashes of API keys: keep such an archive secret",
    )

    made.add_argument(
        "--with-archive",
        type=_path,
        action="append",
        default=[],
        metavar="DIR",
        help="where the rows of retired months are; several with the flag again",
    )


def add_import(sub: Any) -> None:
    """``taximeter audit import`` and its flags."""
    made: ArgumentParser = sub.add_parser("import", help="fill an empty installation with an archive")
    made.add_argument("archive", type=_path, metavar="DIR", help="an archive that `taximeter audit export` wrote")
    add_flags(made, settings.DATABASE)


def add_retire(sub: Any) -> None:
    """``taximeter audit retire`` and its flags."""
    made: ArgumentParser = sub.add_parser("retire", help="drop the usage rows of a month that an archive holds")
    _add_month(made)


def add_bring_back(sub: Any) -> None:
    """``taximeter audit bring-back`` and its flags."""
    made: ArgumentParser = sub.add_parser("bring-back", help="put the usage rows of a retired month back")
    _add_month(made)


def _add_month(made: ArgumentParser) -> None:
    made.add_argument("month", type=_month, metavar="YYYY-MM", help="the month in which the usage was recorded")
    made.add_argument("--archive", type=_path, required=True, metavar="DIR", help="an archive that holds the rows")
    add_flags(made, (*settings.DATABASE, *settings.RULES))


async def run_export(flags: Namespace, environment: Environment) -> int:
    """Export; the status is 0 once everything is on the disk."""
    wanted = Wanted(
        tenant_id=flags.tenant,
        since=_instant(flags.since, "--from"),
        until=_instant(flags.until, "--until"),
        encoding=flags.format,
        secrets=flags.with_keys,
    )
    with one_line_errors() as failed:
        await check_archives(flags.with_archive)
        wanted = msgspec.structs.replace(wanted, archives=tuple(map(Archive, flags.with_archive)))
        async with database(flags, environment, create=False) as dsn, owner_of(dsn) as owner:
            await check_migrations(owner)
            with _progress("export") as report:
                exported = await export(owner, flags.to, wanted, system_clock(), report)
        _tell_exported(exported)
    return failed.status


async def run_import(flags: Namespace, environment: Environment) -> int:
    """Import; the status is 1 when the archive is damaged."""
    with one_line_errors() as failed:
        archive = await asyncio.to_thread(Archive, flags.archive)
        async with database(flags, environment) as dsn:
            await prepare(dsn)
            async with owner_of(dsn) as owner:
                with _progress("import") as report:
                    await import_archive(owner, archive, report)
            await bring_read_models(dsn, tell)
        for head in archive.heads:
            print(f"tenant {head.tenant_id}: up to position {head.position:,}, digest {head.digest}")
        if not archive.exported.manifest.holds_secrets:
            print(
                "The archive holds no keys: make an API key with `taximeter key create`. Names and addresses of"
                " customers stay sealed."
            )
    return failed.status


async def run_retire(flags: Namespace, environment: Environment) -> int:
    """Retire a month; the status is 1 when the archive is damaged, 2 when the rows may still be needed."""
    with one_line_errors() as failed:
        archive = await asyncio.to_thread(Archive, flags.archive)
        async with (
            database(flags, environment, create=False) as dsn,
            open_service(dsn, settings.rules(flags, environment)) as service,
            owner_of(dsn) as owner,
        ):
            for held in await retire(owner, service, archive, flags.month, system_clock()):
                print(f"tenant {held.tenant_id}: {held.events:,} usage events of {flags.month:%Y-%m} retired")
        print(f"Keep {flags.archive}: nothing else holds these rows now. The log says which archive it was, by the")
        print(f"digest of its manifest, {archive.exported.digest}. They come back with:")
        print(f"taximeter audit bring-back {flags.month:%Y-%m} --archive {flags.archive}")
    return failed.status


async def run_bring_back(flags: Namespace, environment: Environment) -> int:
    """Bring a month back; the status is 1 when the archive is damaged."""
    with one_line_errors() as failed:
        archive = await asyncio.to_thread(Archive, flags.archive)
        async with (
            database(flags, environment, create=False) as dsn,
            open_service(dsn, settings.rules(flags, environment)) as service,
            owner_of(dsn) as owner,
        ):
            with _progress("read") as report:
                tenants = await bring_back(owner, service, archive, flags.month, report)
        print(f"the usage of {flags.month:%Y-%m} is here again: {', '.join(tenants)}")
    return failed.status


def _tell_exported(exported: Exported) -> None:
    manifest = exported.manifest
    rows = sum(note.rows for note in manifest.files if note.table == "usage_events")
    size = sum(note.size for note in manifest.files) / 1_000_000
    print(
        f"{manifest.kind}:  {exported.directory}  ({len(manifest.files)} files, {size:,.1f} MB, {rows:,} usage events)"
    )
    print(f"manifest: sha256 {exported.digest}")
    for head in manifest.heads:
        print(f"tenant {head.tenant_id}: up to position {head.position:,}, digest {head.digest}")


@contextmanager
def _progress(what: str) -> Iterator[Report]:
    """A bar for each tenant on the terminal, or nothing where there is none."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def report(tenant_id: str, position: int, until: int) -> None:
            if tenant_id not in tasks:
                tasks[tenant_id] = bars.add_task(f"{what} {tenant_id}", total=until)
            bars.update(tasks[tenant_id], completed=position)

        yield report


def _path(text: str) -> Path:
    return Path(text).absolute()


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise ArgumentTypeError("must be a month such as 2026-01") from None


def _instant(text: str | None, flag: str) -> datetime | None:
    if text is None:
        return None
    try:
        return instant.parse(text)
    except ValueError as error:
        raise SettingError(f"{flag} is {text!r}: {error}") from None
