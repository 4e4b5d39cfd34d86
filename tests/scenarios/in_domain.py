"""A world that plays stories by the domain alone, in memory: it decides as the application does, and stores nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from copy import deepcopy
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec

import msgspec

from domain import instant, number
from domain.aggregation import read_aggregation
from domain.content import same_content
from domain.cycle import Anchor
from domain.entitlement import Entitlement
from domain.errors import Refusal
from domain.event import UsageEvent
from domain.filter import read_filter
from domain.invoice import Document, DocumentType, Invoice, Issue, Subject, compose, number_text
from domain.plan import ChangeMode, Item, OpenedCycle, Plan
from domain.product import Product
from domain.rating import Tax, rate
from domain.settlement import balance
from domain.subscription import Status, Subscription
from tests.scenarios import tariff as told
from tests.scenarios.books import Books, CountedMeter, Recorded, empty_facts
from tests.scenarios.domain_terms import price_of, terms_of
from tests.scenarios.lines import Json
from tests.scenarios.story import Refused, Use

P = ParamSpec("P")
GRACE = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def refusing(command: Callable[P, Awaitable[None]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """What the domain refuses is refused as a story knows it."""

    @wraps(command)
    async def played(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await command(*args, **kwargs)
        except Refusal as refusal:
            raise Refused(refusal.code) from refusal

    return played


class InDomain:
    """The domain in memory, with a clock that moves when the story says so."""

    books: Books

    def name_of(self, object_id: str) -> str:
        return object_id

    async def open(self, now: datetime, settings: Json) -> None:
        taxes = (
            Tax(name=one["name"], percent=Decimal(one["percent"]), included=one.get("included", False))
            for one in settings.get("tax_lines", ())
        )
        self.books = Books(now, tuple(taxes))

    async def meter(self, name: str, event_name: str, aggregation: Json, condition: Json | None) -> None:
        counted = CountedMeter(event_name, read_aggregation(aggregation), read_filter(condition) if condition else None)
        self.books.meters[name] = counted

    async def credits(self, name: str, terms: Json) -> None:
        made = Entitlement.create(name, precision=0, terms=terms_of(name, terms), at=self.books.now)
        self.books.entitlements[name] = made

    async def product(self, name: str, tariff: told.Tariff) -> None:
        self.books.products[name] = Product.create(
            name,
            name=name,
            tax_category="saas",
            description=None,
            metadata="{}",
            price=price_of(tariff),
            at=self.books.now,
        )

    async def customer(self, name: str, zone: str) -> None:
        self.books.zones[name] = zone

    async def subscribe(self, name: str, customer: str, items: Json, anchor: str | None, trial_days: int) -> None:
        prices = [self.books.products[product].newest_price for product in items]
        if len({price.currency for price in prices}) > 1:
            raise Refused("CURRENCY_MISMATCH")
        self.books.subscriptions[name] = Subscription.create(
            name,
            customer_id=customer,
            items=tuple(Item(product, quantity) for product, quantity in items.items()),
            currency=prices[0].currency,
            interval=prices[0].cycle,
            period=prices[0].subscription_period,
            anchor=Anchor(date=date.fromisoformat(anchor)) if anchor else Anchor(instant=self.books.now),
            billing="",
            metadata="{}",
            trial_days=trial_days,
            at=self.books.now,
        )
        self.books.open_cycles(self.books.now)

    async def use(self, uses: Sequence[Use]) -> None:
        for use in uses:
            text = msgspec.json.encode(use.metadata).decode() if use.metadata else ""
            event = UsageEvent(use.event_id, use.event_name, use.customer, use.at, text)
            known = self.books.events.get(use.event_id)
            if known is None:
                self.books.position += 1
                position = self.books.position
                self.books.events[use.event_id] = Recorded(event, position, position, self.books.now)
            else:
                # A duplicate or a conflict: the first one stays either way.
                assert same_content(event, known.event) or event.metadata != known.event.metadata

    async def void_usage(self, event_ids: Sequence[str]) -> None:
        for event_id in event_ids:
            known = self.books.events[event_id]
            if not known.voided:
                self.books.position += 1
                known.voided, known.known_at, known.changed_at = True, self.books.position, self.books.now

    async def move_clock(self, to: datetime) -> None:
        while True:
            self._close_due()
            if self.books.now == to:
                return
            self.books.now = min([to, *(at for at in self._next_instants() if at > self.books.now)])

    def _next_instants(self) -> list[datetime]:
        """When cycles open, and when grace periods end."""
        found: list[datetime] = []
        for subscription in self.books.subscriptions.values():
            cycle = subscription.earliest_unclosed()
            if cycle is not None:
                found.append(max(cycle.billable_at, subscription.created_on) + GRACE)
            if subscription.status is Status.active:
                found.append(subscription.next_start(self.books.zones[subscription.customer_id]))
            found += [line.changed_at + GRACE for line in self.books.late(subscription)]
        return found

    def _close_due(self) -> None:
        self.books.open_cycles(self.books.now)
        for subscription in self.books.subscriptions.values():
            while (cycle := subscription.earliest_unclosed()) is not None:
                if max(cycle.billable_at, subscription.created_on) + GRACE > self.books.now:
                    break
                self._invoice(subscription, cycle)
            ended = cycle is None and subscription.status not in (Status.active, Status.paused)
            late = self.books.late(subscription) if ended else []
            if late and min(line.changed_at for line in late) + GRACE <= self.books.now:
                self._invoice(subscription, None)

    async def close(self, subscription: str, start: datetime | None) -> None:
        self.books.open_cycles(self.books.now)
        found = self.books.subscriptions[subscription]
        cycle = found.earliest_unclosed() if start is None else found.cycle_starting(start)
        if cycle is None:
            raise Refused("NO_OPEN_CYCLE")
        if cycle.invoice_id is None:
            if cycle.end > self.books.now:
                raise Refused("CYCLE_NOT_ENDED")
            self._invoice(found, cycle)

    @refusing
    async def reprice(self, product: str, tariff: told.Tariff, effective: datetime | None) -> None:
        found = self.books.products[product]
        begun = (cycle.start for one in self.books.subscriptions.values() for cycle in one.cycles)
        if effective is None and self.books.now in begun:
            # A cycle that began this very instant has begun.
            effective = self.books.now + TICK
        found.reprice(price_of(tariff, found.newest_price.credits), effective, self.books.now)

    @refusing
    async def grant(self, customer: str, credits: str, amount: str, expires: datetime | None) -> None:
        account, days = self.books.account(credits, customer), self.books.entitlements[credits].terms.expires_after_days
        if expires is None and days is not None:
            expires = self.books.now + timedelta(days=days)
        account.credit(f"grant {len(account.grants)}", amount=Decimal(amount), expires=expires, at=self.books.now)

    @refusing
    async def debit(self, customer: str, credits: str, amount: str) -> None:
        account, settlement = self.books.account(credits, customer), self.books.settlement(credits, customer)
        free = settlement.free(self.books.now, self.books.entitlements[credits].terms.burn_order)
        account.debit(f"debit {len(account.debits)}", amount=Decimal(amount), free=free, at=self.books.now)

    @refusing
    async def pay_in(self, customer: str, amount: told.Money) -> None:
        wallet = self.books.wallet(customer, amount.currency)
        wallet.move(f"entry {len(wallet.movements)}", amount.whole, None, None, self.books.now)

    @refusing
    async def void_invoice(self, number: int) -> None:
        invoice, now = self.books.invoices[number - 1], self.books.now
        document = invoice.read()
        invoice.void(None, now)
        for account in self.books.accounts.values():
            account.return_burns(invoice.object_id, now)
        self.books.wallet(document.customer_id, document.currency).return_from_invoice(invoice.object_id, now)
        self.books.subscriptions[document.subscription_id].reopen(invoice.object_id, now)

    @refusing
    async def change_plan(self, subscription: str, product: str, mode: str, at_next: bool) -> None:
        found, price = self.books.subscriptions[subscription], self.books.products[product].newest_price
        plan = Plan(items=(Item(product, 1),), interval=price.cycle, period=price.subscription_period)
        zone = self.books.zones[found.customer_id]
        if at_next:
            found.schedule_plan_change(plan, zone, self.books.now)
        else:
            found.change_plan(plan, ChangeMode(mode), zone, self.books.now)
        self.books.open_cycles(self.books.now)

    @refusing
    async def change(self, subscription: str, members: Json) -> None:
        found, now = self.books.subscriptions[subscription], self.books.now
        zone = self.books.zones[found.customer_id]
        found.advance(zone, now)
        match members:
            case {"status": "cancelled"}:
                found.cancel(now)
            case {"status": "paused"}:
                found.pause(zone, now)
            case {"status": "active"}:
                found.resume(zone, now)
            case {"cancel_at_next_billing_date": scheduled}:
                found.schedule_cancellation(scheduled, now)
            case {"next_billing_date": text}:
                found.move_billing_date(datetime.fromisoformat(text), zone, now)
            case _:
                raise ValueError(f"a story changes no {members}")
        self.books.open_cycles(now)

    async def invoices(self) -> list[Json]:
        return [{**shown(invoice.read()), "status": invoice.status.value} for invoice in self.books.invoices]

    async def estimate(self, subscription: str, start: datetime | None) -> Json:
        # What is only looked at is decided on a copy.
        looking = deepcopy(self)
        found = looking.books.subscriptions[subscription]
        looking.books.open_cycles(self.books.now)
        cycle = found.earliest_unclosed() if start is None else found.cycle_starting(start)
        if cycle is None and not looking.books.late(found):
            raise Refused("NO_OPEN_CYCLE")
        if cycle is not None:
            looking.books.open_cycles(max(self.books.now, cycle.end - TICK))
        return shown(looking.reckoned(found, cycle, None))

    async def balance(self, customer: str, credits: str) -> tuple[str, str]:
        found = balance(self.books.settlement(credits, customer), self.books.now)
        return number.plain(found.credits), number.plain(found.overage)

    async def wallet(self, customer: str, currency: str) -> int:
        return self.books.wallet(customer, currency).balance

    def reckoned(self, subscription: Subscription, cycle: OpenedCycle | None, issue: Issue | None) -> Document:
        """The document of a cycle, or of corrections alone; issued, what it burns and takes becomes final."""
        books, late = self.books, self.books.late(subscription)
        names = {entitlement for entitlement, customer in books.accounts if customer == subscription.customer_id}
        settled = {name: books.settlement(name, subscription.customer_id, late) for name in sorted(names)}
        adjustments = books.adjustments(subscription, late, list(settled.values()))
        if cycle is None:
            facts = empty_facts(books, subscription, adjustments)
        else:
            facts = books.facts(subscription, cycle, books.prices(cycle), list(settled.values()), adjustments)
        rated, about = rate(facts), cycle or late[-1].cycle
        only_corrects = DocumentType.credit_note if rated.subtotal_amount < 0 else DocumentType.adjustment
        subject = Subject(
            customer_id=subscription.customer_id,
            subscription_id=subscription.object_id,
            currency=subscription.currency,
            cycle=(instant.text(about.start), instant.text(about.end)),
            type=only_corrects if cycle is None else DocumentType.invoice,
            replaces=cycle.replaces if cycle else None,
        )
        wallet = books.wallet(subscription.customer_id, subscription.currency)
        document = compose(subject, rated, wallet_balance=wallet.balance, position=books.position, issue=issue)
        if issue is not None:
            for name, settlement in settled.items():
                self._burn(name, subscription, cycle, [line.cycle for line in late], settlement, issue.invoice_id)
            if document.wallet_amount >= 0:
                wallet.apply_to_invoice(document.wallet_amount, issue.invoice_id, books.now)
            else:
                wallet.credit_from_invoice(-document.wallet_amount, issue.invoice_id, books.now)
        return document

    def _burn(
        self,
        name: str,
        subscription: Subscription,
        cycle: OpenedCycle | None,
        late: Sequence[OpenedCycle],
        settlement: Any,
        invoice_id: str,
    ) -> None:
        account, subscription_id = self.books.account(name, subscription.customer_id), subscription.object_id
        billed = {one.start: one for one in (*late, *([cycle] if cycle else []))}
        for one in billed.values():
            lines = settlement.burn_lines(subscription_id, one.start)
            span = (one.start, one.end)
            account.burn(invoice_id, subscription_id=subscription_id, cycle=span, lines=lines, at=self.books.now)
        if cycle is not None:
            rollovers = settlement.rollovers_of(subscription_id, cycle.start, cycle.end)
            account.roll_over(rollovers, invoice_id, self.books.now)

    def _invoice(self, subscription: Subscription, cycle: OpenedCycle | None) -> None:
        books = self.books
        issue = Issue(
            invoice_id=f"invoice {len(books.invoices) + 1}",
            number=number_text("INV-", len(books.invoices) + 1),
            digest="",
            issued_at=instant.text(books.now),
        )
        prices = books.prices(cycle) if cycle else []
        document = self.reckoned(subscription, cycle, issue)
        books.invoices.append(Invoice.issue(issue.invoice_id, document, books.now))
        books.priced[issue.invoice_id] = prices
        if cycle is None:
            subscription.settle_late_usage(books.position, books.now)
        else:
            subscription.close_cycle(cycle, issue.invoice_id, books.now, settled_position=books.position)
        books.position += 1


def shown(document: Document) -> Json:
    """The document as it is answered."""
    return msgspec.json.decode(msgspec.json.encode(document))
