"""The objects that the flights are billed by. Each is looked for first, so that a second run makes none again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.example.client import Client
from app.example.errors import ExampleError
from app.example.source import EVENT_NAME, customer_id_of
from app.example.tariff import ANCHOR_DATE, METERS, PRODUCTS, ZONE, MeterPlan

COUNTRY = "US"


def accept_old_events(client: Client) -> None:
    """Let the tenant take events of any age: by default 2013 lies outside of the accepted window.

    It stays so afterwards, for a second run sends the same events again.
    """
    if client.get("/settings")["event_age_max"] != "none":
        client.patch("/settings", {"event_age_max": "none"})


def meters(client: Client) -> dict[str, str]:
    """The ids of the meters by name. Raises ``ExampleError`` when a name is taken by a meter that counts otherwise."""
    present = {meter["name"]: meter for meter in client.items("/meters")}
    ids: dict[str, str] = {}
    for plan in METERS:
        found = present.get(plan.name)
        if found is not None:
            _check_same(plan, found)
        ids[plan.name] = (found or client.post("/meters", plan.declaration()))["id"]
    return ids


def _check_same(plan: MeterPlan, found: Mapping[str, Any]) -> None:
    aggregation = found["aggregation"]
    # An answer may hold `null` where a declaration says nothing.
    counts = (found["event_name"], aggregation["type"], aggregation.get("key"), found.get("filter"))
    if counts != (EVENT_NAME, plan.aggregation["type"], plan.aggregation.get("key"), plan.filter):
        raise ExampleError(
            f"this tenant has a meter '{plan.name}' that counts something else; run the example in a tenant of its own"
        )


def products(client: Client, meter_ids: Mapping[str, str]) -> dict[str, str]:
    """The ids of the products by name."""
    present = {product["name"]: product["product_id"] for product in client.items("/products")}
    return {
        plan.name: present.get(plan.name) or client.post("/products", plan.declaration(meter_ids))["product_id"]
        for plan in PRODUCTS
    }


def customers(client: Client, carriers: Mapping[str, str]) -> None:
    """A customer for every carrier, with midnight in New York as the edge of its months."""
    for carrier, name in carriers.items():
        customer_id = customer_id_of(carrier)
        if client.find(f"/customers/{customer_id}") is None:
            # The domain `.example` is reserved, so nobody's mailbox is named here.
            email = f"billing@{carrier.lower()}.example"
            client.post("/customers", {"customer_id": customer_id, "name": name, "email": email, "time_zone": ZONE})


def subscription(client: Client, carrier: str, product_ids: Iterable[str]) -> str:
    """The id of a carrier's subscription to the products, from the first day of the year."""
    wanted = list(product_ids)
    customer_id = customer_id_of(carrier)
    for found in client.items("/subscriptions", customer_id=customer_id):
        if {item["product_id"] for item in found["products"]} == set(wanted):
            return found["subscription_id"]
    return client.post(
        "/subscriptions",
        {
            "customer": {"customer_id": customer_id},
            "billing": {"country": COUNTRY},
            "products": [{"product_id": product_id, "quantity": 1} for product_id in wanted],
            "anchor_date": ANCHOR_DATE,
        },
    )["subscription_id"]
