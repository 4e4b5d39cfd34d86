"""What a cycle comes to, with its credits and the adjustments of earlier ones: one way for estimate and close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.crediting import AccountView, ClaimingCycle, account_view
from app.late_usage import LateCycle, adjustment_lines, late_cycles, reissue_lines
from domain import instant
from domain.credit_account import CreditAccount
from domain.invoice import Document, DocumentType, Issue, Subject, compose
from domain.plan import OpenedCycle
from domain.product import Product
from domain.rating import CycleFacts, Rated, rate
from domain.subscription import Subscription
from domain.wallet import Wallet
from projections.aggregates import Aggregates
from projections.rating_facts import (
    LineCredits,
    MeterKey,
    cycle_facts,
    meter_lines,
    only_adjustments,
    prices_of,
    taxed_inside,
)


class Reckoning(msgspec.Struct, frozen=True):
    """Everything that a document is made of, and what issuing it makes final.

    ``cycle`` is ``None`` for a document of adjustments alone. ``rated`` is what ``facts`` come to.
    """

    subscription: Subscription
    cycle: OpenedCycle | None
    late: Sequence[LateCycle]
    accounts: Sequence[AccountView]
    facts: CycleFacts
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
        return compose(
            self.subject(),
            self.rated,
            wallet_balance=await wallet_balance(known, subscription.customer_id, subscription.currency),
            position=known.position,
            issue=issue,
        )

    def subject(self) -> Subject:
        """Whom and what the document is for."""
        cycle = self.cycle or self.late[-1].cycle
        return Subject(
            customer_id=self.subscription.customer_id,
            subscription_id=self.subscription.object_id,
            currency=self.subscription.currency,
            cycle=(instant.text(cycle.start), instant.text(cycle.end)),
            type=self._type(),
            replaces=self.cycle.replaces if self.cycle else self.subscription.replaces,
        )

    def _type(self) -> DocumentType:
        if self.cycle is not None:
            return DocumentType.invoice
        return DocumentType.credit_note if self.rated.subtotal_amount < 0 else DocumentType.adjustment


async def wallet_balance(known: Aggregates, customer_id: str, currency: str) -> int:
    """What is in a customer's wallet of a currency, in minor units."""
    wallet = await known.find(Wallet, Wallet.wallet_id(customer_id, currency))
    return wallet.balance if wallet else 0


async def reckon(known: Aggregates, subscription: Subscription, cycle: OpenedCycle | None) -> Reckoning:
    """Rate a cycle (or adjustments alone) as of the position, which the quantities have to be at.

    The customer's other cycles have their say where they share credits: those that have begun by the cycle's end are
    opened in memory.
    """
    late = await late_cycles(known, subscription)
    accounts = await _accounts(known, subscription, cycle, late)
    adjustments = [
        line
        for one in late
        for line in await adjustment_lines(known, subscription, one, _settled(subscription, one.cycle, accounts))
    ]
    if cycle is None:
        facts = await only_adjustments(known, subscription, adjustments)
    else:
        facts = await cycle_facts(known, subscription, cycle, _settled(subscription, cycle, accounts))
        if cycle.replaces is not None:
            adjustments += await reissue_lines(known, subscription, cycle, rate(facts).lines)
        inside = facts.taxed_inside | await taxed_inside(known, [line.product_id for line in adjustments])
        facts = msgspec.structs.replace(facts, adjustments=tuple(adjustments), taxed_inside=inside)
    return Reckoning(subscription, cycle, late, accounts, facts, rate(facts))


async def _accounts(
    known: Aggregates, subscription: Subscription, cycle: OpenedCycle | None, late: Sequence[LateCycle]
) -> list[AccountView]:
    """The credit accounts that the lines draw on. What cycles claim that end later changes nothing here."""
    late_claims = [ClaimingCycle(subscription, one.cycle, one.priced_at, one.invoiced.keys()) for one in late]
    ends = [one.end for one in (cycle, *(one.cycle for one in late)) if one is not None]
    return [
        await account_view(
            known,
            entitlement_id,
            subscription.customer_id,
            until=max(known.now, *ends),
            claims_until=max(ends),
            late_claims=late_claims,
        )
        for entitlement_id in await _entitlements(known, cycle, late_claims)
    ]


async def _entitlements(
    known: Aggregates, cycle: OpenedCycle | None, late_claims: Sequence[ClaimingCycle]
) -> list[str]:
    """The entitlements whose credits the lines burn or the cycle may have been granted, each once, in order."""
    found: list[str | None] = []
    if cycle is not None:
        prices = await prices_of(known, cycle, known.position)
        found += [line.price.credit_entitlement_id for line in meter_lines(prices)]
        for item in cycle.items:
            # A version that was recorded since the cycle began may include others than those that were granted.
            product = await known.at_position(Product, item.product_id, known.position)
            found += [one.credit_entitlement_id for version in product.versions for one in version.price.credits]
    for late_claim in late_claims:
        for line in meter_lines(await prices_of(known, late_claim.cycle, late_claim.priced_at)):
            if line.key in late_claim.touched:
                found.append(line.price.credit_entitlement_id)
    return sorted({entitlement_id for entitlement_id in found if entitlement_id is not None})


def _settled(
    subscription: Subscription, cycle: OpenedCycle, accounts: Sequence[AccountView]
) -> dict[MeterKey, LineCredits]:
    return line_credits(accounts, subscription.object_id, cycle.start)


def line_credits(
    accounts: Sequence[AccountView], subscription_id: str, cycle_start: datetime
) -> dict[MeterKey, LineCredits]:
    """What the lines of a cycle draw, of whichever entitlement."""
    return {
        key: drawn for account in accounts for key, drawn in account.line_credits(subscription_id, cycle_start).items()
    }
