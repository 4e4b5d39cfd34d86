"""A tenant's aggregates from its log and nothing else, so that no row of a read model can change what is proved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import groupby, zip_longest

from domain import instant
from domain.aggregate import Fact, Root
from domain.credit_account import CreditAccount
from domain.invoice import Invoice, Status
from domain.meter import Meter
from domain.subscription import Subscription
from projections.aggregates import Issued, known
from projections.as_of import AsOf
from projections.counting import CountedMeter, stored_filter
from projections.database import Database, Row
from projections.log_reader import fold, stored_event
from projections.mapper import to_fact
from projections.raw_usage import InvoicedCycle
from projections.statements import load

SQL = load("projections.sql", "log_alone.sql")


class LogAlone(AsOf):
    """Aggregates at a position for which no read model is asked. Finding what a customer has means reading streams of
    all of them: right for a proof, too much for a request."""

    def __init__(self, database: Database, tenant_id: str, now: datetime, position: int) -> None:
        super().__init__(database, tenant_id, now, position)
        self._subscriptions: dict[str, list[str]] = {}
        self._invoices: dict[str, list[tuple[int, Invoice]]] = {}

    async def subscription_ids(self, customer_id: str) -> list[str]:
        """The customer's subscriptions, in the order of their ids."""
        if customer_id not in self._subscriptions:
            rows = await self._of_kind("streams_of_customer", Subscription, customer_id)
            self._subscriptions[customer_id] = [row["originator_id"].partition(":")[2] for row in rows]
        return self._subscriptions[customer_id]

    async def credited_entitlements(self, customer_id: str) -> list[str]:
        """The entitlements of which the customer has an account, in order."""
        rows = await self._of_kind("streams_of_customer", CreditAccount, customer_id)
        accounts = [known(await self.find(CreditAccount, row["originator_id"].partition(":")[2])) for row in rows]
        return sorted(account.entitlement_id for account in accounts)

    async def issued(self, subscription_id: str) -> list[Issued]:
        """The documents of a subscription, oldest first."""
        subscription = await self.get(Subscription, subscription_id)
        return [
            Issued(invoice.document, (await self.get(Invoice, invoice.object_id)).status is not Status.void)
            for _, invoice in await self._issued_to(subscription.customer_id)
            if invoice.read().subscription_id == subscription_id
        ]

    async def _issued_to(self, customer_id: str) -> list[tuple[int, Invoice]]:
        """The customer's invoices as they were issued, each with its position, oldest first."""
        if customer_id not in self._invoices:
            rows = await self._of_kind("invoices_of_customer", Invoice, customer_id)
            self._invoices[customer_id] = [
                (row["position"], known(fold(Invoice, [to_fact(stored_event(row))]))) for row in rows
            ]
        return self._invoices[customer_id]

    async def _invoiced_cycles(self, customer_id: str) -> list[InvoicedCycle]:
        documents = [(position, invoice.read()) for position, invoice in await self._issued_to(customer_id)]
        return [
            InvoicedCycle(instant.parse(document.cycle_start), instant.parse(document.cycle_end), position)
            for position, document in documents
        ]

    async def _declared(self) -> Mapping[str, CountedMeter]:
        rows = await self._of_kind("facts_of_kind", Meter)
        streams = groupby(rows, key=lambda row: row["originator_id"])
        meters = [_counted([(row["position"], to_fact(stored_event(row))) for row in own]) for _, own in streams]
        return {meter.meter_id: meter for meter in meters}

    async def _of_kind(self, statement: str, kind: type[Root], *more: object) -> list[Row]:
        # A semicolon is what follows the colon between kind and id.
        where = (self.tenant_id, f"{kind.TOPIC}:", f"{kind.TOPIC};", self.position)
        return await self.database.fetch(SQL[statement], *where, *more)


def _counted(placed: list[tuple[int, Fact]]) -> CountedMeter:
    """A meter from its events with their positions."""
    meter = known(fold(Meter, [fact for _, fact in placed]))
    since = [position for position, fact in placed if isinstance(fact, Meter.Archived)]
    until = [position for position, fact in placed if isinstance(fact, Meter.Unarchived)]
    return CountedMeter(
        meter_id=meter.object_id,
        event_name=meter.event_name,
        aggregation=meter.aggregation,
        filter=stored_filter(meter.filter),
        created_position=placed[0][0],
        gaps=tuple(zip_longest(since, until)),
    )
