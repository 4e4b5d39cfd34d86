"""What a cycle would cost with so many units, through the domain's own settlement and rating, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from app.crediting import counted_overage, overage_terms
from app.dashboard.line_steps import Explained, explain
from domain import number
from domain.claim import Claim, ClaimKey, Step
from domain.credit_account import CreditAccount
from domain.cycle import Anchor, boundary
from domain.entitlement import Terms
from domain.errors import Invalid
from domain.grant import GrantedCycle
from domain.price import FeeRule, Price
from domain.rating import CountedOverage, CycleFacts, MeterUsage, RatedProduct, chargeable_units, rate
from domain.settlement import settle
from projections.database import Row

NOBODY = "calculation"
"""Stands for the customer and the subscription that a calculation does not have."""


class Credits(msgspec.Struct, frozen=True):
    """An entitlement as it stands: its terms, and the digits after the point of its credits."""

    terms: Terms
    precision: int


class Calculated(msgspec.Struct, frozen=True):
    """The lines of the cycle with their steps, and their sum in minor units, before tax."""

    lines: tuple[Explained, ...]
    total: int
    currency: str


class _Drawn(msgspec.Struct, frozen=True):
    credits: Decimal = Decimal(0)
    overage: CountedOverage | None = None


def read_units(entered: Sequence[str]) -> list[Decimal]:
    """Units as they were entered, 0 where nothing was. Raises ``Invalid``."""
    units: list[Decimal] = []
    for index, text in enumerate(entered):
        try:
            units.append(number.parse_plain(text.strip().replace(",", "") or "0"))
        except number.InvalidNumber as error:
            raise Invalid(f"units[{index}]", str(error)) from None
    return units


def calculate(
    name: str,
    price: Price,
    units: Sequence[Decimal],
    meters: Mapping[str, Row],
    entitlements: Mapping[str, Credits],
    now: datetime,
) -> Calculated:
    """A whole cycle that begins now, in which the price's meters count ``units``, in their order.

    The credits that the product includes are all there; ``entitlements`` holds those that it includes or burns.
    """
    end = boundary(Anchor(instant=now), price.cycle, 1, "UTC")
    drawn = _settled(price, units, entitlements, now, end)
    usage = tuple(
        MeterUsage(
            name=meters[meter.meter_id]["name"],
            measurement_unit=meters[meter.meter_id]["measurement_unit"],
            price=meter,
            consumed=consumed,
            credits=drawn.get(meter.meter_id, _Drawn()).credits,
            overage=drawn.get(meter.meter_id, _Drawn()).overage,
        )
        for meter, consumed in zip(price.meters, units, strict=True)
    )
    product = RatedProduct(product_id=NOBODY, name=name or "Product", quantity=1, price=price, usage=usage)
    rated = rate(
        CycleFacts(
            currency=price.currency,
            start=now,
            end=end,
            planned_start=now,
            planned_end=end,
            fee=FeeRule.shared,
            trial=False,
            products=(product,),
        )
    )
    lines = tuple(
        explain(line, price.currency, meters[line.meter_id]["measurement_unit"] if line.meter_id else "")
        for line in rated.lines
    )
    return Calculated(lines, rated.subtotal_amount, price.currency)


def _settled(
    price: Price, units: Sequence[Decimal], entitlements: Mapping[str, Credits], start: datetime, end: datetime
) -> dict[str, _Drawn]:
    """What each meter draws of the included credits, by its id."""
    found: dict[str, _Drawn] = {}
    for entitlement_id, own in entitlements.items():
        included = price.included(entitlement_id)
        account = CreditAccount.open(entitlement_id, NOBODY, own.precision, start)
        if included is not None:
            cycle = GrantedCycle(subscription_id=NOBODY, product_id=NOBODY, start=start, end=end)
            account.grant_cycle(NOBODY, amount=Decimal(included.credits_amount), cycle=cycle, at=start)
        terms = own.terms if included is None else included.terms(own.terms, price.currency)
        claims = [
            Claim(
                key=ClaimKey(end, NOBODY, index, start, NOBODY, meter.meter_id),
                units_per_credit=meter.units_per_credit or Decimal(1),
                steps=(Step(end, chargeable_units(consumed, meter.free_units)),),
                burn_order=terms.burn_order,
                overage=overage_terms(terms) if meter.credits_only else None,
            )
            for index, (meter, consumed) in enumerate(zip(price.meters, units, strict=True))
            if meter.credit_entitlement_id == entitlement_id
        ]
        settlement = settle(account, claims, start)
        for claim in claims:
            settled = settlement.by_key[claim.key]
            found[claim.key.meter_id] = _Drawn(settled.credits, counted_overage(claim.overage, settled.overage))
    return found
