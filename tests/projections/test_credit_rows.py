"""Rows of entitlements, credit accounts and wallets: written with the events, and the same after a rebuild."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from asyncpg import Connection, Pool, Record

from app.keys import create_key, system_caller
from app.service import Service
from app.transaction import transaction
from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement, Terms
from domain.wallet import Wallet
from projections.rebuild import rebuild
from tests.conftest import RULES, MovingClock

TABLES = ("credit_entitlement", "credit_account", "wallet")


async def history(pool: Pool[Record], tenant_id: str) -> MovingClock:
    """Some of everything, made and changed in commits of their own."""
    clock = MovingClock()
    service, caller = Service(pool, clock, RULES), system_caller(tenant_id)
    await create_key(service, caller, scope="write")
    async with transaction(service, caller, "begin") as running:
        running.add(Entitlement.create("cde_1", precision=2, terms=Terms(name="AI", unit="credit"), at=running.now))
        account = CreditAccount.open("cde_1", "ada:1", 2, running.now)
        account.credit("grt_1", amount=Decimal(5), expires=None, at=running.now)
        running.add(account)
        wallet = Wallet.open("ada:1", "USD", running.now)
        wallet.move("wle_1", 500, None, None, running.now)
        running.add(wallet)
    clock.advance(hours=1)
    async with transaction(service, caller, "change") as running:
        entitlement = await running.get(Entitlement, "cde_1")
        entitlement.change(Terms(name="Texts", unit="credit"), running.now)
        entitlement.delete(running.now)
        account = await running.get(CreditAccount, CreditAccount.account_id("cde_1", "ada:1"))
        account.debit("cle_1", amount=Decimal(1), free={"grt_1": Decimal(5)}, at=running.now)
        (await running.get(Wallet, Wallet.wallet_id("ada:1", "USD"))).apply_to_invoice(200, "inv_1", running.now)
    return clock


async def rows_of(pool: Pool[Record]) -> list[dict[str, object]]:
    return [dict((await pool.fetch(f"select * from {table} where tenant_id = 'acme'"))[0]) for table in TABLES]


async def test_the_rows_follow_the_events_and_a_rebuild_gives_them_again(
    pool: Pool[Record], owner: Connection[Record]
) -> None:
    clock = await history(pool, "acme")
    made, changed = clock.now - timedelta(hours=1), clock.now
    rows = await rows_of(pool)
    for row in rows:
        assert (row["tenant_id"], row["created_at"], row["updated_at"]) == ("acme", made, changed)
    entitlement, account, wallet = rows
    assert (entitlement["credit_entitlement_id"], entitlement["precision_digits"], entitlement["deleted"]) == (
        "cde_1",
        2,
        True,
    )
    assert '"Texts"' in str(entitlement["terms"])
    assert (account["credit_entitlement_id"], account["customer_id"]) == ("cde_1", "ada:1")
    assert (wallet["customer_id"], wallet["currency"], wallet["balance"]) == ("ada:1", "USD", 300)
    assert await rebuild(owner, lambda *_: None, swap=True) == []
    assert await rows_of(pool) == rows


async def test_a_rebuild_mends_rows_that_the_log_does_not_give(pool: Pool[Record], owner: Connection[Record]) -> None:
    await history(pool, "other")
    await pool.execute("update wallet set balance = 1 where tenant_id = 'other'")
    await pool.execute("update credit_entitlement set deleted = false where tenant_id = 'other'")
    await pool.execute("delete from credit_account where tenant_id = 'other'")
    found = {difference.table for difference in await rebuild(owner, lambda *_: None, swap=True)}
    assert found == set(TABLES)
    assert await pool.fetchval("select balance from wallet where tenant_id = 'other'") == 300
