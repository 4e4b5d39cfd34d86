"""The vendor's official Python SDK against this API, with strict validation of every answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import dodopayments
import httpx
import pytest
from dodopayments import AsyncDodoPayments

from app.http.examples import PRICE as EXAMPLE_PRICE

# The vendor has declared creating subscriptions through anything but a checkout deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

PRICE = {**EXAMPLE_PRICE, "discount": 0, "purchasing_power_parity": False, "tax_inclusive": False}


@pytest.fixture
async def sdk(api: Any) -> AsyncIterator[AsyncDodoPayments]:
    """The SDK with nothing but a base URL and a key."""
    bearer = api.headers["Authorization"].removeprefix("Bearer ")
    async with (
        httpx.AsyncClient(transport=api._transport) as http,
        AsyncDodoPayments(
            base_url="http://test/", bearer_token=bearer, http_client=http, _strict_response_validation=True
        ) as client,
    ):
        yield client


async def made(sdk: AsyncDodoPayments) -> dict[str, str]:
    meter = await sdk.meters.create(
        name="Calls", event_name="api.call", aggregation={"type": "sum", "key": "n"}, measurement_unit="call"
    )
    meters = [{"meter_id": meter.id, "price_per_unit": "0.5", "free_threshold": 2}]
    product = await sdk.products.create(name="API", tax_category="saas", price={**PRICE, "meters": meters})
    customer = await sdk.customers.create(email="ada@example.com", name="Ada")
    subscription = await sdk.subscriptions.create(
        billing={"country": "US"},
        customer={"customer_id": customer.customer_id},
        product_id=product.product_id,
        quantity=1,
    )
    return {
        "meter": meter.id,
        "product": product.product_id,
        "customer": customer.customer_id,
        "subscription": subscription.subscription_id,
    }


async def ids_of(pages: Any, name: str) -> set[str]:
    """The ids of a list answer, of the one page that it is."""
    return {getattr(item, name) for item in pages.items}


async def test_events(sdk: AsyncDodoPayments) -> None:
    moment = datetime(2026, 3, 10, 11, 59, 30, 250, tzinfo=UTC)
    answered = await sdk.usage_events.ingest(
        events=[
            {
                "event_id": "a/b é",
                "customer_id": "ada",
                "event_name": "api.call",
                "timestamp": moment,
                "metadata": {"n": 3, "x": 0.5, "on": True, "text": "words"},
            },
            {"event_id": "plain", "customer_id": "bob", "event_name": "api.call"},
        ]
    )
    assert answered.ingested_count == 2
    event = await sdk.usage_events.retrieve("a/b é")
    assert (event.event_id, event.customer_id, event.timestamp) == ("a/b é", "ada", moment)
    assert event.metadata == {"n": 3, "x": 0.5, "on": True, "text": "words"}
    assert await ids_of(await sdk.usage_events.list(customer_id="ada", start=moment, end=moment), "event_id") == {
        "a/b é"
    }
    health = await sdk.usage_events.list(page_number=1, page_size=1)
    assert len(health.items) == 1


async def test_meters(sdk: AsyncDodoPayments) -> None:
    meter = await sdk.meters.create(
        name="Large",
        event_name="api.call",
        aggregation={"type": "max", "key": "n"},
        measurement_unit="call",
        description="of one region",
        filter={
            "conjunction": "or",
            "clauses": [
                {"conjunction": "and", "clauses": [{"key": "region", "operator": "equals", "value": "eu"}]},
                {"conjunction": "and", "clauses": [{"key": "n", "operator": "greater_than", "value": 10.5}]},
            ],
        },
    )
    assert await sdk.meters.retrieve(meter.id) == meter
    assert meter.filter is not None
    assert meter.filter.conjunction == "or"
    assert await ids_of(await sdk.meters.list(), "id") == {meter.id}
    assert await sdk.meters.archive(meter.id) is None
    with pytest.raises(dodopayments.APIStatusError) as gone:
        await sdk.meters.archive(meter.id)
    assert gone.value.status_code == 410
    assert await ids_of(await sdk.meters.list(), "id") == set()
    assert await ids_of(await sdk.meters.list(archived=True), "id") == {meter.id}
    assert await sdk.meters.unarchive(meter.id) is None
    assert await ids_of(await sdk.meters.list(), "id") == {meter.id}
    if hasattr(sdk.meters, "update"):
        changed = await sdk.meters.update(meter.id, name="Larger", description=None)
        assert (changed.name, changed.description, changed.measurement_unit) == ("Larger", None, "call")


async def test_products(sdk: AsyncDodoPayments) -> None:
    ids = await made(sdk)
    product = await sdk.products.retrieve(ids["product"])
    assert product.price.type == "usage_based_price"
    assert product.price.meters is not None
    (meter,) = product.price.meters
    assert (meter.meter_id, meter.price_per_unit, meter.free_threshold) == (ids["meter"], "0.5", 2)
    (item,) = (await sdk.products.list(recurring=True)).items
    assert (item.product_id, item.price, item.price_detail) == (ids["product"], 500, product.price)
    changed = {**PRICE, "fixed_price": 900}
    assert await sdk.products.update(ids["product"], name="API 2", price=changed) is None
    product = await sdk.products.retrieve(ids["product"])
    assert (product.name, product.price.fixed_price) == ("API 2", 900)
    assert await sdk.products.archive(ids["product"]) is None
    assert (await sdk.products.list()).items == []
    assert await sdk.products.unarchive(ids["product"]) is None


async def test_customers(sdk: AsyncDodoPayments) -> None:
    customer = await sdk.customers.create(
        email="ada@example.com", name="Ada", phone_number="+441", metadata={"plan": "gold"}
    )
    assert await sdk.customers.retrieve(customer.customer_id) == customer
    changed = await sdk.customers.update(customer.customer_id, name="Ada L", metadata={"plan": "iron"})
    assert (changed.name, changed.email, changed.metadata) == ("Ada L", "ada@example.com", {"plan": "iron"})
    found = await sdk.customers.list(email="ADA@", created_at_gte=datetime(2020, 1, 1, tzinfo=UTC))
    assert await ids_of(found, "customer_id") == {customer.customer_id}


async def test_subscriptions(sdk: AsyncDodoPayments) -> None:
    ids = await made(sdk)
    subscription = await sdk.subscriptions.retrieve(ids["subscription"])
    assert (subscription.status, subscription.recurring_pre_tax_amount) == ("active", 500)
    assert [meter.meter_id for meter in subscription.meters] == [ids["meter"]]
    listed = await sdk.subscriptions.list(
        customer_id=ids["customer"], product_id=ids["product"], status="active", page_size=100
    )
    assert await ids_of(listed, "subscription_id") == {ids["subscription"]}
    scheduled = await sdk.subscriptions.update(ids["subscription"], cancel_at_next_billing_date=True)
    assert scheduled.cancel_at_next_billing_date is True
    cancelled = await sdk.subscriptions.update(ids["subscription"], status="cancelled")
    assert cancelled.status == "cancelled"
    assert cancelled.cancelled_at is not None


async def test_usage_history(sdk: AsyncDodoPayments, api: Any) -> None:
    ids = await made(sdk)
    api.clock.advance(days=1)
    await sdk.usage_events.ingest(
        events=[
            {
                "event_id": str(number),
                "customer_id": ids["customer"],
                "event_name": "api.call",
                "metadata": {"n": 3},
            }
            for number in range(3)
        ]
    )
    await api.project()
    (period,) = (await sdk.subscriptions.retrieve_usage_history(ids["subscription"], meter_id=ids["meter"])).items
    (meter,) = period.meters
    assert (meter.id, meter.consumed_units, meter.chargeable_units) == (ids["meter"], "9", "7")
    assert (meter.free_threshold, meter.price_per_unit, meter.total_price) == (2, "0.5", 4)


async def test_paging(sdk: AsyncDodoPayments, api: Any) -> None:
    for number in range(5):
        api.clock.advance(seconds=1)
        await sdk.customers.create(email=f"{number}@example.com", name=str(number))
    names: list[str] = []
    # By hand: iterating from the default page, the SDK passes over page 1.
    for page in range(4):
        names += [item.name for item in (await sdk.customers.list(page_number=page, page_size=2)).items]
    assert names == ["4", "3", "2", "1", "0"]
    rest = [item.name async for item in sdk.customers.list(page_number=1, page_size=2)]
    assert rest == ["2", "1", "0"]


async def test_errors(sdk: AsyncDodoPayments, api: Any) -> None:
    with pytest.raises(dodopayments.NotFoundError) as missing:
        await sdk.meters.retrieve("mtr_none")
    assert missing.value.body == {"code": "METER_NOT_FOUND", "message": "there is no meter 'mtr_none'"}
    with pytest.raises(dodopayments.UnprocessableEntityError):
        await sdk.meters.list(page_size=101)
    with pytest.raises(dodopayments.BadRequestError) as refused:
        await sdk.usage_events.ingest(events=[{"event_id": "", "customer_id": "ada", "event_name": "x"}])
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["errors"][0]["field"] == "event_id"
    stranger = sdk.with_options(bearer_token="nobody")
    with pytest.raises(dodopayments.AuthenticationError):
        await stranger.meters.list()


async def test_a_lasting_conflict_is_asked_once(sdk: AsyncDodoPayments, api: Any) -> None:
    ids = await made(sdk)
    await sdk.subscriptions.update(ids["subscription"], status="cancelled")
    asked: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        asked.append(request)

    sdk._client.event_hooks = {"request": [note], "response": []}
    with pytest.raises(dodopayments.ConflictError):
        await sdk.subscriptions.update(ids["subscription"], status="cancelled")
    assert len(asked) == 1


async def test_credit_entitlements(sdk: AsyncDodoPayments) -> None:
    made_now = await sdk.credit_entitlements.create(
        name="SMS",
        unit="credit",
        precision=2,
        overage_enabled=True,
        overage_behavior="invoice_at_billing",
        overage_limit=100,
        currency="USD",
        price_per_unit="2",
        rollover_enabled=True,
        rollover_timeframe_count=1,
        rollover_timeframe_interval="Month",
    )
    assert await sdk.credit_entitlements.retrieve(made_now.id) == made_now
    assert await sdk.credit_entitlements.update(made_now.id, name="Texts", overage_limit=None) is None
    changed = await sdk.credit_entitlements.retrieve(made_now.id)
    assert (changed.name, changed.overage_limit, changed.rollover_timeframe_interval) == ("Texts", None, "Month")
    assert await sdk.credit_entitlements.delete(made_now.id) is None
    with pytest.raises(dodopayments.APIStatusError) as gone:
        await sdk.credit_entitlements.delete(made_now.id)
    assert gone.value.status_code == 410
    with pytest.raises(dodopayments.NotFoundError):
        await sdk.credit_entitlements.retrieve(made_now.id)
    assert await ids_of(await sdk.credit_entitlements.list(), "id") == set()
    assert await ids_of(await sdk.credit_entitlements.list(deleted=True), "id") == {made_now.id}
    assert await sdk.credit_entitlements.undelete(made_now.id) is None
    assert await ids_of(await sdk.credit_entitlements.list(), "id") == {made_now.id}


async def test_credit_balances(sdk: AsyncDodoPayments) -> None:
    ids = await made(sdk)
    entitlement = await sdk.credit_entitlements.create(
        name="SMS", unit="credit", precision=2, overage_enabled=False, rollover_enabled=False
    )
    account = {"customer_id": ids["customer"], "credit_entitlement_id": entitlement.id}
    entry = await sdk.credit_entitlements.balances.create_ledger_entry(
        **account,
        amount="10.5",
        entry_type="credit",
        expires_at=datetime(2036, 1, 1, tzinfo=UTC),
        idempotency_key="k",
        reason="goodwill",
        metadata={"n": "1"},
    )
    assert (entry.balance_before, entry.balance_after, entry.is_credit) == ("0", "10.5", True)
    with pytest.raises(dodopayments.ConflictError):
        await sdk.credit_entitlements.balances.create_ledger_entry(
            **account, amount="1", entry_type="credit", idempotency_key="k"
        )
    with pytest.raises(dodopayments.BadRequestError):
        await sdk.credit_entitlements.balances.create_ledger_entry(**account, amount="10.51", entry_type="debit")
    await sdk.credit_entitlements.balances.create_ledger_entry(**account, amount="4", entry_type="debit")
    found = await sdk.credit_entitlements.balances.retrieve(**account)
    assert (found.balance, found.overage) == ("6.5", "0")
    assert await ids_of(await sdk.credit_entitlements.balances.list(entitlement.id), "customer_id") == {ids["customer"]}
    (grant,) = (await sdk.credit_entitlements.balances.list_grants(**account, status="active")).items
    assert (grant.initial_amount, grant.remaining_amount, grant.source_type) == ("10.5", "6.5", "api")
    ledger = (await sdk.credit_entitlements.balances.list_ledger(**account)).items
    assert [one.transaction_type for one in ledger] == ["credit_deducted", "credit_added"]
    (held,) = (await sdk.customers.list_credit_entitlements(ids["customer"])).items
    assert (held.credit_entitlement_id, held.balance) == (entitlement.id, "6.5")
    assert (await sdk.subscriptions.retrieve_credit_usage(ids["subscription"])).items == []


async def test_wallets(sdk: AsyncDodoPayments) -> None:
    customer = await sdk.customers.create(email="ada@example.com", name="Ada")
    entries = sdk.customers.wallets.ledger_entries
    wallet = await entries.create(
        customer.customer_id, amount=500, currency="USD", entry_type="credit", idempotency_key="k", reason="goodwill"
    )
    assert (wallet.balance, wallet.currency) == (500, "USD")
    with pytest.raises(dodopayments.BadRequestError):
        await entries.create(customer.customer_id, amount=501, currency="USD", entry_type="debit")
    (entry,) = (await entries.list(customer.customer_id, currency="USD")).items
    assert (entry.after_balance, entry.event_type) == (500, "merchant_adjustment")
    listed = await sdk.customers.wallets.list(customer.customer_id)
    assert (listed.total_balance_usd, len(listed.items)) == (500, 1)
