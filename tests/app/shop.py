"""A business to bill: a tenant with meters and a product, and what its customers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from asyncpg import Record

from app import credit_entries
from app.billing import close_cycle, estimate
from app.crediting import AccountView, account_view
from app.due import close_due
from app.identity import new_id
from app.invoicing import find_bill
from app.plan_changing import PlanOrder, change_plan
from app.projecting import project_all
from app.reading_log import reading
from app.service import Caller, Service
from app.subscribing import Change, Order, change_subscription, subscribe
from app.transaction import transaction
from domain.aggregation import read_aggregation
from domain.credit_ledger import check
from domain.customer import Customer
from domain.cycle import Interval, Unit
from domain.entitlement import Entitlement, Terms
from domain.event import UsageEvent
from domain.invoice import Document, InvoiceNumbers
from domain.meter import Meter
from domain.plan import ChangeMode, Item
from domain.price import UNTIL_CANCELLED, IncludedCredits, MeterPrice, Price
from domain.product import Product
from domain.settlement import Balance, balance
from domain.wallet import Wallet
from projections.log_reader import head, last_version
from tests.app.log_rows import record_usage

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


def sms_line(meter_id: str = "calls", price_per_unit: str | None = "1", **changes: Any) -> MeterPrice:
    """A meter that burns one credit of ``sms`` for each unit, and has a price for what those do not cover."""
    fields: dict[str, Any] = {"credit_entitlement_id": "sms", "meter_units_per_credit": "1"}
    return MeterPrice(meter_id=meter_id, price_per_unit=price_per_unit, **(fields | changes))


def sms_price(included: str | None = "10", *meters: MeterPrice, fixed_price: int = 0, **terms: Any) -> Price:
    """No fee, calls in credits, and so many credits included in each cycle."""
    credits = (
        () if included is None else (IncludedCredits(credit_entitlement_id="sms", credits_amount=included, **terms),)
    )
    return price_of(fixed_price=fixed_price, meters=meters or (sms_line(),), credits=credits)


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
        await self.sell("api", price or price_of())

    async def sell(self, product_id: str, price: Price) -> None:
        async with transaction(self.service, self.caller, "shop.sell") as running:
            running.add(
                Product.create(
                    product_id,
                    name="API",
                    tax_category="saas",
                    description=None,
                    metadata="{}",
                    price=price,
                    at=running.now,
                )
            )

    async def reprice(self, price: Price, effective_at: datetime) -> None:
        async with transaction(self.service, self.caller, "shop.reprice") as running:
            (await running.get(Product, "api")).reprice(price, effective_at, running.now)

    async def entitle(self, entitlement_id: str = "sms", precision: int = 2, **terms: Any) -> None:
        """A kind of credits."""
        stated = Terms(name="SMS", unit="credit", **terms)
        async with transaction(self.service, self.caller, "shop.entitle") as running:
            running.add(Entitlement.create(entitlement_id, precision=precision, terms=stated, at=running.now))

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

    async def subscribe(
        self,
        customer_id: str = "ada",
        anchor: date | None = date(2026, 3, 1),
        products: Sequence[str] = ("api",),
        trial_days: int = 0,
    ) -> str:
        order = Order(
            items=tuple(Item(product_id, 1) for product_id in products),
            customer_id=customer_id,
            email=None,
            name=None,
            billing={"country": "US"},
            billing_currency=None,
            anchor_date=anchor,
            metadata="{}",
            trial_days=trial_days,
        )
        return await subscribe(self.service, self.caller, order)

    async def change(self, subscription_id: str, **change: Any) -> None:
        await change_subscription(self.service, self.caller, subscription_id, Change(**change))

    async def replan(
        self, subscription_id: str, product_id: str, mode: ChangeMode = ChangeMode.prorated_immediately
    ) -> None:
        order = PlanOrder(items=(Item(product_id, 1),), mode=mode, later=False)
        await change_plan(self.service, self.caller, subscription_id, order)

    async def credit(self, amount: str, expires_at: datetime | None = None, *, is_credit: bool = True) -> None:
        """Add credits by hand, or take them out."""
        order = credit_entries.Order(
            entitlement_id="sms",
            customer_id="ada",
            amount=Decimal(amount),
            is_credit=is_credit,
            expires_at=expires_at,
            reason=None,
            metadata="{}",
            idempotency_key=None,
        )
        await credit_entries.add_entry(self.service, self.caller, order)

    async def debit(self, amount: str) -> None:
        await self.credit(amount, is_credit=False)

    async def credits(self) -> AccountView:
        """Ada's account as it stands, its ledger checked."""
        await project_all(self.service)
        async with reading(self.service, self.caller) as aggregates:
            view = await account_view(aggregates, "sms", "ada")
            assert check(view.account, view.settlement, view.at) == []
            return view

    async def balance(self) -> Balance:
        view = await self.credits()
        return balance(view.settlement, view.at)

    async def pay_in(self, amount: int) -> None:
        """Move minor units into Ada's wallet."""
        async with transaction(self.service, self.caller, "shop.pay_in") as running:
            wallet = await running.find(Wallet, Wallet.wallet_id("ada", "USD"))
            if wallet is None:
                wallet = Wallet.open("ada", "USD", running.now)
                running.add(wallet)
            wallet.move(new_id("wle"), amount, None, None, running.now)

    async def wallet(self) -> int:
        async with reading(self.service, self.caller, latest=True) as aggregates:
            found = await aggregates.find(Wallet, Wallet.wallet_id("ada", "USD"))
            return found.balance if found else 0

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
            return (await record_usage(connection, self.tenant_id, events, self.service.clock())).position

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

    async def head_position(self) -> int:
        async with self.service.pool.acquire() as connection:
            return (await head(connection, self.tenant_id)).position

    async def issued(self, invoice_id: str) -> Document:
        """The document of an invoice as it is stored."""
        async with self.service.pool.acquire() as connection:
            return (await find_bill(connection, self.tenant_id, invoice_id)).document
