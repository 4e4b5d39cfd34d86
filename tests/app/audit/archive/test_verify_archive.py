"""Verifying an archive instead of the database: what was changed is named by the file, and by the commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.audit.archive.manifest import DoesNotFit
from app.audit.archive.verify_archive import size_of, verify_archive
from app.audit.findings import Finding, Verdict
from tests.app.audit.archive.conftest import Kept
from tests.app.audit.archive.test_reading import changed, inserted, path_of, rewrite, swapped


async def verified(directory: Path) -> tuple[Verdict, list[Finding]]:
    verdicts, files = await verify_archive(directory, {}, lambda _: None)
    (one,) = verdicts
    return one, files


async def test_what_was_written_fits(kept: Kept) -> None:
    counted: list[int] = []
    (verdict,), files = await verify_archive(kept.archive.directory, {}, counted.append)
    (head,) = kept.archive.manifest.heads
    assert (files, verdict.findings) == ([], [])
    assert (verdict.position, verdict.commits, verdict.digest) == (head.position, head.commits, head.digest)
    assert sum(counted) == size_of(kept.archive.directory) == head.position


async def test_a_byte_of_a_file_is_found_by_the_manifest(kept: Kept, copied: Path) -> None:
    """Of a table that no chain covers, too."""
    path = path_of(copied, "wallet_ledger")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    verdict, (finding,) = await verified(copied)
    assert "wallet_ledger-000001.parquet has the digest" in finding.message
    assert verdict.findings == []


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("usage_events", changed("metadata", '{"n": 1000}'), "does not hold what was recorded"),
        ("usage_events", swapped, "does not hold what was recorded"),
        ("usage_events", inserted, "do not stand in its order"),
        ("usage_events", lambda rows: rows.pop(4), "events are gone"),
        ("domain_events", changed("state", b"{}"), "does not hold what was recorded"),
        ("commits", changed("origin", b"somebody else"), "digest does not follow"),
        ("commits", lambda rows: rows.pop(), "does not end where its head says"),
    ],
)
async def test_a_change_that_the_manifest_knows_is_found_by_the_chain(
    kept: Kept, copied: Path, table: str, change: object, message: str
) -> None:
    rewrite(copied, table, change)  # type: ignore[arg-type]
    verdict, files = await verified(copied)
    assert files == []
    assert message in verdict.findings[0].message


async def test_a_file_that_is_none_is_a_finding_and_no_crash(kept: Kept, copied: Path) -> None:
    path_of(copied, "commits").write_bytes(b"PAR1")
    verdict, files = await verified(copied)
    assert "commits-000001.parquet has the digest" in files[0].message
    assert "cannot be read" in verdict.findings[0].message


async def test_a_changed_manifest_is_said(kept: Kept, copied: Path) -> None:
    path = copied / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"archive", b"extract", 1))
    with pytest.raises(DoesNotFit, match=r"manifest\.json has the digest"):
        await verified(copied)
