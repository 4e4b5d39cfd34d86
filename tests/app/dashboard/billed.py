"""A tenant with a customer who used something last month and was invoiced for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.app.dashboard.conftest import Tenant

EVENT_NAME = "llm.completion"


@dataclass
class Billed:
    """What was made: two meters of one event name, a product, and a subscription since the first of last month."""

    tenant: Tenant
    calls: str
    tokens: str
    subscription_id: str
    started: date

    @property
    def used_at(self) -> datetime:
        """An instant inside the first cycle."""
        return datetime(self.started.year, self.started.month, 5, 9, 30, tzinfo=UTC)

    async def use(self, event_id: str, *, at: datetime | None = None, **metadata: Any) -> int:
        """Record one event of Ada's; its position."""
        event = {
            "event_id": event_id,
            "customer_id": "ada",
            "event_name": EVENT_NAME,
            "timestamp": (at or self.used_at).isoformat(),
            "metadata": metadata,
        }
        answer = await self.tenant.post("/events/ingest", {"events": [event]})
        assert answer["ingested_count"] == 1, answer
        await self.tenant.project()
        return int(answer["position"])

    async def close(self) -> dict[str, Any]:
        """The invoice of the earliest cycle."""
        return await self.tenant.post(f"/subscriptions/{self.subscription_id}/close-cycle", {})


def last_month() -> date:
    return (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)


async def large_calls(tenant: Tenant) -> dict[str, Any]:
    """A meter that counts calls of the large model with more than ten tokens."""
    large = {"key": "model", "operator": "equals", "value": "large"}
    many = {"key": "tokens", "operator": "greater_than", "value": 10}
    return await tenant.post(
        "/meters",
        {
            "name": "Large calls",
            "event_name": EVENT_NAME,
            "measurement_unit": "call",
            "aggregation": {"type": "count"},
            "filter": {"conjunction": "and", "clauses": [large, many]},
        },
    )


async def billed(tenant: Tenant) -> Billed:
    """Large calls are counted and cost 3 cents; tokens beyond 1,000 cost by tiers; 5.00 USD a month."""
    lifted = await tenant.api.patch("/settings", json={"event_age_max": "none"})
    assert lifted.is_success, lifted.text
    calls = await large_calls(tenant)
    tokens = await tenant.post(
        "/meters",
        {
            "name": "Tokens",
            "event_name": EVENT_NAME,
            "measurement_unit": "token",
            "aggregation": {"type": "sum", "key": "tokens"},
        },
    )
    tiers = [
        {"up_to": "500", "price_per_unit": "0.1"},
        {"up_to": None, "price_per_unit": "0.05"},
    ]
    product = await tenant.post(
        "/products",
        {
            "name": "API",
            "tax_category": "saas",
            "price": {
                "type": "usage_based_price",
                "currency": "USD",
                "fixed_price": 500,
                "payment_frequency_count": 1,
                "payment_frequency_interval": "Month",
                "subscription_period_count": 20,
                "subscription_period_interval": "Year",
                "meters": [
                    {"meter_id": calls["id"], "price_per_unit": "3"},
                    {"meter_id": tokens["id"], "free_threshold": 1000, "tier_mode": "graduated", "tiers": tiers},
                ],
            },
        },
    )
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada Lovelace"})
    started = last_month()
    subscription = await tenant.post(
        "/subscriptions",
        {
            "customer": {"customer_id": "ada"},
            "billing": {"country": "US"},
            "product_id": product["product_id"],
            "quantity": 1,
            "anchor_date": started.isoformat(),
        },
    )
    return Billed(tenant, calls["id"], tokens["id"], subscription["subscription_id"], started)
