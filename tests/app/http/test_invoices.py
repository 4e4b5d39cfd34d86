"""From the first request to an invoice, through the whole HTTP application."""

from __future__ import annotations

from typing import Any


async def test_a_cycle_becomes_an_invoice(api: Any, make: Any) -> None:
    meter = await make.meter()
    product = await make.product(meter["id"])
    await make.customer(customer_id="ada")
    subscription = await make.subscription("ada", product["product_id"], quantity=2)
    path = f"/subscriptions/{subscription['subscription_id']}"
    answered = await api.ingest(*(make.event(number) for number in range(7)))
    assert answered.json()["ingested_count"] == 7
    await api.project()
    estimate = (await api.get(f"{path}/estimate")).json()
    early = await api.post(f"{path}/close-cycle")
    assert (early.status_code, early.json()["code"]) == (409, "CYCLE_NOT_ENDED")
    assert early.headers["x-should-retry"] == "false"
    api.clock.advance(days=30)
    closed = await api.post(f"{path}/close-cycle")
    assert closed.status_code == 200, closed.text
    invoice = closed.json()
    assert invoice["lines"] == estimate["lines"]
    assert [(line["kind"], line["amount"]) for line in invoice["lines"]] == [("fixed", 1000), ("usage", 3)]
    usage = invoice["lines"][1]
    assert (usage["consumed_units"], usage["free_units"], usage["paid_units"]) == ("7", "2", "5")
    assert invoice["number"] == "INV-000001"
    assert invoice["total_amount"] == 1003
    again = await api.post(f"{path}/close-cycle", json={"cycle_start": "2026-03-01T00:00:00Z"})
    assert again.content == closed.content
    read = await api.get(f"/invoices/{invoice['invoice_id']}")
    assert read.json() == invoice
    listed = await api.get("/invoices", params={"subscription_id": subscription["subscription_id"]})
    assert listed.json() == {"items": [invoice]}


async def test_invoices_of_one_instant_are_listed_by_what_was_issued_last(api: Any, make: Any) -> None:
    """Their numbers are texts: by them, 999999 would come after 1000000, and any prefix before any other."""
    await make.customer(customer_id="ada")
    product = await make.product()
    made = await make.subscription("ada", product["product_id"], anchor_date="2026-02-01")
    api.clock.advance(days=30)
    numbers: list[str] = []
    for prefix in ("Z-", "A-"):
        assert (await api.patch("/settings", json={"number_prefix": prefix})).status_code == 200
        closed = await api.post(f"/subscriptions/{made['subscription_id']}/close-cycle")
        numbers.append(closed.json()["number"])
    assert numbers == ["Z-000001", "A-000002"]
    listed = (await api.get("/invoices")).json()["items"]
    assert len({invoice["issued_at"] for invoice in listed}) == 1
    assert [invoice["number"] for invoice in listed] == ["A-000002", "Z-000001"]
