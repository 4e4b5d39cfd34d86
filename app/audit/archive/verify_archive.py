"""Verifying an archive instead of the database: files against the manifest, then the chain from the first commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from app.audit.archive.manifest import DoesNotFit
from app.audit.archive.places import archive_place
from app.audit.archive.reading import Archive
from app.audit.chain_walk import Walk
from app.audit.crew import crew
from app.audit.findings import Finding, Rule, Verdict
from app.audit.heads import SignedHead
from app.audit.publishing import verdict
from app.audit.verifying import Report, walk_tenant
from projections.log_source import Unreadable


async def verify_archive(
    directory: Path,
    heads: Mapping[str, Sequence[SignedHead]],
    report: Report,
    *,
    processes: int = 1,
    tenant_id: str | None = None,
) -> tuple[list[Verdict], list[Finding]]:
    """The verdict on every tenant of an archive, or on one, and what does not fit its manifest.

    Both are looked at, whatever the other says. Raises ``ArchiveError`` for what is no archive, and ``DoesNotFit``
    when the manifest itself was changed.
    """
    archive = await asyncio.to_thread(Archive, directory)
    findings: list[Finding] = []
    try:
        await asyncio.to_thread(archive.check_files)
    except DoesNotFit as error:
        findings.append(Finding(rule=Rule.files, message=str(error)))
    tenants = {*(head.tenant_id for head in archive.heads), *heads} if tenant_id is None else {tenant_id}
    opening = partial(archive_place, directory)
    verdicts: list[Verdict] = []
    async with opening() as place, crew(opening, processes) as workers:
        for tenant in sorted(tenants):
            try:
                walk, found = await walk_tenant(place, workers, tenant, heads.get(tenant, ()), report)
            except Unreadable as error:
                walk, found = Walk(), [Finding(rule=Rule.files, message=str(error))]
            verdicts.append(verdict(tenant, walk, found))
    return verdicts, findings


def size_of(directory: Path) -> int:
    """How many events an archive says that it holds. Raises ``ArchiveError`` and ``DoesNotFit``."""
    return sum(head.position for head in Archive(directory).heads)
