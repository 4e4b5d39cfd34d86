"""Exporting: what is written, and what is left when it ends in the middle."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from app.audit.archive.exporting import Wanted
from app.audit.archive.manifest import ArchiveError
from app.audit.archive.reading import Archive
from projections.fault_points import FAULTS, InjectedFault, arm
from tests.app.audit.archive.conftest import Kept
from tests.app.audit.archive.history import exported, file_digests
from tests.app.shop import APRIL, MARCH


def rows_in(one: Path, table: str) -> list[dict[str, str]]:
    """The rows of a table in a CSV export of one tenant."""
    (path,) = one.glob(f"*/{table}-*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


async def test_nothing_is_written_over(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ArchiveError, match="never written over"):
        await exported(kept.dsn, tmp_path)
    assert os.listdir(tmp_path) == ["mine"]


async def test_a_tenant_without_a_log_is_no_export(kept: Kept, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="tenant 'nobody' has no log"):
        await exported(kept.dsn, tmp_path / "out", Wanted(tenant_id="nobody"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("point", ["export.span", "export.written"])
async def test_an_export_that_fails_leaves_nothing(kept: Kept, tmp_path: Path, point: str) -> None:
    arm({FAULTS: f"{point}=raise"}, "test")
    try:
        with pytest.raises(InjectedFault):
            await exported(kept.dsn, tmp_path / "out")
    finally:
        arm({}, "test")
    assert os.listdir(tmp_path) == []
    assert file_digests(await exported(kept.dsn, tmp_path / "out")) == file_digests(kept.archive)


async def test_files_without_a_manifest_are_no_archive(kept: Kept, copied: Path) -> None:
    """What a killed export leaves: it lies under another name, and has no manifest."""
    for name in ("manifest.sha256", "manifest.json"):
        (copied / name).unlink()
        with pytest.raises(ArchiveError, match="is no finished export"):
            Archive(copied)


async def test_what_a_killed_export_left_is_cleared_away(kept: Kept, tmp_path: Path) -> None:
    left = tmp_path / "out.unfinished"
    (left / "t").mkdir(parents=True)
    (left / "t" / "commits-000001.parquet").write_bytes(b"half")
    await exported(kept.dsn, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


async def test_csv_says_the_same_exactly(kept: Kept, tmp_path: Path) -> None:
    """Numbers as their text, instants in UTC with six digits, and nothing that is missing made up."""
    made = (await exported(kept.dsn, tmp_path / "out", Wanted(encoding="csv"))).directory
    lines = rows_in(made, "invoice_lines")
    stored = await kept.shop.stored_invoices()
    assert {line["number"] for line in lines} == {row["number"] for row in stored}
    assert {line["status"] for line in lines} == {"void", "open"}
    usage = next(line for line in lines if line["kind"] == "usage" and line["status"] == "open")
    assert usage["cycle_start"] == "2026-03-01T00:00:00.000000Z"
    assert "." not in usage["amount"]
    assert rows_in(made, "usage_events")[0]["timestamp"] == "2026-03-01T00:00:00.000000Z"
    wallet = rows_in(made, "wallet_ledger")
    assert wallet[0]["amount"] == "500"
    assert [row["before_balance"] for row in wallet[1:]] == [row["after_balance"] for row in wallet[:-1]]
    credits = rows_in(made, "credit_ledger")
    assert "3.25" in {row["amount"] for row in credits}
    assert (rows_in(made, "retractions")[0]["event_id"], rows_in(made, "retractions")[0]["reason"]) == (
        "e3",
        "sent twice",
    )
    with pytest.raises(ArchiveError, match="no archive"):
        Archive(made)


async def test_a_span_holds_what_happened_in_it(kept: Kept, tmp_path: Path) -> None:
    made = await exported(kept.dsn, tmp_path / "out", Wanted(since=MARCH, until=APRIL, encoding="csv"))
    whole = await exported(kept.dsn, tmp_path / "whole", Wanted(encoding="csv"))
    times = [row["timestamp"] for row in rows_in(whole.directory, "usage_events")]
    inside = [row["timestamp"] for row in rows_in(made.directory, "usage_events")]
    assert inside == [at for at in times if at < "2026-04-01"]
    assert len(inside) < len(times)
    assert rows_in(made.directory, "invoice_lines") == []
    assert (made.manifest.kind, made.manifest.until) == ("extract", APRIL)


async def test_the_manifest_covers_every_file(kept: Kept) -> None:
    """With its digest, rows, and the columns' types; the heads are those of the log."""
    manifest = kept.archive.manifest
    held = {str(path.relative_to(kept.archive.directory)) for path in kept.archive.directory.rglob("*-*.parquet")}
    assert {note.path for note in manifest.files} == held
    rows = {note.table: note.rows for note in manifest.files}
    assert rows["usage_events"] > 40
    assert (rows["rejected_events"], rows["retractions"], rows["wallet_ledger"] > 1) == (1, 1, True)
    (head,) = manifest.heads
    assert (head.position, head.counted_position) == (await kept.shop.head_position(), head.position)
    assert "sealing_keys" not in rows
