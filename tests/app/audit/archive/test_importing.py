"""Importing an archive: the same log in another place, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.audit.archive.exporting import Wanted
from app.audit.archive.manifest import ArchiveError
from app.audit.archive.reading import Archive, check_chain
from app.audit.archive.streaming import owner_of
from app.commands import open_service
from app.engine.launcher import Engine
from app.http.customers import answers
from app.keys import create_key, system_caller
from app.projecting import project_all
from app.sealing import SealingKey, key_for, keys_of, unseal
from app.transaction import transaction
from domain.customer import Customer
from projections.fault_points import FAULTS, InjectedFault, arm
from projections.rebuild import rebuild
from tests.app.audit.archive.conftest import Kept
from tests.app.audit.archive.history import empty, exported, file_digests, heads_in, imported, opened_shop
from tests.app.first_form import in_the_first_form
from tests.app.log_rows import record_usage, rows_of, stored, use
from tests.conftest import RULES


async def test_the_same_heads_and_everything_goes_on(kept: Kept, engine: Engine, tmp_path: Path) -> None:
    """The log has the same digest, the read models fit it, used ids stay used, and a second export is the first."""
    dsn = await empty(engine)
    await imported(dsn, kept.archive.directory)
    async with owner_of(dsn) as owner, owner_of(kept.dsn) as origin:
        assert await heads_in(owner) == await heads_in(origin) != []
        assert await rebuild(owner, lambda *_: None, swap=False) == []
    async with opened_shop(dsn, kept.shop) as shop:
        assert await stored(shop.service, shop.tenant_id) == await stored(kept.shop.service, shop.tenant_id)
        assert await rows_of(shop.service, shop.tenant_id) == await rows_of(kept.shop.service, shop.tenant_id)
        await project_all(shop.service)
        again = await exported(dsn, tmp_path / "again")
        assert file_digests(again) == file_digests(kept.archive)
        async with shop.service.pool.acquire() as connection:
            resent = await record_usage(connection, shop.tenant_id, [use("e4")], shop.service.clock())
            assert (resent.ingested_count, resent.conflicts) == (0, ["e4"])
            new = await record_usage(connection, shop.tenant_id, [use("new")], shop.service.clock())
            assert (new.ingested_count, new.position) == (1, kept.archive.manifest.heads[0].position + 1)
        check_chain(Archive((await exported(dsn, tmp_path / "grown")).directory))
        assert await shop.stored_invoices() == await kept.shop.stored_invoices()
        assert (await create_key(shop.service, system_caller(shop.tenant_id), scope="read"))[0].startswith("key_")


async def test_with_the_keys_everything_is_as_it_was(kept: Kept, engine: Engine, tmp_path: Path) -> None:
    whole = await exported(kept.dsn, tmp_path / "whole", Wanted(secrets=True))
    dsn = await empty(engine)
    await imported(dsn, whole.directory)
    async with opened_shop(dsn, kept.shop) as shop:
        for table in ("api_key", "customer_key", "rejected_event"):
            asked = f"select * from kept.{table} order by tenant_id, 2, 3"
            rows = await shop.service.pool.fetch(asked)
            assert rows == await kept.shop.service.pool.fetch(asked) != []


async def test_without_the_keys_sealed_fields_stay_sealed(kept: Kept, engine: Engine) -> None:
    dsn = await empty(engine)
    await imported(dsn, kept.archive.directory)
    async with opened_shop(dsn, kept.shop) as shop, shop.service.pool.acquire() as connection:
        assert await connection.fetchval("select count(*) from kept.api_key") == 0
        assert await connection.fetchval("select count(secret) from kept.customer_key") == 0
        sealed = await connection.fetchval(
            "select personal from customer where tenant_id = $1 and customer_id = 'eve'", shop.tenant_id
        )
        assert sealed
        assert unseal((await keys_of(connection, shop.tenant_id, ["eve"]))["eve"], "eve", sealed) == {}
        # Who is written to again gets a key of his own, which opens nothing of before.
        assert unseal(await key_for(connection, shop.tenant_id, "eve"), "eve", sealed) == {}


@pytest.mark.parametrize("secrets", [False, True])
async def test_what_was_sealed_before_keys_had_marks_stays_sealed_under_a_new_key(
    engine: Engine, tmp_path: Path, secrets: bool
) -> None:
    """Such text does not tell which key it wants: where that did not come with it, it must not pass for tampered with.

    An archive with keys lacks one, too, of a customer whose key its own database had lost.
    """
    first, second = await empty(engine), await empty(engine)
    async with open_service(first, RULES) as service:
        caller = system_caller("acme")
        sealed = in_the_first_form(SealingKey(bytes(32)))
        async with transaction(service, caller, "customer.create") as running:
            running.add(
                Customer.create(
                    "ada", personal=sealed, time_zone="UTC", preferred_locale=None, metadata="{}", at=running.now
                )
            )
    archive = await exported(first, tmp_path / "archive", Wanted(secrets=secrets))
    await imported(second, archive.directory)
    async with open_service(second, RULES) as service, service.pool.acquire() as connection:
        (row,) = await connection.fetch("select * from customer where tenant_id = 'acme' and customer_id = 'ada'")
        assert row["personal"] == sealed
        (before,) = await answers(connection, "acme", [row])
        await key_for(connection, "acme", "ada")
        (after,) = await answers(connection, "acme", [row])
        assert before.email == after.email == ""


async def test_nothing_is_imported_beside_something(kept: Kept, engine: Engine) -> None:
    async with owner_of(kept.dsn) as owner:
        before = await heads_in(owner)
        with pytest.raises(ArchiveError, match="only imported into an empty one"):
            await imported(kept.dsn, kept.archive.directory)
        assert await heads_in(owner) == before


@pytest.mark.parametrize("point", ["import.span", "import.written"])
async def test_an_import_that_dies_leaves_nothing_and_is_done_again(kept: Kept, engine: Engine, point: str) -> None:
    dsn = await empty(engine)
    arm({FAULTS: f"{point}=raise"}, "test")
    try:
        with pytest.raises(InjectedFault):
            await imported(dsn, kept.archive.directory)
    finally:
        arm({}, "test")
    async with owner_of(dsn) as owner:
        assert await heads_in(owner) == []
        for table in ("log.commit", "log.usage_event", "log.event_key", "log.domain_event", "kept.rejected_event"):
            assert await owner.fetchval(f"select count(*) from {table}") == 0
        await imported(dsn, kept.archive.directory)
        assert await heads_in(owner) != []
