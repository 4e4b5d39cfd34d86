"""A world that plays stories through the HTTP API and PostgreSQL: a tenant in test mode with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import httpx

from tests.conftest import Api
from tests.scenarios.story import Json, Refused, Use
from tests.scenarios.tariff import MeterTariff, Money, Tariff, Tier, money

INGEST_MAX = 1_000
"""Events of one request: the wire contract's limit."""

PAGE = 100


def interval(prefix: str, text: str) -> Json:
    """``1 Month`` as the wire has it."""
    count, unit = text.split(" ")
    return {f"{prefix}_count": int(count), f"{prefix}_interval": unit}


def tier_body(tier: Tier) -> Json:
    """A tier on the wire."""
    return {
        "up_to": None if tier.up_to is None else str(tier.up_to),
        "price_per_unit": money(tier.each).plain,
        "fixed_price": money(tier.flat).whole if tier.flat else 0,
    }


def meter_price_body(price: MeterTariff, ids: dict[str, str]) -> Json:
    """A meter's price on the wire."""
    body: Json = {
        "meter_id": ids[price.meter],
        "price_per_unit": money(price.each).plain if price.each else None,
        "free_threshold": price.free,
        "tier_mode": price.mode,
        "tiers": [tier_body(tier) for tier in price.tiers] or None,
        "package_size": None if price.package is None else str(price.package),
        "credit_entitlement_id": ids[price.credits] if price.credits else None,
        "meter_units_per_credit": None if price.units_per_credit is None else str(price.units_per_credit),
    }
    return {key: value for key, value in body.items() if value is not None}


def price_body(tariff: Tariff, ids: dict[str, str]) -> Json:
    """A price on the wire."""
    return {
        "type": "usage_based_price",
        "currency": tariff.currency,
        "fixed_price": money(tariff.fee).whole,
        **interval("payment_frequency", tariff.every),
        **interval("subscription_period", tariff.lasts),
        "meters": [meter_price_body(price, ids) for price in tariff.prices],
    }


def credits_body(tariff: Tariff, ids: dict[str, str]) -> list[Json]:
    """The credits that come with a product, on the wire."""
    return [
        {"credit_entitlement_id": ids[one.credits], "credits_amount": one.amount, **one.terms} for one in tariff.credits
    ]


class OverHttp:
    """The API of a real application in process. Names of a story stand for ids of the service."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.ids: dict[str, str] = {}

    async def catch_up(self) -> None:
        """Bring the read models to the log's end."""
        await self.api.project()

    def name_of(self, object_id: str) -> str:
        return next(name for name, known in self.ids.items() if known == object_id)

    async def open(self, now: datetime, settings: Json) -> None:
        self.api.clock.now = now
        await self.call("PATCH", "/settings", {"test_mode": True, **settings})

    async def meter(self, name: str, event_name: str, aggregation: Json, condition: Json | None) -> None:
        body = {"name": name, "event_name": event_name, "aggregation": aggregation, "measurement_unit": "unit"}
        made = await self.call("POST", "/meters", {**body, **({"filter": condition} if condition else {})})
        self.ids[name] = made["id"]

    async def credits(self, name: str, terms: Json) -> None:
        body = {"name": name, "unit": "credit", "precision": 0, "overage_enabled": False, "rollover_enabled": False}
        self.ids[name] = (await self.call("POST", "/credit-entitlements", {**body, **terms}))["id"]

    async def product(self, name: str, tariff: Tariff) -> None:
        body: Json = {"name": name, "tax_category": "saas", "price": price_body(tariff, self.ids)}
        if tariff.credits:
            body["credit_entitlements"] = credits_body(tariff, self.ids)
        self.ids[name] = (await self.call("POST", "/products", body))["product_id"]

    async def customer(self, name: str, zone: str) -> None:
        body = {"customer_id": name, "email": f"{name}@example.com", "name": name, "time_zone": zone}
        await self.call("POST", "/customers", body)

    async def subscribe(self, name: str, customer: str, items: Json, anchor: str | None, trial_days: int) -> None:
        products = [{"product_id": self.ids[product], "quantity": quantity} for product, quantity in items.items()]
        body: Json = {"customer": {"customer_id": customer}, "billing": {"country": "US"}, "products": products}
        body |= {"anchor_date": anchor} if anchor else {}
        body |= {"trial_period_days": trial_days} if trial_days else {}
        self.ids[f"subscription {name}"] = (await self.call("POST", "/subscriptions", body))["subscription_id"]

    async def use(self, uses: Sequence[Use]) -> None:
        events = [
            {
                "event_id": use.event_id,
                "customer_id": use.customer,
                "event_name": use.event_name,
                "timestamp": use.at.isoformat(),
                "metadata": use.metadata,
            }
            for use in uses
        ]
        for first in range(0, len(events), INGEST_MAX):
            await self.call("POST", "/events/ingest", {"events": events[first : first + INGEST_MAX]})

    async def void_usage(self, event_ids: Sequence[str]) -> None:
        voided = await self.call("POST", "/events/void", {"event_ids": list(event_ids)})
        assert voided["not_found"] == []

    async def move_clock(self, to: datetime) -> None:
        await self.call("POST", "/test-clock/advance", {"to": to.isoformat()})

    async def close(self, subscription: str, start: datetime | None) -> None:
        path = self._subscription(subscription, "/close-cycle")
        await self.call("POST", path, {"cycle_start": start.isoformat()} if start else {})

    async def reprice(self, product: str, tariff: Tariff, effective: datetime | None) -> None:
        body: Json = {"price": price_body(tariff, self.ids)}
        body |= {"effective_at": effective.isoformat()} if effective else {}
        await self.call("PATCH", f"/products/{self.ids[product]}", body)

    async def grant(self, customer: str, credits: str, amount: str, expires: datetime | None) -> None:
        ends = {"expires_at": expires.isoformat()} if expires else {}
        await self._move_credits(customer, credits, {"amount": amount, "entry_type": "credit", **ends})

    async def debit(self, customer: str, credits: str, amount: str) -> None:
        await self._move_credits(customer, credits, {"amount": amount, "entry_type": "debit"})

    async def pay_in(self, customer: str, amount: Money) -> None:
        body = {"amount": amount.whole, "currency": amount.currency, "entry_type": "credit"}
        await self.call("POST", f"/customers/{customer}/wallets/ledger-entries", body)

    async def void_invoice(self, number: int) -> None:
        invoice_id = (await self.invoices())[number - 1]["invoice_id"]
        await self.call("POST", f"/invoices/{invoice_id}/void", {})

    async def change_plan(self, subscription: str, product: str, mode: str, at_next: bool) -> None:
        body = {"product_id": self.ids[product], "quantity": 1, "proration_billing_mode": mode}
        when = "next_billing_date" if at_next else "immediately"
        await self.call("POST", self._subscription(subscription, "/change-plan"), {**body, "effective_at": when})

    async def change(self, subscription: str, members: Json) -> None:
        await self.call("PATCH", self._subscription(subscription), members)

    async def invoices(self) -> list[Json]:
        found = await self.call("GET", f"/invoices?page_size={PAGE}")
        return sorted(found["items"], key=lambda invoice: invoice["number"])

    async def estimate(self, subscription: str, start: datetime | None) -> Json:
        await self.catch_up()
        query = f"?cycle_start={start:%Y-%m-%dT%H:%M:%SZ}" if start else ""
        return await self.call("GET", self._subscription(subscription, f"/estimate{query}"))

    async def balance(self, customer: str, credits: str) -> tuple[str, str]:
        await self.catch_up()
        path = f"/credit-entitlements/{self.ids[credits]}/balances/{customer}"
        found = await self.call("GET", path)
        return found["balance"], found["overage"]

    async def wallet(self, customer: str, currency: str) -> int:
        found = await self.call("GET", f"/customers/{customer}/wallets")
        return sum(wallet["balance"] for wallet in found["items"] if wallet["currency"] == currency)

    async def _move_credits(self, customer: str, credits: str, body: Json) -> None:
        path = f"/credit-entitlements/{self.ids[credits]}/balances/{customer}/ledger-entries"
        await self.catch_up()
        await self.call("POST", path, body)

    def _subscription(self, name: str, rest: str = "") -> str:
        return f"/subscriptions/{self.ids[f'subscription {name}']}{rest}"

    async def call(self, method: str, path: str, body: Json | None = None) -> Any:
        answer: httpx.Response = await self.api.request(method, path, json=body)
        if answer.is_success:
            return answer.json() if answer.content else None
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
        raise Refused(answer.json()["code"])
