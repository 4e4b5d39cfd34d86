"""Checking every ledger: right ones are counted, a wrong one is found and named."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from app import ledger_check
from app.commands import check_every_ledger
from app.http.examples import PRICE
from app.ledger_check import SQL, Checked, check_ledgers, check_tenant
from domain import credit_ledger


@pytest.fixture(autouse=True)
async def only_this_tenant(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other tests' tenants share the database."""
    statement = f"select '{api.caller.tenant_id}' as tenant_id"
    monkeypatch.setattr(ledger_check, "SQL", {**SQL, "tenants": statement})


async def post(api: Any, path: str, body: dict[str, Any]) -> Any:
    answered = await api.post(path, json=body)
    assert answered.status_code in (200, 201), answered.text
    return answered.json()


async def trade(api: Any) -> str:
    """Two customers with credits and money, one of them with usage, closed and void; the entitlement's id."""
    terms = {"overage_enabled": True, "overage_behavior": "carry_deficit_auto_repay", "rollover_enabled": True}
    entitlement = await post(api, "/credit-entitlements", {"name": "SMS", "unit": "credit", "precision": 2, **terms})
    meter = await post(
        api,
        "/meters",
        {"name": "Calls", "event_name": "call", "aggregation": {"type": "count"}, "measurement_unit": "call"},
    )
    line = {"meter_id": meter["id"], "credit_entitlement_id": entitlement["id"], "meter_units_per_credit": "1"}
    included = {"credit_entitlement_id": entitlement["id"], "credits_amount": "5"}
    product = await post(
        api,
        "/products",
        {
            "name": "API",
            "tax_category": "saas",
            "price": {**PRICE, "meters": [line]},
            "credit_entitlements": [included],
        },
    )
    for customer_id in ("ada", "bob"):
        await post(api, "/customers", {"customer_id": customer_id, "email": "a@example.com", "name": "A"})
        entries = f"/credit-entitlements/{entitlement['id']}/balances/{customer_id}/ledger-entries"
        await post(api, entries, {"amount": "3", "entry_type": "credit"})
        await post(api, entries, {"amount": "1.25", "entry_type": "debit"})
        await post(
            api,
            f"/customers/{customer_id}/wallets/ledger-entries",
            {"amount": 900, "currency": "USD", "entry_type": "credit"},
        )
    order = {"customer": {"customer_id": "ada"}, "billing": {"country": "US"}, "product_id": product["product_id"]}
    subscription = await post(api, "/subscriptions", {**order, "quantity": 1, "anchor_date": "2026-03-01"})
    calls = [{"event_id": f"e{number}", "customer_id": "ada", "event_name": "call"} for number in range(9)]
    assert (await api.ingest(*calls)).status_code == 200
    api.clock.advance(days=25)
    close = f"/subscriptions/{subscription['subscription_id']}/close-cycle"
    invoice = await post(api, close, {})
    assert invoice["wallet_amount"] == 500
    await post(api, f"/invoices/{invoice['invoice_id']}/void", {})
    assert (await post(api, close, {}))["wallet_amount"] == 500
    await api.project()
    return entitlement["id"]


async def checked(api: Any) -> list[Checked]:
    return [one async for one in check_tenant(api.service, api.caller)]


async def test_a_tenant_without_ledgers(api: Any) -> None:
    summary = await check_ledgers(api.service)
    assert summary.text() == "0 credit accounts and 0 wallets checked; every ledger adds up"


async def test_every_ledger_is_checked_across_pages(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await trade(api)
    monkeypatch.setattr(ledger_check, "CHECK_PAGE", 1)
    assert [(one.kind, one.problems) for one in await checked(api)] == [
        ("credit accounts", []),
        ("credit accounts", []),
        ("wallets", []),
        ("wallets", []),
    ]
    summary = await check_ledgers(api.service)
    assert summary.text() == "2 credit accounts and 2 wallets checked; every ledger adds up"


async def test_a_wallet_whose_row_is_wrong_is_named(api: Any, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    await trade(api)
    flags = Namespace(database_url=dsn)
    assert await check_every_ledger(flags, {}) == 0
    tenant_id = api.caller.tenant_id
    await api.service.pool.execute(
        "update wallet set balance = balance + 1 where tenant_id = $1 and customer_id = 'bob'", tenant_id
    )
    assert await check_every_ledger(flags, {}) == 1
    right, wrong = capsys.readouterr().out.splitlines()
    assert right == "2 credit accounts and 2 wallets checked; every ledger adds up"
    assert wrong == (
        "2 credit accounts and 2 wallets checked; 1 do not add up. The first is the wallet in USD, customer bob,"
        f" tenant {tenant_id}: the read model says 901, the entries say 900"
    )


async def test_a_credit_account_that_does_not_add_up_is_named(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    entitlement_id = await trade(api)
    monkeypatch.setattr(credit_ledger, "check", lambda account, *_: [f"{account.customer_id} is wrong"])
    summary = await check_ledgers(api.service)
    assert summary.wrong == 2
    assert summary.first == (
        f"account of credit entitlement {entitlement_id}, customer ada, tenant {api.caller.tenant_id}: ada is wrong"
    )
