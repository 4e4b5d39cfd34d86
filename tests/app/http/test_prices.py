"""Price models over HTTP: tiers, packages and credits of a meter, and every rule that a price may break."""

from __future__ import annotations

from typing import Any

import pytest

from app.limits import PRICE_TIERS_MAX
from tests.app.http.entitlements import add_entitlement

CREDITS = {"credit_entitlement_id": "cde_1", "meter_units_per_credit": "100"}
TIERS = [
    {"up_to": 2, "price_per_unit": "100"},
    {"up_to": "2.5", "price_per_unit": "50", "fixed_price": 7},
    {"price_per_unit": "10.50"},
]
STORED_TIERS = [
    {"up_to": "2", "price_per_unit": "100", "fixed_price": 0},
    {"up_to": "2.5", "price_per_unit": "50", "fixed_price": 7},
    {"up_to": None, "price_per_unit": "10.5", "fixed_price": 0},
]


def changed(at: int, **change: Any) -> list[dict[str, Any]]:
    """The tiers with one of them different; a field that becomes ``...`` is left out."""
    tiers = [dict(tier) for tier in TIERS]
    tiers[at] = {key: value for key, value in (tiers[at] | change).items() if value is not ...}
    return tiers


@pytest.mark.parametrize(
    ("meter", "named"),
    [
        ({}, "price_per_unit: is required"),
        ({"tiers": TIERS}, "tier_mode: is required with tiers"),
        ({"tier_mode": "steps", "tiers": TIERS}, "tier_mode"),
        ({"tier_mode": "graduated"}, "tiers: are required with tier_mode graduated"),
        ({"tier_mode": "volume", "tiers": []}, "tiers: are required with tier_mode volume"),
        ({"tier_mode": "volume", "price_per_unit": "1"}, "tiers: are required with tier_mode volume"),
        ({"tier_mode": "volume", "tiers": TIERS, "price_per_unit": "1"}, "price_per_unit: stands in each tier"),
        ({"tier_mode": "volume", "tiers": TIERS, "package_size": 5}, "package_size: goes with tier_mode package"),
        ({"price_per_unit": "1", "package_size": 5}, "package_size: goes with tier_mode package"),
        ({"tier_mode": "package", "price_per_unit": "1"}, "package_size: is required"),
        ({"tier_mode": "package", "package_size": 5}, "price_per_unit: is required"),
        ({"tier_mode": "package", "package_size": 5, **CREDITS}, "price_per_unit: is required"),
        ({"tier_mode": "package", "package_size": 5, "price_per_unit": "1", "tiers": TIERS}, "tiers: do not go"),
        ({"tier_mode": "package", "package_size": 0, "price_per_unit": "1"}, "package_size: must be above 0"),
        ({"tier_mode": "package", "package_size": "-1", "price_per_unit": "1"}, "package_size: must be above 0"),
        ({"tier_mode": "package", "package_size": "1e3", "price_per_unit": "1"}, "package_size: must be a number"),
        ({"tier_mode": "package", "package_size": 1.5, "price_per_unit": "1"}, "package_size"),
        ({"price_per_unit": "1", "free_threshold": ""}, "free_threshold: must be a number"),
        ({"price_per_unit": "1", "credit_entitlement_id": "cde_1"}, "meter_units_per_credit: is required"),
        ({"price_per_unit": "1", "meter_units_per_credit": "1"}, "credit_entitlement_id: is required"),
        ({**CREDITS, "meter_units_per_credit": "0"}, "meter_units_per_credit: must be above 0"),
        ({**CREDITS, "meter_units_per_credit": "x"}, "meter_units_per_credit: must be a number"),
        ({**CREDITS, "credit_entitlement_id": "cde_none"}, "credit_entitlement_id: there is no credit entitlement"),
    ],
)
async def test_a_broken_rule_of_a_meter_names_its_field(api: Any, make: Any, meter: dict[str, Any], named: str) -> None:
    await refused(api, make, meter, named)


@pytest.mark.parametrize(
    ("tiers", "named"),
    [
        (changed(1, up_to=2), "[1].up_to: must be above 2, where this tier begins"),
        (changed(1, up_to="1.999"), "[1].up_to: must be above 2"),
        (changed(0, up_to=0), "[0].up_to: must be above 0"),
        (changed(0, up_to=-1), "[0].up_to: must be above 0"),
        (changed(0, up_to=...), "[0].up_to: is required"),
        (changed(1, up_to=None), "[1].up_to: is required"),
        (changed(2, up_to=100), "[2].up_to: must be absent from the last tier"),
        (changed(1, up_to="three"), "[1].up_to: must be a number"),
        (changed(1, price_per_unit="-1"), "[1].price_per_unit: must not be negative"),
        (changed(1, price_per_unit="100000"), "[1].price_per_unit: must have at most"),
        (changed(1, price_per_unit=...), "price_per_unit"),
        (changed(1, fixed_price=-1), "fixed_price"),
        (changed(1, fixed_price=1.5), "fixed_price"),
        (changed(1, fixed_pricee=1), "[1].fixed_pricee: is unknown; did you mean fixed_price?"),
        (changed(1, upto=3), "[1].upto: is unknown; did you mean up_to?"),
        (
            [{"up_to": n, "price_per_unit": "1"} for n in range(1, PRICE_TIERS_MAX + 1)] + [{"price_per_unit": "1"}],
            f": at most {PRICE_TIERS_MAX} tiers",
        ),
    ],
)
async def test_a_broken_rule_of_a_tier_names_its_field(
    api: Any, make: Any, tiers: list[dict[str, Any]], named: str
) -> None:
    await refused(api, make, {"tier_mode": "graduated", "tiers": tiers}, named)


async def refused(api: Any, make: Any, meter: dict[str, Any], named: str) -> None:
    price = {**make.price, "meters": [{"meter_id": (await make.meter())["id"], **meter}]}
    answered = await api.post("/products", json={"name": "API", "tax_category": "saas", "price": price})
    assert answered.status_code == 422, answered.text
    assert named in answered.json()["message"]
    # What the schema of the body refuses is told by the framework, in its own words.
    if ": " in named:
        assert answered.json()["message"].startswith("price.meters[0]."), answered.text
    assert (await api.get("/products")).json() == {"items": []}


@pytest.mark.parametrize(
    ("meter", "shown"),
    [
        (
            {"tier_mode": "graduated", "tiers": TIERS},
            {"price_per_unit": None, "tier_mode": "graduated", "tiers": STORED_TIERS},
        ),
        ({"tier_mode": "volume", "tiers": TIERS[2:]}, {"tier_mode": "volume", "tiers": STORED_TIERS[2:]}),
        (
            {"tier_mode": "package", "package_size": 100, "price_per_unit": "9"},
            {"tier_mode": "package", "package_size": "100", "price_per_unit": "9"},
        ),
        (CREDITS, {"price_per_unit": None, **CREDITS}),
        ({**CREDITS, "price_per_unit": "1"}, {"price_per_unit": "1", **CREDITS}),
        ({**CREDITS, "tier_mode": "volume", "tiers": TIERS}, {"tiers": STORED_TIERS, **CREDITS}),
        ({"price_per_unit": "1", "tiers": [], "tier_mode": None}, {"price_per_unit": "1"}),
    ],
)
async def test_each_model_is_kept_and_shown(api: Any, make: Any, meter: dict[str, Any], shown: dict[str, Any]) -> None:
    await add_entitlement(api, "cde_1")
    meter_id = (await make.meter())["id"]
    product = await make.product(price={"meters": [{"meter_id": meter_id, **meter}]})
    (answered,) = product["price"]["meters"]
    assert answered.items() >= {"meter_id": meter_id, "name": "Calls", "free_threshold": 0, **shown}.items()
    assert ("tiers" in answered) == bool(meter.get("tiers"))
    (listed,) = (await api.get("/products")).json()["items"]
    assert listed["price_detail"] == product["price"]
    # What was answered can be sent again as it is.
    again = await api.patch(f"/products/{product['product_id']}", json={"price": product["price"]})
    assert again.status_code == 200, again.text
    assert (await api.get(f"/products/{product['product_id']}")).json()["price"] == product["price"]


async def test_a_deleted_or_foreign_entitlement_cannot_be_burned(api: Any, make: Any, stranger: Any) -> None:
    await add_entitlement(api, "cde_1", deleted=True)
    await refused(api, make, CREDITS, "credit_entitlement_id: there is no credit entitlement 'cde_1'")
    await add_entitlement(api, "cde_2")
    meter = await stranger.post(
        "/meters",
        json={"name": "C", "event_name": "c", "aggregation": {"type": "count"}, "measurement_unit": "call"},
    )
    meters = [{"meter_id": meter.json()["id"], **CREDITS, "credit_entitlement_id": "cde_2"}]
    body = {"name": "API", "tax_category": "saas", "price": {**make.price, "meters": meters}}
    foreign = await stranger.post("/products", json=body)
    assert (foreign.status_code, foreign.json()["code"]) == (422, "CREDIT_ENTITLEMENT_NOT_FOUND")


async def test_overage_in_another_currency_cannot_be_invoiced(api: Any, make: Any) -> None:
    await add_entitlement(api, "cde_1", currency="EUR", price_per_unit="2", invoiced=True)
    await refused(api, make, CREDITS, "credit_entitlement_id: overage is priced in EUR, the product in USD")
    # The line's own price takes what credits do not cover, so that no overage is invoiced.
    meter_id = (await make.meter())["id"]
    await make.product(price={"meters": [{"meter_id": meter_id, **CREDITS, "price_per_unit": "1"}]})
    await make.product(price={"currency": "EUR", "meters": [{"meter_id": meter_id, **CREDITS}]})


async def test_an_estimate_is_rated_by_the_tiers(api: Any, make: Any) -> None:
    meter_id = (await make.meter())["id"]
    product = await make.product(price={"meters": [{"meter_id": meter_id, "tier_mode": "graduated", "tiers": TIERS}]})
    await make.customer(customer_id="ada")
    subscription = await make.subscription("ada", product["product_id"])
    await api.ingest(*(make.event(number) for number in range(3)))
    await api.project()
    estimate = (await api.get(f"/subscriptions/{subscription['subscription_id']}/estimate")).json()
    usage = estimate["lines"][1]
    # 2 * 100, then 0.5 * 50 + 7, then 0.5 * 10.5.
    assert usage["amount"] == 237
    assert [tier["amount"] for tier in usage["tiers"]] == ["200", "32", "5.25"]
    api.clock.advance(days=40)
    await api.project()
    closed = await api.post(f"/subscriptions/{subscription['subscription_id']}/close-cycle")
    assert closed.json()["lines"] == estimate["lines"]
