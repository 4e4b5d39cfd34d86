"""Retiring a month: its rows go, the chain stays, and whoever needs the rows is told where they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg
import msgspec
import pytest

from app.audit.archive.exporting import Wanted
from app.audit.archive.manifest import ArchiveError, DoesNotFit
from app.audit.archive.places import filled_place, retired_notes
from app.audit.archive.reading import Archive, check_chain
from app.audit.archive.retiring import bring_back, month_of, retire
from app.audit.archive.streaming import owner_of
from app.audit.archive.tables import USAGE_EVENTS
from app.audit.crew import crew
from app.audit.findings import Verdict
from app.audit.verifying import verify
from app.engine.launcher import Engine
from app.event_log import SQL as APPEND
from app.invoicing import void
from app.projecting import project_all
from app.retired import RETIRED, check_history, check_window
from app.service import Service
from app.voiding import void_events
from domain.errors import Gone
from domain.tenant import Tenant
from projections.log_reader import aggregate
from projections.quantities import counted_meters
from projections.rebuild import rebuild
from projections.usage import Question, measure
from tests.app.audit.archive.history import MONTH, Old, exported, long_open, retire_march
from tests.app.audit.archive.test_reading import changed, rewrite
from tests.app.log_rows import record_usage, stored, use
from tests.app.shop import APRIL, MARCH
from tests.conftest import RULES

CUT = MARCH + timedelta(hours=4, minutes=30)
JULY = datetime(2026, 7, 20, tzinfo=UTC)


@pytest.fixture
async def old(engine: Engine, tmp_path: Path) -> AsyncIterator[Old]:
    async with long_open(engine, tmp_path) as opened:
        yield opened


async def retired(old: Old) -> None:
    (held,) = await retire_march(old)
    assert (held.tenant_id, held.events) == (old.shop.tenant_id, 12)


async def partitions(old: Old) -> set[str]:
    rows = await old.shop.service.pool.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'log.usage_event'::regclass"
    )
    return {row["name"] for row in rows}


async def test_the_rows_go_and_the_chain_and_the_ids_stay(old: Old) -> None:
    shop = old.shop
    before = {row["event_id"] for _, row in await stored(shop.service, shop.tenant_id)}
    await retired(old)
    pool = shop.service.pool
    assert "log.usage_event_2026_03" not in await partitions(old)
    assert await pool.fetchval("select count(*) from log.usage_event where tenant_id = $1", shop.tenant_id) == 1
    assert await pool.fetchval("select count(*) from log.event_key where tenant_id = $1", shop.tenant_id) == len(before)
    tenant = await aggregate(pool, shop.tenant_id, Tenant, shop.tenant_id)
    assert tenant is not None
    assert tenant.retired_months == {"2026-03": Archive(old.archive).exported.digest}
    state = await pool.fetchval("select state from log.domain_event where kind = 'usage.retired'")
    said = msgspec.json.decode(state)
    assert said["archive"] == Archive(old.archive).exported.digest
    assert (said["events"], said["settled_until"]) == (12, "2026-04-01T00:00:00Z")


async def test_used_ids_stay_used_and_what_cannot_be_compared_is_kept(old: Old) -> None:
    await retired(old)
    shop = old.shop
    async with shop.service.pool.acquire() as connection:
        receipt = await record_usage(connection, shop.tenant_id, [use("e0"), use("fresh")], old.clock.now)
        assert (receipt.ingested_count, receipt.duplicate_count, receipt.conflicts) == (1, 0, ["e0"])
        problems = await connection.fetchval("select problems from kept.rejected_event where event_id = 'e0'")
        assert "its content lies in an archive" in problems


async def test_whoever_needs_the_rows_is_told_and_whole_hours_are_answered(old: Old) -> None:
    shop = old.shop
    pool = shop.service.pool
    meter = (await counted_meters(pool, shop.tenant_id))["calls"]
    position = await shop.head_position()
    question = Question(shop.tenant_id, meter, "ada", position)
    before = [one.summary.events for one in await measure(pool, question, [MARCH, APRIL])]
    await retired(old)
    assert [one.summary.events for one in await measure(pool, question, [MARCH, APRIL])] == before == [12]
    for asked in (question, msgspec.structs.replace(question, customer_id=None)):
        with pytest.raises(asyncpg.PostgresError, match="lies in an archive") as raised:
            await measure(pool, asked, [MARCH, CUT])
        assert raised.value.sqlstate == RETIRED  # type: ignore[attr-defined]
    assert await shop.issued(str(old.invoice.invoice_id)) == old.invoice
    async with owner_of(old.dsn) as owner:
        with pytest.raises(asyncpg.PostgresError, match="lies in an archive"):
            await rebuild(owner, lambda *_: None, swap=False)


async def test_what_was_settled_with_them_does_not_change(old: Old) -> None:
    await retired(old)
    shop = old.shop
    with pytest.raises(asyncpg.PostgresError, match="lies in an archive"):
        await void_events(shop.service, shop.caller, ["e0"], "")
    with pytest.raises(Gone, match="settled for good"):
        await void(shop.service, shop.caller, str(old.invoice.invoice_id), None)
    with pytest.raises(Gone, match="settled for good"):
        await shop.subscribe(anchor=MONTH)
    async with shop.service.pool.acquire() as connection:
        with pytest.raises(Gone):
            await check_history(connection, shop.tenant_id)
        with pytest.raises(Gone):
            await check_window(connection, shop.tenant_id, None, old.clock.now)
        await check_window(connection, shop.tenant_id, timedelta(days=35), old.clock.now)
    assert (await void_events(shop.service, shop.caller, ["e12"], "")).voided_count == 1
    await shop.subscribe(anchor=JULY.date())


async def test_brought_back_everything_is_as_it_was(old: Old) -> None:
    shop = old.shop
    before = await stored(shop.service, shop.tenant_id)
    await retired(old)
    async with owner_of(old.dsn) as owner:
        assert await bring_back(owner, shop.service, Archive(old.archive), MONTH, lambda *_: None) == [shop.tenant_id]
        assert await stored(shop.service, shop.tenant_id) == before
        assert await rebuild(owner, lambda *_: None, swap=False) == []
        with pytest.raises(ArchiveError, match="is retired"):
            await bring_back(owner, shop.service, Archive(old.archive), MONTH, lambda *_: None)
    tenant = await aggregate(shop.service.pool, shop.tenant_id, Tenant, shop.tenant_id)
    assert tenant is not None
    assert tenant.retired_months == {}
    await retired(old)


async def verified(old: Old, *archives: Path) -> tuple[Verdict, list[str]]:
    async with filled_place(old.dsn, archives) as place, crew(partial(filled_place, old.dsn, archives), 1) as workers:
        (verdict,) = await verify(place, workers, {}, lambda _: None)
        return verdict, retired_notes(place)


async def test_the_chain_verifies_across_them_by_roots_or_from_an_archive(old: Old) -> None:
    assert (await verified(old))[1] == []
    await retired(old)
    verdict, notes = await verified(old)
    assert verdict.findings == []
    assert notes == [
        f"tenant {old.shop.tenant_id}: 12 usage events of 2026-03 are retired; verified by their recorded roots alone"
        " (with --with-archive, from their rows)"
    ]
    verdict, (note,) = await verified(old, old.archive)
    assert verdict.findings == []
    assert note.endswith(f"verified from {old.archive}")
    rewrite(old.archive, "usage_events", changed("metadata", "{}"))
    assert (await verified(old))[0].findings == []
    changed_one, _ = await verified(old, old.archive)
    assert "does not hold what was recorded" in changed_one.findings[0].message


async def test_an_export_takes_retired_rows_out_of_an_archive(old: Old, tmp_path: Path) -> None:
    await retired(old)
    with pytest.raises(ArchiveError, match="is retired: name an archive"):
        await exported(old.dsn, tmp_path / "without")
    made = await exported(old.dsn, tmp_path / "with", Wanted(archives=(Archive(old.archive),)))
    check_chain(Archive(made.directory))
    rows, before = [list(Archive(one).rows(old.shop.tenant_id, USAGE_EVENTS)) for one in (made.directory, old.archive)]
    assert rows == before


async def test_rows_that_are_only_called_retired_are_found(old: Old) -> None:
    """Whoever drops a month and says that it was retired does not have the log on his side."""
    async with owner_of(old.dsn) as owner:
        month = await month_of(owner, MONTH)
        await owner.execute(
            "insert into kept.retired_usage values ($1, $2, $3, $4, 6, 17, 12, now(), now(), now(), sha256('x'))",
            old.shop.tenant_id,
            MONTH,
            month.since_batch,
            month.until_batch,
        )
        await owner.execute("drop table log.usage_event_2026_03")
    verdict, _ = await verified(old)
    assert "the log does not say that it was" in verdict.findings[-1].message


async def test_a_row_missing_beside_a_retired_month_is_found(old: Old) -> None:
    await retired(old)
    async with owner_of(old.dsn) as owner:
        await owner.execute("set session_replication_role = replica")
        assert await owner.execute("delete from log.usage_event where event_id = 'e12'") == "DELETE 1"
    verdict, _ = await verified(old, old.archive)
    assert "events are gone" in verdict.findings[0].message


async def refused(old: Old, message: str, error: type[Exception] = ArchiveError, archive: Path | None = None) -> None:
    before = await old.shop.head_position()
    async with owner_of(old.dsn) as owner:
        with pytest.raises(error, match=message):
            await retire(owner, old.shop.service, Archive(archive or old.archive), MONTH, old.clock.now)
        assert (await month_of(owner, MONTH)).table is not None
    assert await old.shop.head_position() == before


async def test_a_damaged_archive_retires_nothing(old: Old) -> None:
    rewrite(old.archive, "usage_events", changed("metadata", "{}"))
    await refused(old, "are not those that were sealed", DoesNotFit)


async def test_an_archive_of_another_log_retires_nothing(old: Old) -> None:
    async with owner_of(old.dsn) as owner:
        await owner.execute("alter table log.commit disable trigger immutable")
        await owner.execute("update log.commit set digest = sha256('x')")
    await refused(old, "has another log here", DoesNotFit)


async def test_nothing_is_retired_too_soon_or_with_a_cycle_to_close(old: Old) -> None:
    shop, clock = old.shop, old.clock
    clock.now = APRIL + timedelta(days=1)
    await refused(old, "can be retired two days after its end")
    clock.now = JULY
    invoice_id = str(old.invoice.invoice_id)
    await void(shop.service, shop.caller, invoice_id, None)
    await refused(old, "is not closed")


async def test_nothing_is_retired_while_events_may_still_arrive(old: Old) -> None:
    rules = msgspec.structs.replace(RULES, event_age_max=None)
    old.shop.service = Service(old.shop.service.pool, old.clock, rules)
    await refused(old, "event_age_max is without limit")


async def test_nothing_is_retired_with_late_usage_to_invoice(old: Old) -> None:
    await old.shop.use(MARCH + timedelta(days=1))
    await project_all(old.shop.service)
    await refused(old, "late usage of subscription")


async def test_nothing_is_retired_that_is_not_in_the_archive(old: Old) -> None:
    old.clock.now = MARCH + timedelta(days=30)
    async with old.shop.service.pool.acquire() as connection:
        await connection.execute(APPEND["ensure_partition"], MONTH)
        receipt = await record_usage(connection, old.shop.tenant_id, [use("late")], JULY)
    old.clock.now = JULY
    await refused(old, f"the archive ends before position {receipt.position}")
