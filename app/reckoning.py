"""What a cycle comes to, with its credits and the adjustments of earlier ones: one way for estimate and close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.crediting import AccountView, ClaimingCycle, account_view
from app.late_usage import LateCycle, adjustment_lines, late_cycles
from domain import instant
from domain.credit_account import CreditAccount
from domain.invoice import Document, DocumentType, Issue, Subject, compose
from domain.plan import OpenedCycle
from domain.rating import Rated, rate
from domain.subscription import Subscription
from domain.wallet import Wallet
from projections.aggregates import Aggregates
from projections.rating_facts import LineCredits, MeterKey, cycle_facts, meter_lines, only_adjustments, prices_of


class Reckoning(msgspec.Struct, frozen=True):
    """Everything that a document is made of, and what issuing it makes final.

    ``cycle`` is ``None`` for a document of adjustments alone.
    """

    subscription: Subscription
    cycle: OpenedCycle | None
    late: Sequence[LateCycle]
    accounts: Sequence[AccountView]
    rated: Rated

    def burn(self, account: CreditAccount, view: AccountView, invoice_id: str, at: datetime) -> None:
        """Make final what the lines draw from an account, and roll over what the cycle leaves."""
        subscription_id = self.subscription.object_id
        billed = [*([self.cycle] if self.cycle else []), *(late.cycle for late in self.late)]
        for cycle in billed:
            account.burn(
                invoice_id,
                subscription_id=subscription_id,
                cycle=(cycle.start, cycle.end),
                lines=view.settlement.burn_lines(subscription_id, cycle.start),
                at=at,
            )
        if self.cycle is not None:
            due = view.settlement.rollovers_of(subscription_id, self.cycle.start, self.cycle.end)
            account.roll_over(due, invoice_id, at)

    async def document(self, known: Aggregates, issue: Issue | None = None) -> Document:
        """The document, with what the customer's wallet pays."""
        subscription = self.subscription
        wallet = await known.find(Wallet, Wallet.wallet_id(subscription.customer_id, subscription.currency))
        return compose(
            self._subject(),
            self.rated,
            wallet_balance=wallet.balance if wallet else 0,
            position=known.position,
            issue=issue,
        )

    def _subject(self) -> Subject:
        cycle = self.cycle or self.late[-1].cycle
        return Subject(
            customer_id=self.subscription.customer_id,
            subscription_id=self.subscription.object_id,
            currency=self.subscription.currency,
            cycle=(instant.text(cycle.start), instant.text(cycle.end)),
            type=self._type(),
            replaces=self.cycle.replaces if self.cycle else None,
        )

    def _type(self) -> DocumentType:
        if self.cycle is not None:
            return DocumentType.invoice
        return DocumentType.credit_note if self.rated.subtotal_amount < 0 else DocumentType.adjustment


async def reckon(known: Aggregates, subscription: Subscription, cycle: OpenedCycle | None) -> Reckoning:
    """Rate a cycle (or adjustments alone) as of the position, which the quantities have to be at.

    The customer's other cycles have their say where they share credits: those that have begun by the cycle's end are
    opened in memory.
    """
    late = await late_cycles(known, subscription)
    late_claims = [ClaimingCycle(subscription, one.cycle, one.priced_at, one.invoiced.keys()) for one in late]
    until = known.now if cycle is None else max(known.now, cycle.end)
    accounts = [
        await account_view(known, entitlement_id, subscription.customer_id, until=until, late_claims=late_claims)
        for entitlement_id in await _entitlements(known, cycle, late_claims)
    ]
    adjustments = [
        line
        for one in late
        for line in await adjustment_lines(known, subscription, one, _settled(subscription, one.cycle, accounts))
    ]
    if cycle is None:
        facts = await only_adjustments(known, subscription, adjustments)
    else:
        facts = await cycle_facts(known, subscription, cycle, _settled(subscription, cycle, accounts), adjustments)
    return Reckoning(subscription, cycle, late, accounts, rate(facts))


async def _entitlements(
    known: Aggregates, cycle: OpenedCycle | None, late_claims: Sequence[ClaimingCycle]
) -> list[str]:
    """The entitlements whose credits the lines burn or the cycle's products include, each once, in order."""
    prices = [] if cycle is None else await prices_of(known, cycle, known.position)
    found = [line.price.credit_entitlement_id for line in meter_lines(prices)]
    found += [included.credit_entitlement_id for _, price in prices for included in price.credits]
    for late_claim in late_claims:
        for line in meter_lines(await prices_of(known, late_claim.cycle, late_claim.priced_at)):
            if line.key in late_claim.touched:
                found.append(line.price.credit_entitlement_id)
    return sorted({entitlement_id for entitlement_id in found if entitlement_id is not None})


def _settled(
    subscription: Subscription, cycle: OpenedCycle, accounts: Sequence[AccountView]
) -> dict[MeterKey, LineCredits]:
    """What the lines of a cycle draw, of whichever entitlement."""
    return {
        key: drawn
        for account in accounts
        for key, drawn in account.line_credits(subscription.object_id, cycle.start).items()
    }
