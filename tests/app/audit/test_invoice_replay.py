"""An invoice is recomputed from the log alone, byte for byte, whatever came later and whatever the read models say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from asyncpg import Pool, Record
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.audit.invoice_replay import Deviation, ReplayedInvoice, deviations, replay_invoice
from app.audit.replaying import told_of_invoice
from app.database import connect_owner, open_pool
from app.voiding import void_events
from domain.errors import NotFound
from domain.invoice import DocumentType
from domain.subscription_events import Status
from tests.app.business import PLAIN, History, a_history, steps, terms
from tests.app.shop import MARCH
from tests.conftest import RULES


@pytest.fixture(scope="module")
async def shared_pool(dsn: str) -> AsyncIterator[Pool[Record]]:
    async with open_pool(dsn) as pool:
        yield pool


async def replayed(history: History) -> list[ReplayedInvoice]:
    pool, tenant_id = history.shop.service.pool, history.shop.tenant_id
    rows = await pool.fetch("select invoice_id from invoice where tenant_id = $1 order by position", tenant_id)
    async with pool.acquire() as connection:
        return [await replay_invoice(connection, RULES, tenant_id, row["invoice_id"]) for row in rows]


@settings(max_examples=2, phases=[Phase.generate])
@given(
    steps=steps, terms=terms, included=st.tuples(st.integers(0, 9), st.integers(0, 9)), days=st.sampled_from([None, 12])
)
async def test_every_invoice_of_any_history_is_the_log_s(
    shared_pool: Pool[Record],
    steps: list[tuple[str, int, int]],
    terms: dict[str, Any],
    included: tuple[int, int],
    days: int | None,
) -> None:
    history = await a_history(shared_pool, terms, included, days)
    for step in steps:
        await history.do(*step)
    await history.do("pass", 0, 20)
    await history.do("due", 0, 0)
    for one in await replayed(history):
        assert deviations(one.recorded, one.recomputed) == []
        assert one.proved


@pytest.fixture(scope="module")
async def billed(shared_pool: Pool[Record]) -> History:
    """March is closed, voided and closed again; calls of March come late; then April is closed with them on it."""
    history = await a_history(shared_pool, PLAIN, (3, 2), None)
    shop, clock = history.shop, history.clock
    await shop.pay_in(250)
    for subscription_id in history.subscriptions:
        await history.close(subscription_id, 0)
    await shop.use(*[MARCH + timedelta(days=11, hours=hour) for hour in range(5)])
    await history.close(history.subscriptions[0], 0)
    await history.do("void", 0, 0)
    await history.close(history.subscriptions[0], 0)
    await shop.use(MARCH + timedelta(days=12), MARCH + timedelta(days=20))
    await void_events(shop.service, shop.caller, ["e1", "e6"], "")
    await shop.customer("bob")
    await shop.subscribe("bob", products=["free"])
    clock.advance(days=45)
    history.documents += await shop.close_due()
    await ended(history)
    return history


async def ended(history: History) -> None:
    """Carol's subscription ends; what comes late for it, and what is retracted, gets documents of its own."""
    shop, clock = history.shop, history.clock
    await shop.customer("carol")
    subscription_id = await shop.subscribe("carol", products=["free"], anchor=None)
    inside = [clock.now + timedelta(hours=hour) for hour in range(3)]
    clock.advance(days=2)
    await shop.change(subscription_id, status=Status.cancelled)
    sent = shop.sent
    for calls in (inside[:1], inside[1:]):
        await shop.use(*calls, customer_id="carol")
        await shop.credits()
        clock.advance(days=1)
        history.documents += await shop.close_due()
    await void_events(shop.service, shop.caller, [f"e{sent}", f"e{sent + 1}"], "")
    await shop.credits()
    clock.advance(days=1)
    history.documents += await shop.close_due()


async def test_every_kind_of_document_is_the_log_s(billed: History) -> None:
    """Re-issued, void, with late usage of an earlier cycle, with retractions, of a group."""
    done = await replayed(billed)
    assert all(one.proved for one in done)
    documents = [msgspec.json.decode(one.recorded) for one in done]
    assert any(document["replaces"] for document in documents)
    assert any(line["kind"] == "adjustment" for document in documents for line in document["lines"])
    assert any(document["wallet_amount"] > 0 for document in documents)
    assert {document["type"] for document in documents} == set(DocumentType)
    assert len({one.position for one in done}) < len(done), "some share a commit"


async def test_no_read_model_is_asked(billed: History, dsn: str) -> None:
    """With every read model emptied or changed the invoices come out the same; only what is shown differs."""
    owner = await connect_owner(dsn)
    tenant_id, before = billed.shop.tenant_id, await replayed(billed)
    changing = owner.transaction()
    await changing.start()
    for table in ("quantity", "meter", "subscription", "credit_account", "late_hour", "product", "customer", "tenant"):
        await owner.execute(f"delete from {table} where tenant_id = $1", tenant_id)
    await owner.execute("update invoice set document = replace(document, 'USD', 'EUR') where tenant_id = $1", tenant_id)
    names = [one.invoice_id for one in before]
    after = [await replay_invoice(owner, RULES, tenant_id, name) for name in names]
    await changing.rollback()
    await owner.close()
    assert [one.recomputed for one in after] == [one.recorded for one in before]
    assert not any(one.proved for one in after)
    shown = [deviations(one.recorded, str(one.shown)) for one in after]
    assert all(Deviation("currency", '"USD"', '"EUR"') in found for found in shown)


async def test_an_invoice_that_the_log_does_not_give_is_told(billed: History, dsn: str) -> None:
    """An event is taken out of the log behind the service's back: the invoice says where it counted."""
    owner = await connect_owner(dsn)
    tenant_id = billed.shop.tenant_id
    first = next(one for one in await replayed(billed) if '"consumed_units":"5"' in one.recorded)
    changing = owner.transaction()
    await changing.start()
    await owner.execute("set local session_replication_role = replica")
    await owner.execute("delete from log.usage_event where tenant_id = $1 and event_id = 'e3'", tenant_id)
    done = await replay_invoice(owner, RULES, tenant_id, first.invoice_id)
    await changing.rollback()
    await owner.close()
    assert not done.proved
    paths = {one.path: (one.recorded, one.other) for one in deviations(done.recorded, done.recomputed)}
    assert ('"5"', '"4"') in paths.values()
    assert "\n".join(told_of_invoice(done)).count("gives another document") == 1


async def test_an_invoice_is_found_by_its_number(billed: History) -> None:
    async with billed.shop.service.pool.acquire() as connection:
        for one in await replayed(billed):
            number = msgspec.json.decode(one.recorded)["number"]
            found = await replay_invoice(connection, RULES, billed.shop.tenant_id, number)
            assert found.invoice_id == one.invoice_id
        for name in ("INV-999999", "000001", "inv_nothing", "", "INV-", "9" * 40):
            with pytest.raises(NotFound):
                await replay_invoice(connection, RULES, billed.shop.tenant_id, name)
        with pytest.raises(NotFound):
            await replay_invoice(connection, RULES, "another-tenant", "INV-000001")
