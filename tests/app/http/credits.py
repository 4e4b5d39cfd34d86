"""A business that sells credits, for the tests of the credit endpoints."""

from __future__ import annotations

from typing import Any

ENTITLEMENT: dict[str, Any] = {
    "name": "SMS",
    "unit": "credit",
    "precision": 2,
    "overage_enabled": False,
    "rollover_enabled": False,
}


class Credits:
    """An entitlement, and the customer ``ada`` with an account of it as soon as something happens to it."""

    def __init__(self, api: Any, make: Any) -> None:
        self.api = api
        self.make = make
        self.entitlement_id = ""
        self.sent = 0

    async def open(self, **terms: Any) -> None:
        made = await self.make.post("/credit-entitlements", ENTITLEMENT | terms, 201)
        self.entitlement_id = made["id"]
        await self.make.customer(customer_id="ada")

    @property
    def balances(self) -> str:
        return f"/credit-entitlements/{self.entitlement_id}/balances"

    def path(self, rest: str = "", customer_id: str = "ada") -> str:
        return f"{self.balances}/{customer_id}{rest}"

    async def subscribe(self, included: Any = "10", **terms: Any) -> str:
        """Ada subscribes to calls at one credit each, with ``included`` credits a month; the subscription's id."""
        meter = await self.make.meter()
        line = {
            "meter_id": meter["id"],
            "credit_entitlement_id": self.entitlement_id,
            "meter_units_per_credit": "1",
        }
        product = await self.make.product(
            price={"meters": [line]},
            credit_entitlements=[{"credit_entitlement_id": self.entitlement_id, "credits_amount": included, **terms}],
        )
        return (await self.make.subscription("ada", product["product_id"]))["subscription_id"]

    async def use(self, calls: int, at: str = "2026-03-09T12:00:00Z") -> None:
        """Ada makes some calls, and they are projected."""
        events = [self.make.event(self.sent + number, timestamp=at) for number in range(calls)]
        self.sent += calls
        assert (await self.api.ingest(*events)).json()["ingested_count"] == calls
        await self.api.project()

    async def add(self, amount: Any, entry_type: str = "credit", status: int = 201, **more: Any) -> Any:
        body = {"amount": amount, "entry_type": entry_type, **more}
        answered = await self.api.post(self.path("/ledger-entries"), json=body)
        assert answered.status_code == status, answered.text
        return answered.json()

    async def read(self, path: str, **params: Any) -> Any:
        answered = await self.api.get(path, params=params)
        assert answered.status_code == 200, answered.text
        return answered.json()

    async def balance(self) -> tuple[str, str]:
        found = await self.read(self.path())
        return found["balance"], found["overage"]

    async def ledger(self, **params: Any) -> list[Any]:
        return (await self.read(self.path("/ledger"), **params))["items"]

    async def grants(self, **params: Any) -> list[Any]:
        return (await self.read(self.path("/grants"), **params))["items"]

    async def close(self, subscription_id: str) -> Any:
        return await self.make.post(f"/subscriptions/{subscription_id}/close-cycle", {}, 200)
