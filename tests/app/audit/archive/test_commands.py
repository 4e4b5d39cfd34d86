"""A month that leaves and comes back, at a terminal: real processes, and what a stranger is told by them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from app.audit.archive.manifest import read_manifest
from app.engine.launcher import Engine
from tests.app.audit.archive.history import empty, long_open, month_after
from tests.app.test_supervisor import ROOT, command


async def said(*arguments: str | Path) -> tuple[int, list[str], list[str]]:
    """The status of an audit command, the lines of its answer, and what else it said."""
    process = await asyncio.create_subprocess_exec(
        *command("audit", *map(str, arguments)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, besides = await process.communicate()
    assert process.returncode is not None
    return process.returncode, answer.decode().splitlines(), besides.decode().splitlines()


async def test_a_month_is_exported_retired_and_brought_back(engine: Engine, tmp_path: Path) -> None:
    """The month is one of this machine's past: the commands have no other clock."""
    first = month_after(datetime.now(UTC).date(), -5).date()
    month, archive, other = f"{first:%Y-%m}", tmp_path / "kept", await empty(engine)
    async with long_open(engine, tmp_path, first) as old:
        here, tenant_id = ("--database-url", old.dsn), old.shop.tenant_id
        status, answer, besides = await said("export", "--to", archive, *here)
        assert (status, besides) == (0, [])
        digest = read_manifest(archive).digest
        assert answer[0].startswith(f"archive:  {archive}  (")
        assert answer[0].endswith(", 13 usage events)")
        assert answer[1] == f"manifest: sha256 {digest}"
        (end,) = answer[2:]
        assert end.startswith(f"tenant {tenant_id}: up to position {await old.shop.head_position()}, digest ")

        assert await said("retire", month, "--archive", archive, *here) == (
            0,
            [
                f"tenant {tenant_id}: 12 usage events of {month} retired",
                f"Keep {archive}: nothing else holds these rows now. The log says which archive it was, by the",
                f"digest of its manifest, {digest}. They come back with:",
                f"taximeter audit bring-back {month} --archive {archive}",
            ],
            [],
        )
        again, (status, answer, besides), imported = await asyncio.gather(
            said("retire", month, "--archive", archive, *here),
            said("verify", *here),
            said("import", archive, "--database-url", other),
        )
        twice = f"taximeter: {month} is retired already; `taximeter audit bring-back {month}` puts it back"
        assert again == (2, [], [twice])
        assert (status, answer[-1], besides) == (0, "the log is as it was recorded", [])
        assert f"note: tenant {tenant_id}: 12 usage events of {month} are retired" in answer[-2]
        assert (imported[0], imported[1][0]) == (0, end)
        assert "make an API key with `taximeter key create`" in imported[1][1]

        back = await said("bring-back", month, "--archive", archive, *here)
        assert back == (0, [f"the usage of {month} is here again: {tenant_id}"], [])
        assert await old.shop.service.pool.fetchval("select count(*) from log.usage_event") == 13
