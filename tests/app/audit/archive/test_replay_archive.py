"""Replaying an archive: its history lived through again, in a database that is gone afterwards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app.__main__ import parser
from app.audit.archive import replay_archive
from app.audit.commands import run_audit
from app.audit.invoice_replay import ReplayedInvoice
from app.settings import SettingError
from projections.database import Database
from tests.app.audit.archive.conftest import Kept


async def replayed(directory: Path, *more: str) -> int:
    return await run_audit(parser().parse_args(["audit", "replay", "--archive", str(directory), *more]), {})


async def test_every_invoice_comes_out_to_the_same_bytes(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    invoices = await kept.shop.service.pool.fetchval("select count(*) from invoice")
    assert invoices > 1
    assert await replayed(kept.archive.directory) == 0
    said = capsys.readouterr().out
    assert f"replayed {sum(head.position for head in kept.archive.manifest.heads):,} events" in said
    assert f"{invoices} invoices came out to the same bytes" in said


async def test_one_that_came_out_otherwise_is_named(
    kept: Kept, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, row = replay_archive.replay_invoice, await kept.shop.service.pool.fetchrow("select * from invoice limit 1")
    assert row is not None

    async def dearer(database: Database, *asked: object) -> ReplayedInvoice:
        done = await honest(database, *asked)  # type: ignore[arg-type]
        return msgspec.structs.replace(done, recomputed=done.recomputed.replace('"total_amount":', '"total_amount":9'))

    monkeypatch.setattr(replay_archive, "replay_invoice", dearer)
    assert await replayed(kept.archive.directory, "--tenant", row["tenant_id"], "--invoice", row["number"]) == 1
    said = capsys.readouterr().out
    assert f"tenant {row['tenant_id']}:\ninvoice {row['invoice_id']}, recomputed" in said
    assert "total_amount: issued" in said


def change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


async def test_a_changed_byte_is_found_before_anything_is_replayed(
    kept: Kept, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_a_byte(copied / next(one.path for one in kept.archive.manifest.files if one.table == "usage_events"))
    assert await replayed(copied) == 1
    assert "the archive does not fit" in capsys.readouterr().err


async def test_nothing_is_put_in_place_of_anything(kept: Kept) -> None:
    with pytest.raises(SettingError, match="--swap does not go with --archive"):
        await replayed(kept.archive.directory, "--swap")
