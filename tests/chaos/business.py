"""What the tenants of a run sell: every aggregation, a filter, a free threshold, credits and an alert."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

import httpx

DAYS_BACK = 6
"""Days between the first cycle of a subscription and today: so many cycles are due as soon as it is made."""

METERS: tuple[dict[str, Any], ...] = (
    {"name": "Calls", "aggregation": {"type": "count"}},
    {"name": "Tokens", "aggregation": {"type": "sum", "key": "n"}},
    {"name": "Peak", "aggregation": {"type": "max", "key": "n"}},
    {"name": "Latest", "aggregation": {"type": "last", "key": "n"}},
    {"name": "Users", "aggregation": {"type": "unique", "key": "who"}},
    {
        "name": "Large",
        "aggregation": {"type": "count"},
        "filter": {"conjunction": "and", "clauses": [{"key": "n", "operator": "greater_than", "value": 5}]},
    },
)
"""Meters of `api.call`."""


@dataclass
class Business:
    """One tenant of a run, with the ids that the service gave."""

    tenant_id: str
    key: str
    clocked: bool = False
    meter_ids: list[str] = field(default_factory=list[str])
    product_ids: list[str] = field(default_factory=list[str])
    customers: list[str] = field(default_factory=list[str])
    subscriptions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    first_day: date = date(2026, 1, 1)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def open(self, client: httpx.AsyncClient, grace: str) -> None:
        """Make meters, products and settings, and the first customers."""
        settings = {"event_age_max": "none", "event_ahead_max": "none", "close_grace": grace}
        await self.send(client, "PATCH", "/settings", settings)
        for meter in METERS:
            body = {"event_name": "api.call", "measurement_unit": "unit", **meter}
            self.meter_ids.append((await self.send(client, "POST", "/meters", body))["id"])
        sms = {"name": "SMS", "event_name": "sms", "measurement_unit": "SMS", "aggregation": {"type": "count"}}
        self.meter_ids.append((await self.send(client, "POST", "/meters", sms))["id"])
        entitlement = {
            "name": "SMS",
            "unit": "credit",
            "precision": 2,
            "overage_enabled": False,
            "rollover_enabled": False,
        }
        entitlement_id = (await self.send(client, "POST", "/credit-entitlements", entitlement))["id"]
        lines = [
            {"meter_id": meter_id, "price_per_unit": price, "free_threshold": free}
            for meter_id, price, free in zip(
                self.meter_ids, ("0.5", "0.125", "3", "2.5", "7", "1.75"), (3, 20, 0, 0, 1, 2), strict=False
            )
        ]
        await self._sell(client, "API", lines, 100)
        credit = {
            "meter_id": self.meter_ids[-1],
            "credit_entitlement_id": entitlement_id,
            "meter_units_per_credit": "1",
            "price_per_unit": "2",
        }
        included = [{"credit_entitlement_id": entitlement_id, "credits_amount": "15"}]
        await self._sell(client, "SMS", [credit], 0, credit_entitlements=included)

    async def _sell(
        self, client: httpx.AsyncClient, name: str, meters: list[dict[str, Any]], fixed_price: int, **more: Any
    ) -> None:
        price = {
            "type": "usage_based_price",
            "currency": "USD",
            "fixed_price": fixed_price,
            "payment_frequency_count": 1,
            "payment_frequency_interval": "Day",
            "subscription_period_count": 20,
            "subscription_period_interval": "Year",
            "meters": meters,
        }
        body = {"name": name, "tax_category": "saas", "price": price, **more}
        self.product_ids.append((await self.send(client, "POST", "/products", body))["product_id"])

    async def welcome(self, client: httpx.AsyncClient, customer_id: str, dice: Random) -> None:
        """A customer who subscribes to everything, and is told when something is reached."""
        await self.send(client, "POST", "/customers", self.customer(customer_id))
        for product_id in self.product_ids:
            made = await self.send(client, "POST", "/subscriptions", self.subscription(customer_id, product_id))
            self.subscriptions.append((made["subscription_id"], customer_id))
        alert = {"customer_id": customer_id, "kind": "amount", "threshold": str(dice.randrange(100, 300))}
        await self.send(client, "POST", "/alerts", alert)
        self.customers.append(customer_id)

    def customer(self, customer_id: str) -> dict[str, Any]:
        """The body that makes a customer."""
        return {"customer_id": customer_id, "email": f"{customer_id}@example.com", "name": customer_id}

    def subscription(self, customer_id: str, product_id: str) -> dict[str, Any]:
        """The body of a subscription whose first cycles have ended already."""
        return {
            "customer": {"customer_id": customer_id},
            "billing": {"country": "US"},
            "product_id": product_id,
            "quantity": 1,
            "anchor_date": self.first_day.isoformat(),
        }

    async def send(self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]) -> Any:
        """A request that has to succeed: nothing is broken yet."""
        answered = await client.request(method, path, json=body, headers=self.headers)
        assert answered.is_success, f"{method} {path}: {answered.status_code} {answered.text}"
        return answered.json()

    def a_day(self, dice: Random) -> date:
        """Some day of which a cycle may be closed."""
        return self.first_day + timedelta(days=dice.randrange(DAYS_BACK))
