"""What an invoice rests on: the streams of facts, and the spans of usage, that reckoning it again needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from app.invoicing import documents_of
from domain import instant
from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement
from domain.errors import NotFound
from domain.invoice import Document, Invoice, InvoiceNumbers
from domain.meter import Meter
from domain.plan import Item, OpenedCycle
from domain.price import Price
from domain.product import Product
from domain.rating import Line, LineKind
from domain.subscription import Subscription
from domain.tenant import Tenant
from domain.wallet import Wallet
from projections.aggregates import Aggregates, known
from projections.database import Database
from projections.log_reader import END, StoredCommit, aggregate, commits_after, stored_event
from projections.mapper import to_fact
from projections.rating_facts import meter_lines, prices_of
from projections.statements import load

SQL = load("app.sql", "proof.sql")


class UsageSpan(NamedTuple):
    """Events of one name that happened in ``[since, until)``."""

    event_name: str
    since: datetime
    until: datetime


class Subject(msgspec.Struct, frozen=True):
    """An invoice and everything that a pack has to show of the log, up to the commit that holds the invoice.

    ``position`` is what the invoice was computed from: usage is shown as it stood there. ``facts`` are positions.
    """

    tenant_id: str
    invoice_id: str
    customer_id: str
    position: int
    sealed: StoredCommit
    facts: frozenset[int]
    spans: tuple[UsageSpan, ...]


async def subject_of(database: Database, tenant_id: str, invoice_id: str) -> Subject:
    """What a pack about this invoice shows. Raises ``NotFound``."""
    row = next(iter(await database.fetch(SQL["proven_facts"], tenant_id, [Invoice.stream(invoice_id)], END)), None)
    if row is None:
        raise NotFound("invoice", invoice_id)
    issued = to_fact(stored_event(row))
    assert isinstance(issued, Invoice.Created), "a stream begins with its opening"
    document = msgspec.json.decode(issued.document, type=Document)
    (sealed,) = await commits_after(database, tenant_id, row["position"] - 1, limit=1)
    gathering = _Gathering(Aggregates(database, tenant_id, sealed.commit.recorded_at, document.position), sealed)
    await gathering.take_in(invoice_id, document)
    return Subject(
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        customer_id=document.customer_id,
        position=document.position,
        sealed=sealed,
        facts=await gathering.facts(invoice_id),
        spans=tuple(gathering.spans),
    )


class _Gathering:
    """Collects the streams and spans of one invoice. ``known`` is the log as the invoice knew it."""

    def __init__(self, known_then: Aggregates, sealed: StoredCommit) -> None:
        self._known = known_then
        self._sealed = sealed.commit
        self.streams: dict[str, None] = {}
        self.spans: dict[UsageSpan, None] = {}
        self._entitlements: set[str] = set()

    async def take_in(self, invoice_id: str, document: Document) -> None:
        """Everything that the lines, the taxes and the wallet of a document depend on."""
        tenant_id = self._known.tenant_id
        subscription = known(
            await aggregate(
                self._known.database,
                tenant_id,
                Subscription,
                document.subscription_id,
                up_to=self._sealed.last_position,
            )
        )
        self._add(Invoice.stream(invoice_id), Subscription.stream(document.subscription_id))
        self._add(Wallet.stream(Wallet.wallet_id(document.customer_id, document.currency)))
        cycle = next((one for one in subscription.cycles if one.invoice_id == invoice_id), None)
        if cycle is not None:
            await self._take_in_cycle(document.customer_id, cycle, self._known.position, None)
        corrections = [line for line in document.lines if line.kind is LineKind.adjustment]
        until = instant.parse(document.cycle_end)
        if corrections or cycle is None or cycle.replaces is not None:
            earlier = [one for one, _ in await documents_of(self._known, document.subscription_id)]
            self._add(*(Invoice.stream(str(one.invoice_id)) for one in earlier if one.invoice_id != invoice_id))
            ends = await self._take_in_corrected(document, corrections, subscription, earlier)
            until = max([until, *ends])
        if self._entitlements:
            await self._take_in_claims(document.customer_id, until)

    async def _take_in_corrected(
        self, document: Document, corrections: Sequence[Line], subscription: Subscription, earlier: Sequence[Document]
    ) -> list[datetime]:
        """What the corrections of closed cycles depend on; where those cycles end."""
        priced_at, ends = {one.invoice_id: one.position for one in earlier}, list[datetime]()
        for line in corrections:
            cycle = subscription.cycle_starting(instant.parse(str(line.cycle_start)))
            # The cycle of the invoice itself, when it is issued again, was taken in whole.
            if cycle is not None and cycle.invoice_id in priced_at:
                key = (line.product_id, str(line.meter_id))
                await self._take_in_cycle(document.customer_id, cycle, priced_at[cycle.invoice_id], key)
                ends.append(cycle.end)
        return ends

    async def _take_in_claims(self, customer_id: str, until: datetime) -> None:
        """The lines of the customer's other cycles, not closed by then, that claim the same credits."""
        tenant_id, last = self._known.tenant_id, self._sealed.last_position
        for subscription_id in await self._known.subscription_ids(customer_id):
            found = await aggregate(self._known.database, tenant_id, Subscription, subscription_id, up_to=last)
            if found is None:
                continue
            self._add(found.id)
            for cycle in found.cycles:
                if cycle.invoice_id is None and cycle.end <= until:
                    await self._take_in_cycle(customer_id, cycle, self._known.position, None, self._entitlements)

    async def _take_in_cycle(
        self,
        customer_id: str,
        cycle: OpenedCycle,
        priced_at: int,
        only: tuple[str, str] | None,
        claiming: Collection[str] = (),
    ) -> None:
        """The products, meters, usage and credit accounts of a cycle's lines: of one, or of those claiming credits."""
        for line in meter_lines(await self._prices(cycle, priced_at)):
            if only is not None and line.key != only:
                continue
            if claiming and line.price.credit_entitlement_id not in claiming:
                continue
            meter = await self._known.get(Meter, line.price.meter_id)
            self._add(meter.id)
            self.spans[UsageSpan(meter.event_name, cycle.start, cycle.end)] = None
            entitlement_id = line.price.credit_entitlement_id
            if entitlement_id is not None:
                self._entitlements.add(entitlement_id)
                account_id = CreditAccount.account_id(entitlement_id, customer_id)
                self._add(Entitlement.stream(entitlement_id), CreditAccount.stream(account_id))

    async def _prices(self, cycle: OpenedCycle, priced_at: int) -> list[tuple[Item, Price]]:
        self._add(*(Product.stream(item.product_id) for item in cycle.items))
        return await prices_of(self._known, cycle, priced_at)

    def _add(self, *streams: str) -> None:
        self.streams |= dict.fromkeys(streams)

    async def facts(self, invoice_id: str) -> frozenset[int]:
        """The positions of the facts to show: the streams, the tenant's settings, and the invoice's number."""
        database, tenant_id, last = self._known.database, self._known.tenant_id, self._sealed.last_position
        rows = await database.fetch(SQL["proven_facts"], tenant_id, list(self.streams), last)
        rows += await database.fetch(SQL["settings_facts"], tenant_id, Tenant.stream(tenant_id), self._known.position)
        numbers = InvoiceNumbers.stream(InvoiceNumbers.ONLY)
        for row in await database.fetch(SQL["number_facts"], tenant_id, numbers, self._sealed.first_position, last):
            assigned = to_fact(stored_event(row))
            if isinstance(assigned, InvoiceNumbers.Created | InvoiceNumbers.Next) and assigned.invoice_id == invoice_id:
                rows.append(row)
        return frozenset(row["position"] for row in rows)
