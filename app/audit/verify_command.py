"""`taximeter audit verify`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from app import settings
from app.audit.archive.places import check_archives, filled_place, retired_notes
from app.audit.archive.telling import one_line_errors
from app.audit.archive.verify_archive import size_of, verify_archive
from app.audit.crew import Crew, crew
from app.audit.findings import Finding, Rule, Verdict
from app.audit.heads import HeadsFile, public_key, read_heads
from app.audit.place import SQL, Place, export_snapshot
from app.audit.verifying import Report, verify
from app.commands import database
from app.database import SQL as DATABASE_SQL
from app.database import check_migrations, connect_owner

PARALLEL_EVENTS = 1_000_000
"""Events from which several processes share the work. Each takes 1.1 s of a processor to begin, and one compares some
100,000 events in that time."""

PROCESSES_MAX = 64
"""As many as web processes: more than the cores of a machine only wait for each other."""


class Audit(msgspec.Struct, frozen=True):
    """What a run found: the verdict on each tenant, lines of the file of heads that are no heads, who signed the
    others, and what does not break the proof and should be known."""

    fits: bool
    tenants: list[Verdict]
    heads_file: list[Finding]
    signed_by: list[str]
    notes: list[str]

    def lines(self) -> list[str]:
        """For a person."""
        lines = [line for one in self.tenants for line in one.lines()]
        lines += [line for finding in self.heads_file for line in finding.lines()]
        lines += [f"the published heads are signed by {key}" for key in self.signed_by]
        lines += [f"note: {note}" for note in self.notes]
        wrong = sum(bool(one.findings) for one in self.tenants)
        end = "the log is as it was recorded" if self.fits else f"{wrong} of {len(self.tenants)} logs do not fit"
        if not self.fits and not wrong:
            end = "the logs fit themselves, but the file of heads is not what was published"
            if any(finding.rule is Rule.files for finding in self.heads_file):
                end = "the logs fit themselves, but the files of the archive are not what was written"
        return [*lines, end]


def add_verify(parser: ArgumentParser) -> None:
    """The flags of ``taximeter audit verify``."""
    parser.add_argument("--tenant", metavar="ID", help="only this tenant (default: every one)")
    parser.add_argument(
        "--heads", metavar="FILE", type=Path, help="compare with the heads that were published to a file"
    )
    parser.add_argument(
        "--public-key", metavar="HEX", type=_public_key, help="the only key that published heads may be signed by"
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=_processes,
        help="processes that share the work (default: one per core when there is a million of events, else one)",
    )
    parser.add_argument("--archive", metavar="DIR", type=Path, help="verify an archive, and not the database")
    parser.add_argument(
        "--with-archive",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="where the rows of retired months are; several with the flag again",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    settings.add_flags(parser, settings.DATABASE)


async def run_verify(flags: Namespace, environment: Mapping[str, str]) -> int:
    """Verify, and say what does not fit."""
    published = read_heads(flags.heads, flags.public_key) if flags.heads else HeadsFile({}, [])
    heads = {name: of for name, of in published.heads.items() if flags.tenant in (None, name)}
    notes: list[str] = []
    files: list[Finding] = []
    with one_line_errors() as failed:
        if flags.archive:
            async with _progress(size_of(flags.archive)) as report:
                processes: int = flags.processes or 1
                verdicts, files = await verify_archive(
                    flags.archive, heads, report, processes=processes, tenant_id=flags.tenant
                )
        else:
            await check_archives(flags.with_archive)
            async with (
                database(flags, environment, create=False) as dsn,
                _beginning(dsn, flags) as (place, workers, size),
                _progress(size) as report,
            ):
                verdicts = await verify(place, workers, heads, report, flags.tenant)
                guards = await place.database.fetch(SQL["open_guards"])
                notes += [f"what keeps log.{row['name']} from being changed is switched off or gone" for row in guards]
                notes += retired_notes(place)
        return _told(flags, verdicts, published, files, notes)
    return failed.status


def _told(
    flags: Namespace, verdicts: list[Verdict], published: HeadsFile, files: list[Finding], notes: list[str]
) -> int:
    """Say what was found; the exit status."""
    problems = files + [
        Finding(rule=Rule.heads_file, message=f"line {number} of {flags.heads}: {problem}")
        for number, problem in published.problems
    ]
    audit = Audit(
        fits=not problems and not any(one.findings for one in verdicts),
        tenants=verdicts,
        heads_file=problems,
        signed_by=published.keys(),
        notes=notes,
    )
    print(msgspec.json.encode(audit).decode() if flags.json else "\n".join(audit.lines()))
    return 0 if audit.fits else 1


@asynccontextmanager
async def _beginning(dsn: str, flags: Namespace) -> AsyncIterator[tuple[Place, Crew, int]]:
    """The database at one moment, who reads it, and how many events there are."""
    owner = await connect_owner(dsn)
    try:
        await check_migrations(owner)
    finally:
        await owner.close()
    tenant_id: str | None = flags.tenant
    async with filled_place(dsn, flags.with_archive) as place:
        size = int(await place.database.fetchval(DATABASE_SQL["log_size"]))
        if tenant_id is not None:
            size = (await place.source.head(tenant_id)).position
        many = flags.processes or (os.cpu_count() or 1 if size >= PARALLEL_EVENTS else 1)
        opening = partial(filled_place, dsn, flags.with_archive, await export_snapshot(place))
        async with crew(opening, min(many, PROCESSES_MAX)) as workers:
            yield place, workers, size


@asynccontextmanager
async def _progress(size: int) -> AsyncIterator[Report]:
    """A bar on the terminal, or nothing where there is none."""
    columns = (TextColumn("verifying"), BarColumn(), _Rate(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("events", total=size)
        yield lambda events: progress.advance(task, events)


class _Rate(ProgressColumn):
    """How many events were compared, and how many in a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f} of {task.total or 0:,.0f} events, {task.speed or 0:,.0f}/s")


def _public_key(text: str) -> str:
    try:
        return public_key(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _processes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PROCESSES_MAX):
        raise ArgumentTypeError(f"must be a whole number from 1 to {PROCESSES_MAX}")
    return int(text)
