"""The checker: it finds nothing in a whole log, and each kind of damage by its invariant, with code of its own."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncpg import Connection, Record

from app.database import connect_owner, open_pool
from app.engine.launcher import Engine
from app.keys import create_key, system_caller
from app.projecting import project_all
from app.service import Caller, Service
from app.voiding import void_events
from projections.shape import LIVE
from tests.app.alerting.reading import set_alert
from tests.app.shop import APRIL, MARCH, Shop, sms_price
from tests.chaos.books import Books, read_books, tenants_of
from tests.chaos.check import OF_BOOKS, OF_EVIDENCE, judge
from tests.chaos.evidence import Evidence
from tests.conftest import RULES, MovingClock
from tests.projections.histories import new_database

HERE = Path(__file__).resolve().parent
TENANT, OTHER = "checked", "other"
INDEPENDENT = (
    "check",
    "check_log",
    "check_quantities",
    "check_invoices",
    "check_credits",
    "books",
    "naive",
    "evidence",
)
IN_MARCH = MARCH + timedelta(days=2)


@pytest.fixture(scope="module")
async def dsn(engine: Engine) -> str:
    """A database with two tenants who have lived through two months: usage, credits, late usage, a retraction."""
    dsn = await new_database(engine, "checked")
    async with open_pool(dsn) as pool:
        clock = MovingClock()
        for tenant_id in (TENANT, OTHER):
            await two_months(Service(pool, clock, RULES), clock, tenant_id)
    return dsn


async def two_months(service: Service, clock: MovingClock, tenant_id: str) -> None:
    clock.now = datetime.fromisoformat("2026-03-10T12:00:00Z")
    key_id, _ = await create_key(service, system_caller(tenant_id), scope="write")
    shop = Shop(service, Caller(tenant_id, key_id, "write", "test"))
    await shop.open()
    await shop.customer()
    await shop.entitle()
    await shop.sell("sms", sms_price("3"))
    await shop.pay_in(50)
    subscriptions = [await shop.subscribe(products=[product_id]) for product_id in ("api", "sms")]
    await set_alert(shop, "4")
    for number in range(8):
        await shop.use(IN_MARCH + timedelta(hours=number), metadata=f'{{"n": {number}.5}}')
    await shop.record([(IN_MARCH, '{"n": "many"}')])
    await project_all(service)
    clock.now = APRIL + timedelta(hours=2)
    for subscription_id in subscriptions:
        await shop.close(subscription_id, MARCH)
    await shop.use(IN_MARCH, IN_MARCH, APRIL + timedelta(hours=1))
    await void_events(service, shop.caller, ["e0"], "")
    clock.now += timedelta(days=31)
    for subscription_id in subscriptions:
        await shop.close(subscription_id, APRIL)
    await project_all(service)


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection[Record]]:
    """A connection that may damage anything: its triggers do not fire, and nothing of it stays."""
    connection = await connect_owner(dsn)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("set local session_replication_role = replica; set local timezone = 'UTC'")
    yield connection
    await transaction.rollback()
    await connection.close()


async def books_of(owner: Connection[Record]) -> list[Books]:
    return [await read_books(owner, tenant_id) for tenant_id in await tenants_of(owner)]


async def told_by(owner: Connection[Record]) -> Evidence:
    """What clients would know who had been told everything."""
    (books,) = [books for books in await books_of(owner) if books.tenant_id == TENANT]
    return Evidence(
        recorded={
            usage.event_id: {
                "event_name": usage.event_name,
                "customer_id": usage.customer_id,
                "timestamp": usage.at.isoformat(),
                "metadata": usage.metadata,
            }
            for usage in books.usage
        },
        refused={"refused"},
        voided={"e0"},
        invoices={f"{row['invoice_id']} {row['document']}": row["invoice_id"] for row in books.invoices},
        heads={books.head["position"]: books.head["digest"].hex()},
    )


async def test_a_whole_log_is_found_whole(owner: Connection[Record]) -> None:
    verdict = judge(await books_of(owner), {TENANT: await told_by(owner)})
    assert verdict.broken == []
    assert (verdict.tenants, verdict.events, verdict.acknowledged, verdict.invoices) == (2, 24, 12, 8)


OF_TENANT = f"tenant_id = '{TENANT}'"
EVENT = f"where {OF_TENANT} and event_id = 'e3'"
FIRST_INVOICE = f"invoice_id = (select min(invoice_id) from {LIVE}.invoice where {OF_TENANT})"
QUANTITY = (
    f"where {OF_TENANT} and meter_id = 'calls' and hour = (select min(hour) from {LIVE}.quantity where {OF_TENANT})"
)
DOCUMENT = (
    "update log.domain_event set state = convert_to(replace(convert_from(state, 'UTF8'), '{}', '{}'), 'UTF8')"
    f" where {OF_TENANT} and kind = 'invoice.issued'"
)
COPY_EVENT = (
    "insert into log.domain_event"
    " select tenant_id, originator_id, originator_version + 1000, position + 1000, kind, state"
    f" from log.domain_event where {OF_TENANT} and kind = '{{}}' order by position limit 1"
)

DAMAGE: dict[str, tuple[str, str]] = {
    "an event is gone": (f"delete from log.usage_event where {OF_TENANT} and event_id = 'e3'", "I1 I2"),
    "an event has other metadata": (f"update log.usage_event set metadata = '' {EVENT}", "I8"),
    "an event is at another time": (f"update log.usage_event set timestamp = timestamp + interval '1us' {EVENT}", "I8"),
    "an event is stored twice": (
        f"insert into log.usage_event select tenant_id, gen_random_uuid(), ordinal, event_id, event_name, customer_id,"
        f" timestamp, metadata from log.usage_event where {OF_TENANT} and event_id = 'e3'",
        "I1",
    ),
    "a key has no event": (f"insert into log.event_key values ('{TENANT}', 'x', gen_random_uuid(), 0)", "I1"),
    "what was refused is stored": (f"update log.usage_event set event_id = 'refused' {EVENT}", "I1 I2"),
    "a retraction is gone": (f"delete from log.retraction where {OF_TENANT}", "I1 I2"),
    "a commit is gone": (
        f"delete from log.commit where {OF_TENANT} and last_position ="
        f" (select max(last_position) from log.commit where {OF_TENANT} and kind = 'domain')",
        "I8",
    ),
    "a commit is earlier than the one before": (
        f"update log.commit set recorded_at = recorded_at - interval '1y' where {OF_TENANT} and first_position > 20",
        "I8",
    ),
    "the head is elsewhere": (f"update log.head set position = position + 1 where {OF_TENANT}", "I8"),
    "the projection is past the log": (f"update {LIVE}.progress set position = position + 1 where {OF_TENANT}", "I8"),
    "a page is counted twice": (f"update {LIVE}.quantity set events = events * 2 {QUANTITY}", "I3"),
    "a page is not counted": (f"delete from {LIVE}.quantity {QUANTITY}", "I3"),
    "a sum is off by the last digit": (
        f"update {LIVE}.quantity set total = total + 0.000000000001 where {OF_TENANT} and meter_id = 'tokens'",
        "I3",
    ),
    "an unmeasured event is not listed": (f"delete from {LIVE}.unmeasured_event where {OF_TENANT}", "I3"),
    "a line has other usage": (DOCUMENT.format(r"\"consumed_units\":\"9\"", r"\"consumed_units\":\"8\""), "I3"),
    "a line has another amount": (DOCUMENT.format(r"\"amount\":4", r"\"amount\":5"), "I5"),
    "a total is another one": (DOCUMENT.format(r"\"total_amount\":4", r"\"total_amount\":5"), "I5"),
    "an invoice has another digest": (DOCUMENT.format(r"\"digest\":\"", r"\"digest\":\"0"), "I5"),
    "a listed invoice has changed": (
        f"update {LIVE}.invoice set document = replace(document, 'USD', 'EUR') where {OF_TENANT} and {FIRST_INVOICE}",
        "I7",
    ),
    "an invoice is not listed": (f"delete from {LIVE}.invoice where {OF_TENANT} and {FIRST_INVOICE}", "I7"),
    "an invoice is listed as paid": (f"update {LIVE}.invoice set status = 'paid' where {OF_TENANT}", "I6"),
    "a number is given twice": (COPY_EVENT.format("invoice_number.assigned"), "I6"),
    "a number is left out": (
        f"delete from log.domain_event where {OF_TENANT} and originator_id = 'invoice_numbers:all'"
        " and originator_version = 3",
        "I6",
    ),
    "a cycle has two invoices": (
        "insert into log.domain_event select tenant_id, 'invoice:again', 1, position + 1000, kind, state"
        f" from log.domain_event where {OF_TENANT} and kind = 'invoice.issued' order by position limit 1",
        "I6",
    ),
    "credits are granted twice": (COPY_EVENT.format("credit.granted"), "I4"),
    "a grant is overdrawn": (
        "update log.domain_event set state = convert_to(regexp_replace(convert_from(state, 'UTF8'),"
        f""" '"amount":"3"', '"amount":"1"'), 'UTF8') where {OF_TENANT} and kind = 'credit.granted'""",
        "I4",
    ),
    "the wallet is drawn on twice": (COPY_EVENT.format("wallet.moved").replace("limit 1", "offset 1 limit 1"), "I4"),
    "an alert fires twice": (COPY_EVENT.format("alert.fired"), "I6"),
    "an invoice names another tenant's subscription": (
        f"update {LIVE}.invoice set subscription_id = (select min(subscription_id) from {LIVE}.subscription"
        f" where tenant_id = '{OTHER}') where {OF_TENANT} and {FIRST_INVOICE}",
        "I9",
    ),
}
"""What is done to the rows, and the invariant that has to be named."""


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_named_by_its_invariant(owner: Connection[Record], damage: str) -> None:
    told = await told_by(owner)
    statement, invariant = DAMAGE[damage]
    changed = await owner.execute(statement)
    assert not changed.endswith(" 0"), "the statement damages nothing"
    said = judge(await books_of(owner), {TENANT: told}).broken
    assert any(one.startswith(f"{invariant} ") for one in said), said


async def test_what_clients_know_and_the_log_does_not_is_named(owner: Connection[Record]) -> None:
    """Damage that leaves a whole log behind: only who was told otherwise can know."""
    told = await told_by(owner)
    event: dict[str, Any] = {"event_name": "call", "customer_id": "ada", "timestamp": None, "metadata": {}}
    told.recorded["never stored"] = event
    told.voided.add("e5")
    told.heads[5] = "00"
    told.invoices["inv_gone {}"] = "inv_gone"
    told.conflicts.append({"event_id": "e3", **told.recorded["e3"]})
    said = "\n".join(judge(await books_of(owner), {TENANT: told, "lost": told}).broken)
    for expected in (
        "'never stored' was acknowledged and is not stored",
        "'e5' was voided and is not retracted",
        "the head at position 5 was another one",
        "inv_gone was seen and is gone",
        "'e3' is stored with the content that lost a conflict",
        "I1 lost: nothing of it is stored",
    ):
        assert expected in said


def test_the_checker_uses_no_code_of_the_service() -> None:
    for name in INDEPENDENT:
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in names:
                assert module.split(".")[0] not in ("app", "projections", "domain"), f"{name} imports {module}"
                if module.startswith("tests."):
                    assert module.removeprefix("tests.chaos.") in INDEPENDENT, f"{name} imports {module}"


def test_every_invariant_is_asked_about() -> None:
    asked = {invariant for name, _ in (*OF_BOOKS, *OF_EVIDENCE) for invariant in name.split()}
    # The last one is asked of the service's own replay.
    assert asked | {"I10"} == {f"I{number}" for number in range(1, 11)}
