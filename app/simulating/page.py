"""A page of customers, each of their cycles as it is and as it would be, in one snapshot of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.invoicing import Bill, bill_of
from app.simulating.question import Question
from app.simulating.side import Side
from domain.comparison import Recorded, SimulatedCustomer, SimulatedCycle
from domain.credit_account import CreditAccount
from domain.customer import Customer
from domain.entitlement import Entitlement
from domain.invoice import DocumentType, Status
from domain.product import Product
from domain.proposal import Proposal
from domain.rating import Line, LineKind
from domain.subscription import Subscription
from projections.aggregates import Aggregates
from projections.proposed import Proposed
from projections.raw_usage import Rest
from projections.statements import load

SQL = load("app.sql", "simulation.sql")


class Page:
    """Some customers, read together and then rated one after another."""

    def __init__(self, current: Side, proposed: Side) -> None:
        self._current = current
        self._proposed = proposed

    @classmethod
    async def read(cls, known: Aggregates, question: Question, customer_ids: Sequence[str], rest: Rest) -> Page:
        """Read what simulating these customers asks for, in statements for all of them."""
        recorded = recorded_invoices(await _bills(known, customer_ids))
        subscriptions = await _subscriptions(known, customer_ids)
        await _read_ahead(known, customer_ids, subscriptions)
        page = cls(
            Side(Proposed(known, question.span, Proposal(), rest), recorded),
            Side(Proposed(known, question.span, question.proposal, rest), recorded),
        )
        for side in (page._current, page._proposed):
            for customer_id in customer_ids:
                await side.prepare(customer_id, subscriptions[customer_id])
            asked = [one for customer_id in customer_ids for one in await side.asked(customer_id)]
            await side.known.measure_ahead(asked)
        return page

    async def simulate(self, customer_id: str) -> SimulatedCustomer:
        """Both sides of one customer. Where the proposal says nothing of his products they are one."""
        before = await self._current.documents(customer_id)
        touched = self._proposed.touches(customer_id)
        after = await self._proposed.documents(customer_id) if touched else before
        cycles = [
            SimulatedCycle(current=before[one.key], proposed=after[one.key], recorded=self._current.invoice_of(one))
            for one in self._current.cycles(customer_id)
        ]
        return SimulatedCustomer(customer_id=customer_id, position=self._current.known.position, cycles=cycles)


def recorded_invoices(bills: Sequence[Bill]) -> dict[str, Recorded]:
    """The invoices of cycles by their ids, each with the lines of documents that stand and correct it."""
    corrections: dict[tuple[str, str | None], list[Line]] = {}
    for document in (bill.document for bill in bills if bill.status != Status.void):
        for line in document.lines:
            if line.kind is LineKind.adjustment:
                corrections.setdefault((document.subscription_id, line.cycle_start), []).append(line)
    return {
        str(one.invoice_id): Recorded(one, corrections.get((one.subscription_id, one.cycle_start), ()))
        for one in (bill.document for bill in bills)
        if one.type is DocumentType.invoice
    }


async def _bills(known: Aggregates, customer_ids: Sequence[str]) -> list[Bill]:
    asked = (known.tenant_id, list(customer_ids), known.position)
    return [bill_of(row) for row in await known.database.fetch(SQL["documents_of_customers"], *asked)]


async def _subscriptions(known: Aggregates, customer_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {customer_id: [] for customer_id in customer_ids}
    for row in await known.database.fetch(SQL["subscriptions_of_customers"], known.tenant_id, list(customer_ids)):
        found[row["customer_id"]].append(row["subscription_id"])
    return found


async def _read_ahead(
    known: Aggregates, customer_ids: Sequence[str], subscriptions: Mapping[str, Sequence[str]]
) -> None:
    """The streams of these customers, and then of what they are subscribed to."""
    rows = await known.database.fetch(SQL["accounts_of_customers"], known.tenant_id, list(customer_ids))
    streams = [Customer.stream(customer_id) for customer_id in customer_ids]
    streams += [Subscription.stream(one) for ids in subscriptions.values() for one in ids]
    streams += [
        CreditAccount.stream(CreditAccount.account_id(row["credit_entitlement_id"], row["customer_id"])) for row in rows
    ]
    streams += [Entitlement.stream(row["credit_entitlement_id"]) for row in rows]
    await known.read_ahead(streams)
    products: set[str] = set()
    for subscription_id in (one for ids in subscriptions.values() for one in ids):
        found = await known.find(Subscription, subscription_id)
        products |= {item.product_id for cycle in (found.cycles if found else ()) for item in cycle.items}
    await known.read_ahead(map(Product.stream, products))
