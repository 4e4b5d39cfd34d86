"""Simulations over HTTP: a stream of lines, refused before it begins when the proposal is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.simulating.page import SQL
from tests.conftest import Api, application

PRICE: dict[str, Any] = {
    "type": "usage_based_price",
    "currency": "USD",
    "fixed_price": 100,
    "payment_frequency_count": 1,
    "payment_frequency_interval": "Month",
    "subscription_period_count": 20,
    "subscription_period_interval": "Year",
}


async def made(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answered = await api.post(path, json=body)
    assert answered.is_success, answered.text
    found: dict[str, Any] = answered.json()
    return found


async def a_business(api: Api) -> dict[str, str]:
    """Calls at 2 cents beyond 1, a fee of a dollar, and Ada, who made three calls."""
    meter = await made(
        api,
        "/meters",
        {"name": "Calls", "event_name": "call", "measurement_unit": "call", "aggregation": {"type": "count"}},
    )
    line = {"meter_id": meter["id"], "price_per_unit": "2", "free_threshold": 1}
    product = await made(
        api, "/products", {"name": "API", "tax_category": "saas", "price": {**PRICE, "meters": [line]}}
    )
    await made(api, "/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada"})
    order = {"customer": {"customer_id": "ada"}, "billing": {"country": "US"}, "product_id": product["product_id"]}
    await made(api, "/subscriptions", {**order, "quantity": 1, "anchor_date": "2026-03-01"})
    events = [{"event_id": f"e{n}", "event_name": "call", "customer_id": "ada", "metadata": {"n": n}} for n in range(3)]
    assert (await api.ingest(*events)).is_success
    await api.project()
    return {"meter": meter["id"], "product": product["product_id"]}


async def simulated(api: Api, body: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answered = await api.post("/simulations", json=body, params=query)
    assert answered.status_code == 200, answered.text
    assert answered.headers["content-type"].startswith("application/x-ndjson")
    return [msgspec.json.decode(line) for line in answered.content.splitlines()]


def change(ids: dict[str, str], **fields: Any) -> dict[str, Any]:
    return {"products": [{"product_id": ids["product"], **fields}]}


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"price": {**PRICE, "currency": "EUR"}}, "products[0].price.currency", "INVALID_FIELD"),
        ({"price": {**PRICE, "payment_frequency_count": 2}}, "products[0].price.payment_frequency", "INVALID_FIELD"),
        ({"price": {**PRICE, "fixed_prise": 1}}, "products[0].price.fixed_prise", "UNKNOWN_FIELD"),
        ({"meters": [{"meter_id": "mtr_x", "price_per_unit": "1"}]}, "products[0].meters[0].meter_id", "METER"),
        ({"thresholds": [{"meter_id": "x", "free_threshold": 1}]}, "products[0].thresholds[0].meter_id", "METER"),
        ({"without_meters": ["mtr_x"]}, "products[0].without_meters[0]", "METER_NOT_FOUND"),
        (
            {"credit_entitlements": [{"credit_entitlement_id": "x", "credits_amount": 1}]},
            "products[0].credit",
            "CREDIT",
        ),
        ({"free_threshold": 3}, "products[0].free_threshold", "UNKNOWN_FIELD"),
    ],
)
async def test_a_proposal_that_is_none_is_refused(api: Api, fields: Any, field: str, code: str) -> None:
    ids = await a_business(api)
    answered = await api.post("/simulations", json=change(ids, **fields))
    assert answered.status_code == 422, answered.text
    assert answered.json()["code"].startswith(code)
    assert answered.json()["message"].startswith(field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"products": [{"product_id": "pdt_x"}]}, "products[0].product_id"),
        ({"start": "2026-04-01T00:00:00Z", "end": "2026-04-01T00:00:00Z"}, "end"),
        ({"start": "yesterday"}, "start"),
        ({"customer_ids": []}, "customer_ids"),
        ({"product": []}, "product"),
    ],
)
async def test_a_span_or_name_that_is_none_is_refused(api: Api, body: Any, field: str) -> None:
    answered = await api.post("/simulations", json=body)
    assert answered.status_code == 422, answered.text
    assert answered.json()["message"].startswith(field)


async def test_the_open_cycles_at_another_price(api: Api) -> None:
    ids = await a_business(api)
    line = {"meter_id": ids["meter"], "price_per_unit": "5", "free_threshold": "0.5"}
    begun, customer, advanced, totals = await simulated(api, change(ids, meters=[line], fixed_price=150))
    assert (begun["type"], begun["customers"], advanced["customers"]) == ("begun", 1, 1)
    # A dollar and two calls of 2 cents; a dollar and a half and 2.5 calls of 5 cents, 12.5 rounded away from zero.
    (amounts,) = customer["amounts"]
    assert (amounts["current_amount"], amounts["proposed_amount"], amounts["difference"]) == (104, 163, 59)
    (cycle,) = customer["cycles"]
    assert (cycle["cycle_start"], cycle["invoice_id"]) == ("2026-03-01T00:00:00.000000Z", None)
    assert totals["amounts"] == [{**amounts, "customers_more": 1, "customers_less": 0, "customers_same": 0}]
    assert begun["position"] == customer["position"]


async def test_the_whole_invoices_of_both_sides(api: Api) -> None:
    ids = await a_business(api)
    (_, customer, *_) = await simulated(api, change(ids, price={**PRICE, "fixed_price": 7}), detail="invoices")
    (cycle,) = customer["cycles"]
    assert [line["amount"] for line in cycle["current"]["lines"]] == [100, 4]
    assert [line["amount"] for line in cycle["proposed"]["lines"]] == [7]
    assert cycle["proposed"]["total_amount"] == 7
    (_, customer, *_) = await simulated(api, {}, detail="amounts")
    assert "cycles" not in customer


async def test_a_new_meter_with_a_filter(api: Api) -> None:
    ids = await a_business(api)
    clause = {"key": "n", "operator": "greater_than_or_equals", "value": 1.0}
    meter = {
        "meter_id": "large",
        "name": "Large calls",
        "event_name": "call",
        "measurement_unit": "call",
        "aggregation": {"type": "sum", "key": "n"},
        "filter": {"conjunction": "and", "clauses": [clause]},
    }
    lines = [{"meter_id": "large", "price_per_unit": "10"}]
    body = {**change(ids, meters=lines, without_meters=[ids["meter"]]), "meters": [meter]}
    (_, customer, *_) = await simulated(api, body, detail="invoices")
    assert [line["amount"] for line in customer["cycles"][0]["proposed"]["lines"]] == [100, 30]
    body["meters"][0]["meter_id"] = ids["meter"]
    answered = await api.post("/simulations", json=body)
    assert (answered.status_code, answered.json()["message"][:18]) == (422, "meters[0].meter_id")


async def test_a_stop_is_told_and_totals_are_missing(api: Api) -> None:
    await a_business(api)
    application()[0].state.operating.draining.begin()
    lines = await simulated(api, {})
    assert [line["type"] for line in lines] == ["begun", "problem"]
    assert lines[-1]["code"] == "STOPPING"


async def test_while_one_runs_another_is_refused(api: Api) -> None:
    ids = await a_business(api)
    async with api.service.pool.acquire() as other:
        await other.execute(SQL["try_alone"])
        answered = await api.post("/simulations", json=change(ids, fixed_price=1))
        await other.execute(SQL["leave"])
    assert (answered.status_code, answered.json()["code"]) == (409, "SIMULATION_RUNNING")


async def test_a_key_that_only_sends_may_not_ask(api: Api) -> None:
    key = (await api.post("/api-keys", json={"scope": "ingest"})).json()["secret"]
    answered = await api.post("/simulations", json={}, headers={"Authorization": f"Bearer {key}"})
    assert answered.status_code == 403
