"""The facts that an issued invoice rests on, gathered once more as they were known at its position."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from app.crediting import counted_overage, overage_terms, terms_of
from app.invoicing import documents_of
from app.service import Caller, Service
from domain import instant, number
from domain.burn import LineKey, StandingLine, standing_lines
from domain.credit_account import CreditAccount
from domain.entitlement import Entitlement
from domain.errors import NotFound
from domain.explanation import AdjustedMeter, Basis, Invoiced
from domain.grant import Grant, child_of, child_place
from domain.invoice import Document, DocumentType
from domain.line_steps import CountedUsage, DrawnCredits, GrantDraw
from domain.meter import Meter
from domain.plan import OpenedCycle
from domain.price import Price
from domain.product import Product
from domain.rating import Computation, Line, LineKind, computation_of
from domain.subscription import Subscription
from domain.wallet import Wallet
from projections.aggregates import Aggregates, known
from projections.known_usage import KnownUsage, deciding_position, measure_known
from projections.rating_facts import (
    LineCredits,
    MeterKey,
    PricedLine,
    corrected_facts,
    meter_lines,
    only_adjustments,
    prices_of,
)
from projections.raw_usage import RawUsage
from projections.statements import load
from projections.usage import Measured

SQL = load("app.sql", "explain.sql")


class IssuedInvoice(msgspec.Struct, frozen=True):
    """An invoice, its status of today, and what was known as it was issued.

    ``known`` has the streams up to the invoice itself, so that its own burns are in them.
    """

    document: Document
    status: str
    known: Aggregates

    @property
    def invoice_id(self) -> str:
        """The id, which every issued document has."""
        return str(self.document.invoice_id)


class Ground(msgspec.Struct, frozen=True):
    """What a line with a meter rests on: the usage that it bills, in the cycle of that usage.

    ``own`` is that cycle's own invoice: the price version is the one that was known at its position. Of a line that
    corrects a closed cycle it is another invoice.
    """

    cycle: OpenedCycle
    usage: KnownUsage
    own: Document


@asynccontextmanager
async def issued_invoice(service: Service, caller: Caller, invoice_id: str) -> AsyncIterator[IssuedInvoice]:
    """An invoice of the tenant, in one snapshot of the database. Raises ``NotFound``."""
    async with (
        service.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        row = await connection.fetchrow(SQL["issued_invoice"], caller.tenant_id, invoice_id)
        if row is None:
            raise NotFound("invoice", invoice_id)
        document = msgspec.json.decode(row["document"], type=Document)
        issued_at = instant.parse(str(document.issued_at))
        then = Aggregates(connection, caller.tenant_id, issued_at, row["position"], document.position)
        yield IssuedInvoice(document, row["status"], then)


class InvoiceFacts:
    """Gathers what the lines of one invoice rest on. Each is read once."""

    def __init__(self, issued: IssuedInvoice) -> None:
        self._issued = issued
        self._known = issued.known
        self._document = issued.document
        self._documents: list[tuple[Document, bool]] | None = None
        self._raw = RawUsage(self._known.database, self._known.tenant_id, self._document.position)

    async def basis(self) -> Basis:
        """The facts of the cycle that the invoice is for; those of a document of corrections alone have no cycle."""
        subscription = await self._subscription()
        if self._document.type is DocumentType.invoice:
            cycle = await self._cycle(self._document.cycle_start)
            return await self._basis(subscription, cycle, self._document.position, None)
        facts = await only_adjustments(self._known, subscription, self._document.lines)
        return Basis(facts, {}, {})

    async def adjusted(self, basis: Basis) -> list[AdjustedMeter]:
        """What the adjustments rest on, in their order. ``basis`` is that of the invoice itself."""
        return [await self._adjusted(line, basis) for line in self._document.lines if line.kind is LineKind.adjustment]

    async def wallet_balance(self) -> int:
        """What the customer's wallet held, minor units."""
        wallet_id = Wallet.wallet_id(self._document.customer_id, self._document.currency)
        if await self._known.find(Wallet, wallet_id) is None:
            return 0
        return (await self._known.at_position(Wallet, wallet_id, self._document.position)).balance

    async def ground(self, line: Line) -> Ground | None:
        """What a line rests on; ``None`` for one without a meter."""
        if line.meter_id is None:
            return None
        return await self._ground(await self._cycle(line.cycle_start or self._document.cycle_start), line.meter_id)

    async def measured(self, usage: KnownUsage) -> Measured:
        """What was counted, kept where rating looks for it, too."""
        (measured,) = await self._measured([usage])
        return measured

    async def deciding(self, usage: KnownUsage) -> int | None:
        """The position of the event whose value is the quantity, for the aggregations of which one is."""
        return await deciding_position(self._known.database, usage, await self.measured(usage), self._raw)

    async def grants(self, entitlement_id: str, grant_ids: Iterable[str]) -> list[Grant]:
        """These grants of the customer's account, also children that a close was yet to record."""
        account = await self._account(entitlement_id)
        recorded = {} if account is None else account.grants
        return [_recorded_or_derived(recorded, grant_id) for grant_id in grant_ids]

    async def _measured(self, usages: Sequence[KnownUsage]) -> list[Measured]:
        spans = [(one.meter.meter_id, one.customer_id, (one.start, one.end)) for one in usages]
        missing = {span: one for span, one in zip(spans, usages, strict=True) if span not in self._known.measures}
        counted = await measure_known(self._known.database, list(missing.values()), self._raw)
        self._known.measures.update({span: [one] for span, one in zip(missing, counted, strict=True)})
        return [self._known.measures[span][0] for span in spans]

    async def _subscription(self) -> Subscription:
        return known(await self._known.find(Subscription, self._document.subscription_id))

    async def _cycle(self, start: str) -> OpenedCycle:
        cycle = (await self._subscription()).cycle_starting(instant.parse(start))
        assert cycle is not None, "the log lacks the cycle of an invoice"
        return cycle

    async def _own_document(self, cycle: OpenedCycle) -> Document:
        """The invoice of a closed cycle, as it stood when this one was issued."""
        return next(one for one, _ in await self._issued_documents() if one.invoice_id == cycle.invoice_id)

    async def _issued_documents(self) -> list[tuple[Document, bool]]:
        if self._documents is None:
            self._documents = await documents_of(self._known, self._document.subscription_id)
        return self._documents

    async def _basis(
        self, subscription: Subscription, cycle: OpenedCycle, priced_at: int, only: Collection[MeterKey] | None
    ) -> Basis:
        prices = await prices_of(self._known, cycle, priced_at)
        by_product = {item.product_id: price for item, price in prices}
        counted: dict[MeterKey, CountedUsage] = {}
        drawn: dict[MeterKey, DrawnCredits] = {}
        settled: dict[MeterKey, LineCredits] = {}
        lines = [line for line in meter_lines(prices) if only is None or line.key in only]
        usages = [(await self._ground(cycle, line.price.meter_id)).usage for line in lines]
        for line, usage, measured in zip(lines, usages, await self._measured(usages), strict=True):
            counted[line.key] = CountedUsage(usage.meter.aggregation, measured.summary, len(measured.distinct))
            if line.price.credit_entitlement_id is not None:
                drawn[line.key], settled[line.key] = await self._credits(cycle, line, by_product[line.item.product_id])
        keys = [line.key for line in lines]
        facts = await corrected_facts(self._known, subscription, cycle, settled, priced_at, keys)
        return Basis(facts, counted, drawn)

    async def _ground(self, cycle: OpenedCycle, meter_id: str) -> Ground:
        usage = KnownUsage(
            self._known.tenant_id,
            (await self._known.meters())[meter_id],
            self._document.customer_id,
            cycle.start,
            cycle.end,
            self._document.position,
        )
        return Ground(cycle, usage, await self._own_document(cycle))

    async def _account(self, entitlement_id: str) -> CreditAccount | None:
        account_id = CreditAccount.account_id(entitlement_id, self._document.customer_id)
        return await self._known.find(CreditAccount, account_id)

    async def _standing(self, cycle: OpenedCycle, key: MeterKey, entitlement_id: str) -> StandingLine:
        """What invoices burned for a line up to and with this one."""
        account = await self._account(entitlement_id)
        burned = {} if account is None else standing_lines(account.burns)
        line = LineKey(self._document.subscription_id, cycle.start, *key)
        return burned.get(line) or StandingLine(cycle_end=cycle.end, draws={})

    async def _credits(self, cycle: OpenedCycle, line: PricedLine, price: Price) -> tuple[DrawnCredits, LineCredits]:
        """What a line took of credits, as the log records it, and what rating needs of it."""
        entitlement_id = str(line.price.credit_entitlement_id)
        standing = await self._standing(cycle, line.key, entitlement_id)
        entitlement = await self._known.get(Entitlement, entitlement_id)
        drawn = await self.grants(entitlement_id, [grant_id for grant_id, taken in standing.draws.items() if taken])
        drawn.sort(key=lambda grant: (grant.begins, grant.order))
        draws = tuple(GrantDraw(grant.id, standing.draws[grant.id]) for grant in drawn)
        overage = None
        if line.price.credits_only:
            terms = await terms_of(self._known, entitlement_id, cycle, price)
            overage = counted_overage(overage_terms(terms), standing.overage)
        credits_drawn = number.total(draw.credits for draw in draws)
        return DrawnCredits(entitlement_id, entitlement.precision, draws), LineCredits(credits_drawn, overage)

    async def _adjusted(self, line: Line, basis: Basis) -> AdjustedMeter:
        cycle, key = await self._cycle(str(line.cycle_start)), (line.product_id, str(line.meter_id))
        own = await self._own_document(cycle)
        # A cycle that is invoiced again has all of its usage on its own lines; standing corrections are taken back.
        again = own.invoice_id == self._document.invoice_id
        if not again:
            basis = await self._basis(await self._subscription(), cycle, own.position, [key])
        earlier = [one for one, stood in await self._issued_documents() if stood]
        return AdjustedMeter(
            basis=basis,
            key=key,
            product_name=(await self._known.at_instant(Product, key[0], cycle.end)).name,
            meter_name=(await self._known.at_instant(Meter, key[1], cycle.end)).name,
            cycle=(cycle.start, cycle.end),
            invoiced=(_billed(own, _own_lines(own, key)), *self._corrected_by(earlier, str(line.cycle_start), key)),
        )

    def _corrected_by(self, documents: Sequence[Document], cycle_start: str, key: MeterKey) -> list[Invoiced]:
        """What documents before this one corrected."""
        return [
            Invoiced(str(one.invoice_id), str(one.number), _as_billed(line))
            for one in documents
            if one.invoice_id != self._document.invoice_id
            for line in one.lines
            if line.kind is LineKind.adjustment
            and line.cycle_start == cycle_start
            and (line.product_id, line.meter_id) == key
        ]


def _own_lines(document: Document, key: MeterKey) -> Iterable[Line]:
    return [
        line
        for line in document.lines
        if (line.product_id, line.meter_id) == key and line.kind is not LineKind.adjustment
    ]


def _billed(document: Document, lines: Iterable[Line]) -> Invoiced:
    return Invoiced(str(document.invoice_id), str(document.number), computation_of(lines))


def _as_billed(line: Line) -> Computation:
    return Computation(
        consumed_units=line.consumed_units,
        free_units=line.free_units,
        credit_units=line.credit_units,
        paid_units=line.paid_units,
        amount=line.amount,
    )


def _recorded_or_derived(grants: Mapping[str, Grant], grant_id: str) -> Grant:
    """A grant as recorded, or the child that rollovers make where the close that records it was yet to come."""
    if grant_id in grants:
        return grants[grant_id]
    place = child_place(grant_id)
    assert place is not None, "only children are drawn on before they are recorded"
    root_id, count = place
    grant = max((one for one in grants.values() if one.root_id == root_id), key=lambda one: one.rollover_count)
    while grant.rollover_count < count:
        grant = child_of(grant, grant.amount)
    return grant
