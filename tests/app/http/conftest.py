"""What the tests of the HTTP API share: objects made through it, and clients with other keys."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.http.examples import PRICE
from app.keys import create_key, system_caller
from tests.conftest import serving


class Making:
    """Objects made through the API, with whatever a test wants different."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.price: dict[str, Any] = copy.deepcopy(PRICE)

    async def post(self, path: str, body: Any, status: int) -> dict[str, Any]:
        answered = await self.api.post(path, json=body)
        assert answered.status_code == status, answered.text
        return answered.json()

    async def meter(self, **more: Any) -> dict[str, Any]:
        body = {
            "name": "Calls",
            "event_name": "api.call",
            "aggregation": {"type": "count"},
            "measurement_unit": "call",
        }
        return await self.post("/meters", {**body, **more}, 201)

    async def product(self, meter_id: str | None = None, price: dict[str, Any] | None = None, **more: Any) -> Any:
        meters = [{"meter_id": meter_id, "price_per_unit": "0.5", "free_threshold": 2}] if meter_id else []
        body = {"name": "API", "tax_category": "saas", "price": {**self.price, "meters": meters, **(price or {})}}
        return await self.post("/products", {**body, **more}, 200)

    async def customer(self, **more: Any) -> dict[str, Any]:
        return await self.post("/customers", {"email": "ada@example.com", "name": "Ada", **more}, 200)

    async def subscription(self, customer_id: str, product_id: str, **more: Any) -> dict[str, Any]:
        body = {
            "customer": {"customer_id": customer_id},
            "billing": {"country": "US"},
            "product_id": product_id,
            "quantity": 1,
            "anchor_date": "2026-03-01",
        }
        return await self.post("/subscriptions", {**body, **more}, 200)

    async def everything(self) -> dict[str, str]:
        """One of each object, by the name of its id."""
        meter = await self.meter()
        product = await self.product(meter["id"])
        await self.customer(customer_id="ada")
        subscription = await self.subscription("ada", product["product_id"])
        return {
            "meter_id": meter["id"],
            "product_id": product["product_id"],
            "customer_id": "ada",
            "subscription_id": subscription["subscription_id"],
        }

    def event(self, number: int, **more: Any) -> dict[str, Any]:
        return {
            "event_id": f"call-{number}",
            "customer_id": "ada",
            "event_name": "api.call",
            "timestamp": "2026-03-09T12:00:00Z",
            **more,
        }


@pytest.fixture
def make(api: Any) -> Making:
    return Making(api)


Open = Callable[..., Awaitable[Any]]


@pytest.fixture
async def open_client(api: Any) -> AsyncIterator[Open]:
    """Opens clients of the same application: with another tenant, another scope, another or no secret."""
    async with AsyncExitStack() as stack:

        async def opened(
            *, tenant_id: str | None = None, scope: str = "write", authorization: str | None = None
        ) -> Any:
            served = serving(api.service)
            if authorization is None:
                owner = system_caller(tenant_id or f"t{uuid4().hex[:12]}")
                _, secret = await create_key(api.service, owner, scope=scope)
                authorization = f"Bearer {secret}"
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=served),
                base_url="http://test",
                headers={"Authorization": authorization} if authorization else {},
            )
            return await stack.enter_async_context(client)

        yield opened


@pytest.fixture
async def stranger(open_client: Open) -> Any:
    """A client with a ``write`` key of another tenant."""
    return await open_client()
