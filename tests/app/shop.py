"""A business to bill: a tenant with meters and a product, and what its customers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from asyncpg import Record

from app.billing import close_cycle, close_due, estimate
from app.event_log import append_usage
from app.projecting import project_all
from app.service import Caller, Service
from app.subscribing import Order, subscribe
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.customer import Customer
from domain.cycle import Interval, Unit
from domain.event import UsageEvent
from domain.invoice import Document, InvoiceNumbers
from domain.meter import Meter
from domain.price import UNTIL_CANCELLED, MeterPrice, Price
from domain.product import Product
from domain.subscription import Item
from projections.log_reader import last_version

MONTH = Interval(count=1, unit=Unit.Month)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def price_of(**changes: Any) -> Price:
    """500 minor units a month, and half a minor unit per call beyond two."""
    fields: dict[str, Any] = {
        "currency": "USD",
        "fixed_price": 500,
        "cycle": MONTH,
        "subscription_period": UNTIL_CANCELLED,
        "meters": (MeterPrice(meter_id="calls", price_per_unit="0.5", free_threshold="2"),),
    }
    return Price(**(fields | changes))


@dataclass
class Shop:
    """A tenant with the meters ``calls`` (count) and ``tokens`` (sum) and the product ``api``."""

    service: Service
    caller: Caller
    sent: int = field(default=0)

    @property
    def tenant_id(self) -> str:
        return self.caller.tenant_id

    async def open(self, price: Price | None = None) -> None:
        async with transaction(self.service, self.caller, "shop.open") as running:
            for meter_id, aggregation in (("calls", {"type": "count"}), ("tokens", {"type": "sum", "key": "n"})):
                running.add(
                    Meter.create(
                        meter_id,
                        name=meter_id,
                        event_name="call",
                        aggregation=read_aggregation(aggregation),
                        filter="",
                        measurement_unit="unit",
                        description=None,
                        at=running.now,
                    )
                )
            running.add(
                Product.create(
                    "api",
                    name="API",
                    tax_category="saas",
                    description=None,
                    metadata="{}",
                    price=price or price_of(),
                    at=running.now,
                )
            )

    async def customer(self, customer_id: str = "ada", time_zone: str = "UTC") -> None:
        async with transaction(self.service, self.caller, "customer.create") as running:
            running.add(
                Customer.create(
                    customer_id,
                    personal="",
                    time_zone=time_zone,
                    preferred_locale=None,
                    metadata="{}",
                    at=running.now,
                )
            )

    async def subscribe(self, customer_id: str = "ada", anchor: date | None = date(2026, 3, 1)) -> str:
        order = Order(
            items=(Item("api", 1),),
            customer_id=customer_id,
            email=None,
            name=None,
            billing={"country": "US"},
            billing_currency=None,
            anchor_date=anchor,
            metadata="{}",
        )
        return await subscribe(self.service, self.caller, order)

    async def use(self, *at: datetime, customer_id: str = "ada", metadata: str = '{"n": 1}') -> int:
        """Record one call at each of these instants; the position reached."""
        return await self.record([(instant, metadata) for instant in at], customer_id)

    async def record(self, calls: Sequence[tuple[datetime, str]], customer_id: str = "ada") -> int:
        first, self.sent = self.sent, self.sent + len(calls)
        events = [
            UsageEvent(f"e{number}", "call", customer_id, at, metadata)
            for number, (at, metadata) in enumerate(calls, start=first)
        ]
        async with self.service.pool.acquire() as connection:
            return (await append_usage(connection, self.tenant_id, events, self.service.clock())).position

    async def close(self, subscription_id: str, cycle_start: datetime | None = None) -> Document:
        return (await close_cycle(self.service, self.caller, subscription_id, cycle_start)).document

    async def estimate(self, subscription_id: str, cycle_start: datetime | None = None) -> Document:
        await project_all(self.service)
        return await estimate(self.service, self.caller, subscription_id, cycle_start)

    async def close_due(self) -> list[Document]:
        return [bill.document async for bill in close_due(self.service, self.caller)]

    async def numbers_given(self) -> int:
        return await last_version(self.service.pool, self.tenant_id, InvoiceNumbers.stream(InvoiceNumbers.ONLY))

    async def stored_invoices(self) -> list[Record]:
        return await self.service.pool.fetch(
            "select number, document from invoice where tenant_id = $1 order by number", self.tenant_id
        )
