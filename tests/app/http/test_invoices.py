"""From the first request to an invoice, through the whole HTTP application."""

from __future__ import annotations

from typing import Any

PRICE = {
    "type": "usage_based_price",
    "currency": "USD",
    "fixed_price": 500,
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
    "subscription_period_count": 20,
    "subscription_period_interval": "Year",
}


async def subscribed(api: Any, *, anchor_date: str | None = "2026-03-01", **price: Any) -> dict[str, str]:
    """A meter that counts calls, a product at 0.5 cents beyond 2, and a customer who has it."""
    meter = (
        await api.post(
            "/meters",
            json={
                "name": "Calls",
                "event_name": "api.call",
                "aggregation": {"type": "count"},
                "measurement_unit": "call",
            },
        )
    ).json()
    meters = [{"meter_id": meter["id"], "price_per_unit": "0.5", "free_threshold": 2}]
    product = await api.post(
        "/products",
        json={"name": "API", "tax_category": "saas", "price": {**PRICE, "meters": meters, **price}},
    )
    assert product.status_code == 200, product.text
    customer = await api.post("/customers", json={"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    assert customer.status_code == 200, customer.text
    body = {
        "customer": {"customer_id": "ada"},
        "billing": {"country": "US"},
        "product_id": product.json()["product_id"],
        "quantity": 2,
    }
    if anchor_date:
        body["anchor_date"] = anchor_date
    made = await api.post("/subscriptions", json=body)
    assert made.status_code == 200, made.text
    return {
        "meter": meter["id"],
        "product": product.json()["product_id"],
        "subscription": made.json()["subscription_id"],
    }


def call(number: int, timestamp: str = "2026-03-09T12:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"call-{number}",
        "customer_id": "ada",
        "event_name": "api.call",
        "timestamp": timestamp,
        **more,
    }


async def test_a_cycle_becomes_an_invoice(api: Any) -> None:
    ids = await subscribed(api)
    answered = await api.ingest(*(call(number) for number in range(7)))
    assert answered.json()["ingested_count"] == 7
    await api.project()
    estimate = (await api.get(f"/subscriptions/{ids['subscription']}/estimate")).json()
    early = await api.post(f"/subscriptions/{ids['subscription']}/close-cycle")
    assert (early.status_code, early.json()["code"]) == (409, "CYCLE_NOT_ENDED")
    assert early.headers["x-should-retry"] == "false"
    api.clock.advance(days=30)
    closed = await api.post(f"/subscriptions/{ids['subscription']}/close-cycle")
    assert closed.status_code == 200, closed.text
    invoice = closed.json()
    assert invoice["lines"] == estimate["lines"]
    assert [(line["kind"], line["amount"]) for line in invoice["lines"]] == [("fixed", 1000), ("usage", 3)]
    usage = invoice["lines"][1]
    assert (usage["consumed_units"], usage["free_units"], usage["paid_units"]) == ("7", "2", "5")
    assert invoice["number"] == "INV-000001"
    assert invoice["total_amount"] == 1003
    again = await api.post(
        f"/subscriptions/{ids['subscription']}/close-cycle", json={"cycle_start": "2026-03-01T00:00:00Z"}
    )
    assert again.content == closed.content
    read = await api.get(f"/invoices/{invoice['invoice_id']}")
    assert read.json() == invoice
    listed = await api.get("/invoices", params={"subscription_id": ids["subscription"]})
    assert listed.json() == {"items": [invoice]}
