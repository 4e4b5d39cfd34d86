"""The forecast of a cycle: its reckoning with quantities carried on to its end, rated as an invoice would be."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from app.crediting import AccountView, ClaimSource
from app.reckoning import Reckoning, line_credits, wallet_balance
from domain.claim import Claim
from domain.forecast import carried_on_claim, foreseen, tells
from domain.invoice import Document, compose
from domain.rating import rate
from domain.settlement import settle
from projections.aggregates import Aggregates
from projections.usage import Measured


async def forecast_of(known: Aggregates, reckoning: Reckoning) -> Document | None:
    """What the cycle comes to at its end if usage goes on at its pace so far; ``None`` where that says nothing.

    The customer's other cycles go on at their own pace where they share credits; those that have not begun use nothing.
    """
    cycle, subscription = reckoning.cycle, reckoning.subscription
    if cycle is None or not tells(cycle.start, cycle.end, known.now):
        return None
    accounts = [await _carried_on(known, view, subscription.customer_id) for view in reckoning.accounts]
    settled = line_credits(accounts, subscription.object_id, cycle.start)
    drawn = {key: (one.credits, one.overage) for key, one in settled.items()}
    kinds = {meter_id: meter.aggregation.type for meter_id, meter in (await known.meters()).items()}
    return compose(
        reckoning.subject(),
        rate(foreseen(reckoning.facts, kinds, drawn, known.now)),
        wallet_balance=await wallet_balance(known, subscription.customer_id, subscription.currency),
        position=known.position,
        issue=None,
    )


async def _carried_on(known: Aggregates, view: AccountView, customer_id: str) -> AccountView:
    claims = [await _claim(known, claim, view.sources[claim.key], customer_id) for claim in view.settlement.claims]
    return msgspec.structs.replace(view, settlement=settle(view.account, claims, view.at))


async def _claim(known: Aggregates, claim: Claim, source: ClaimSource, customer_id: str) -> Claim:
    so_far = Measured()
    consumed: list[Decimal] = []
    for part in await known.measured(source.meter, customer_id, source.edges):
        so_far.join(part)
        consumed.append(so_far.quantity(source.meter.aggregation))
    return carried_on_claim(claim, source.meter.aggregation.type, consumed, source.free_units, known.now)
