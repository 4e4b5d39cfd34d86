"""A tenant in test mode, ten days into a cycle: what the clock says is known, so forecasts are too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.app.dashboard.conftest import Site, Tenant

START, TENTH, END = "2030-01-01T00:00:00Z", "2030-01-11T00:00:00Z", "2030-02-01T00:00:00Z"
KEY = "2030-01-01T00:00:00.000000Z"


@dataclass
class Subscribed:
    """Tokens cost 0.1 cents beyond 1,000, an SMS one credit of 100; 5.00 USD a month. Ada is subscribed."""

    tenant: Tenant
    tokens: str
    sms: str
    credits: str
    product: str
    subscription: str
    sent: int = field(default=0)

    @property
    def path(self) -> str:
        return f"/dashboard/subscriptions/{self.subscription}"

    async def use(self, name: str = "llm.completion", at: str = "2030-01-05T12:00:00Z", **metadata: Any) -> None:
        """Record one event of Ada's."""
        self.sent += 1
        event = {"event_id": f"e{self.sent}", "customer_id": "ada", "event_name": name, "timestamp": at}
        answer = await self.tenant.post("/events/ingest", {"events": [{**event, "metadata": metadata}]})
        assert answer["ingested_count"] == 1, answer
        await self.tenant.project()

    async def move(self, to: str) -> None:
        """Move the clock."""
        await self.tenant.post("/test-clock/advance", {"to": to})


async def clocked(site: Site) -> Tenant:
    """A tenant whose clock stands at the beginning of 2030, and which takes usage of any age."""
    tenant = await site.tenant(test_mode=True)
    await tenant.post("/test-clock/advance", {"to": START})
    lifted = await tenant.api.patch("/settings", json={"event_age_max": "none", "close_grace": "2h"})
    assert lifted.is_success, lifted.text
    return tenant


async def meter(tenant: Tenant, name: str, event_name: str, unit: str, key: str | None = None) -> str:
    aggregation = {"type": "count"} if key is None else {"type": "sum", "key": key}
    body = {"name": name, "event_name": event_name, "measurement_unit": unit, "aggregation": aggregation}
    return (await tenant.post("/meters", body))["id"]


async def product(tenant: Tenant, name: str, *meters: dict[str, Any], **more: Any) -> str:
    price = {
        "type": "usage_based_price",
        "currency": "USD",
        "fixed_price": 500,
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 20,
        "subscription_period_interval": "Year",
        "meters": list(meters),
        **more.pop("price", {}),
    }
    body = {"name": name, "tax_category": "saas", "price": price, **more}
    return (await tenant.post("/products", body))["product_id"]


async def subscribed(site: Site, *, used: bool = True) -> Subscribed:
    """Used so far: 1,500 tokens and an SMS, in ten days of 31."""
    tenant = await clocked(site)
    tokens = await meter(tenant, "Tokens", "llm.completion", "token", "tokens")
    sms = await meter(tenant, "SMS", "sms.sent", "SMS")
    entitlement = {"name": "SMS credits", "unit": "credit", "precision": 0}
    switches = {"overage_enabled": False, "rollover_enabled": False}
    credits = (await tenant.post("/credit-entitlements", {**entitlement, **switches}))["id"]
    made = await product(
        tenant,
        "API",
        {"meter_id": tokens, "price_per_unit": "0.1", "free_threshold": 1000},
        {"meter_id": sms, "credit_entitlement_id": credits, "meter_units_per_credit": "1"},
        credit_entitlements=[{"credit_entitlement_id": credits, "credits_amount": "100"}],
    )
    await tenant.post("/customers", {"customer_id": "ada", "email": "ada@example.com", "name": "Ada Lovelace"})
    body = {"customer": {"customer_id": "ada"}, "billing": {"country": "US"}, "anchor_date": "2030-01-01"}
    subscription = (await tenant.post("/subscriptions", {**body, "product_id": made}))["subscription_id"]
    found = Subscribed(tenant, tokens, sms, credits, made, subscription)
    await found.move(TENTH)
    if used:
        await found.use(tokens=900)
        await found.use(at="2030-01-08T12:00:00Z", tokens=600)
        await found.use("sms.sent", at="2030-01-03T12:00:00Z")
    return found
