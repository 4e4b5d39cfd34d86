"""One side of a simulation: the cycles of a customer settled and rated anew, as they are or as they would be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from app.accounts import accounts_of
from app.crediting import AccountView, account_view
from app.opening import grant_included, open_cycles
from app.reckoning import Reckoning, line_credits
from domain.comparison import Recorded
from domain.invoice import Document, compose
from domain.plan import OpenedCycle
from domain.rating import rate
from domain.rewinding import ReopenedCycle, Rewound, keep_ids, reopen, rewind
from domain.subscription import Subscription
from domain.wallet import Wallet
from projections.log_reader import END
from projections.proposed import Proposed
from projections.rating_facts import cycle_facts, meter_lines, prices_of
from projections.usage import Asked

CycleKey = tuple[str, datetime]
"""A subscription and the start of one of its cycles."""


class CycleOf(msgspec.Struct, frozen=True):
    """A cycle of the span and whose it is."""

    subscription: Subscription
    cycle: OpenedCycle

    @property
    def key(self) -> CycleKey:
        """What names it."""
        return self.subscription.object_id, self.cycle.start

    @property
    def closing_order(self) -> tuple[int, datetime, str]:
        """Where it comes among the customer's: as they were closed, those that are not as they end."""
        closed = self.cycle.priced_at if isinstance(self.cycle, ReopenedCycle) else END
        return closed, self.cycle.end, self.subscription.object_id


class Side:
    """The aggregates of a page of customers, rewound to before their cycles of the span were closed."""

    def __init__(self, known: Proposed, recorded: Mapping[str, Recorded]) -> None:
        self.known = known
        self._recorded = recorded
        self._cycles: dict[str, list[CycleOf]] = {}

    def cycles(self, customer_id: str) -> Sequence[CycleOf]:
        """A customer's cycles of the span, once he is prepared."""
        return self._cycles[customer_id]

    async def prepare(self, customer_id: str, subscription_ids: Iterable[str]) -> None:
        """Take back what closes made final, open what has begun, and grant anew where other credits are included."""
        known = self.known
        found = [await known.find(Subscription, subscription_id) for subscription_id in subscription_ids]
        subscriptions = [subscription for subscription in found if subscription is not None]
        for subscription in subscriptions:
            reopen(subscription, self._positions(subscription))
        rewound = [Rewound(one.object_id, self._of_span(one)) for one in subscriptions]
        anew = {name for name in known.proposal.products if known.proposal.changes_credits(name)}
        accounts = await accounts_of(known, customer_id)
        taken = [(account, rewind(account, rewound, anew)) for account in accounts]
        for subscription in subscriptions:
            await open_cycles(known, subscription, known.now)
            if anew:
                await grant_included(known, subscription, self._of_span(subscription))
        for account, grants in taken:
            keep_ids(account, grants)
        cycles = (CycleOf(one, cycle) for one in subscriptions for cycle in self._of_span(one))
        self._cycles[customer_id] = sorted(cycles, key=lambda one: one.closing_order)

    def _positions(self, subscription: Subscription) -> dict[str | None, int]:
        """The invoices of the cycles to reopen, with the positions that they were computed from."""
        closed = (cycle.invoice_id for cycle in subscription.cycles if self.known.span.holds(cycle))
        return {name: self._recorded[name].document.position for name in closed if name is not None}

    def _of_span(self, subscription: Subscription) -> list[OpenedCycle]:
        return [one for one in subscription.cycles if one.invoice_id is None and self.known.span.holds(one)]

    async def asked(self, customer_id: str) -> list[Asked]:
        """What rating the customer's cycles will ask of the meters."""
        known, found = self.known, list[Asked]()
        meters = await known.meters()
        for one in self.cycles(customer_id):
            for line in meter_lines(await prices_of(known, one.cycle, known.position)):
                found.append(Asked(meters[line.price.meter_id], customer_id, (one.cycle.start, one.cycle.end)))
        return found

    def touches(self, customer_id: str) -> bool:
        """Whether the proposal says anything of a product of these cycles."""
        changed = self.known.proposal.products
        return any(item.product_id in changed for one in self.cycles(customer_id) for item in one.cycle.items)

    def invoice_of(self, one: CycleOf) -> Recorded | None:
        """The invoice that a cycle was closed by."""
        return self._recorded[one.cycle.closed_by] if isinstance(one.cycle, ReopenedCycle) else None

    async def documents(self, customer_id: str) -> dict[CycleKey, Document]:
        """The invoice that each cycle comes to."""
        cycles = self.cycles(customer_id)
        if not cycles:
            return {}
        accounts = await self._accounts(customer_id, cycles)
        wallets = _Wallets(self.known, customer_id)
        found: dict[CycleKey, Document] = {}
        for one in cycles:
            drawn = line_credits(accounts, one.subscription.object_id, one.cycle.start)
            facts = await cycle_facts(self.known, one.subscription, one.cycle, drawn)
            rated = rate(facts)
            subject = Reckoning(one.subscription, one.cycle, (), accounts, facts, rated).subject()
            balance = await wallets.balance(one)
            position = self.known.position
            document = compose(subject, rated, wallet_balance=balance, position=position, issue=None)
            wallets.note(document, self.invoice_of(one))
            found[one.key] = document
        return found

    async def _accounts(self, customer_id: str, cycles: Sequence[CycleOf]) -> list[AccountView]:
        """The accounts whose credits the lines burn, settled once for all cycles: an earlier claim never depends on a
        cycle that ends later."""
        known = self.known
        burned = {
            line.price.credit_entitlement_id
            for one in cycles
            for line in meter_lines(await prices_of(known, one.cycle, known.position))
        }
        last = max(one.cycle.end for one in cycles)
        return [
            await account_view(known, entitlement_id, customer_id, until=max(known.now, last), claims_until=last)
            for entitlement_id in sorted(one for one in burned if one is not None)
        ]


class _Wallets:
    """What one customer's wallets would hold at each close: what they held, and what earlier cycles left otherwise."""

    def __init__(self, known: Proposed, customer_id: str) -> None:
        self._known = known
        self._customer_id = customer_id
        self._left: dict[str, int] = {}

    async def balance(self, one: CycleOf) -> int:
        """Minor units in the wallet of the cycle's currency as it is closed."""
        currency = one.subscription.currency
        at = one.cycle.priced_at if isinstance(one.cycle, ReopenedCycle) else self._known.position
        wallet = await self._known.find_at(Wallet, Wallet.wallet_id(self._customer_id, currency), at)
        return max(0, (wallet.balance if wallet else 0) + self._left.get(currency, 0))

    def note(self, document: Document, invoice: Recorded | None) -> None:
        """Take in what the wallet pays, and what it paid."""
        paid = invoice.document.wallet_amount if invoice else 0
        self._left[document.currency] = self._left.get(document.currency, 0) + paid - document.wallet_amount
