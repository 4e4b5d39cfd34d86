"""What an alert's target came to in a cycle, out of the same reckoning as the estimate and the invoice."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from app.reckoning import Reckoning
from domain import number
from domain.alert import AlertKind, Target, highest, percent_of
from domain.instant import MICROSECOND
from domain.plan import OpenedCycle


def value_of(reckoning: Reckoning, cycle: OpenedCycle, target: Target, now: datetime) -> Decimal | None:
    """The target's value in the cycle that was reckoned; ``None`` where the cycle has no such thing.

    A meter that several products of the cycle price has the one quantity, and the highest of its percentages.
    """
    usage = [one for product in reckoning.facts.products for one in product.usage]
    own = [one for one in usage if one.price.meter_id == target.meter_id]
    match target.kind:
        case AlertKind.quantity:
            return highest(one.consumed for one in own)
        case AlertKind.free_percent:
            return highest(percent_of(one.consumed, one.price.free_units) for one in own)
        case AlertKind.credit_percent:
            return _credit_percent(reckoning, cycle, target.credit_entitlement_id, now)
        case AlertKind.amount:
            return Decimal(reckoning.rated.subtotal_amount + reckoning.rated.tax_amount)


def _credit_percent(
    reckoning: Reckoning, cycle: OpenedCycle, entitlement_id: str | None, now: datetime
) -> Decimal | None:
    """Of the credits that the cycle drew and those that are left, the share that it drew.

    What is left is asked at the cycle's last instant once that has passed, since a lapse at its end is no use.
    """
    view = next((one for one in reckoning.accounts if one.entitlement.object_id == entitlement_id), None)
    if view is None:
        return None
    at = min(now, cycle.end - MICROSECOND)
    lines = view.line_credits(reckoning.subscription.object_id, cycle.start)
    drawn = number.total(line.credits for line in lines.values())
    left = number.total(view.settlement.left(grant_id, at) for grant_id in view.settlement.grants)
    return percent_of(drawn, number.plus(drawn, left))
