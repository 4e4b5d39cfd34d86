"""The credits that a product includes, on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from app.http.prices import YEAR_MAX_UNITS, check_span, read_decimal, read_unit_price
from app.limits import PRODUCT_CREDITS_MAX
from domain import number
from domain.cycle import Interval, Unit
from domain.entitlement import PERCENT_MAX, Entitlement, OverageBehavior, Terms, check_credits, check_terms
from domain.errors import Invalid
from domain.price import IncludedCredits, Price, ProrationBehavior
from projections.aggregates import Aggregates
from projections.database import Row

FIELD = "credit_entitlements"

ROLLOVERS_MAX = 10_000
"""More cycles than a subscription can have: a day each for twenty years."""

Percent = Annotated[int, msgspec.Meta(ge=0, le=PERCENT_MAX, examples=[50])]
Days = Annotated[int, msgspec.Meta(ge=1, le=YEAR_MAX_UNITS[Unit.Day], examples=[30])]
Rollovers = Annotated[int, msgspec.Meta(ge=0, le=ROLLOVERS_MAX, examples=[3])]
Credits = Annotated[int | str, msgspec.Meta(examples=["1000"])]


class IncludedCreditsInput(msgspec.Struct):
    """Credits of an entitlement per cycle. What is left out is as the entitlement has it."""

    credit_entitlement_id: str
    credits_amount: Credits
    currency: str | None = None
    expires_after_days: Days | None = None
    low_balance_threshold_percent: Percent | None = None
    max_rollover_count: Rollovers | None = None
    overage_behavior: OverageBehavior | None = None
    overage_enabled: bool | None = None
    overage_limit: Credits | None = None
    price_per_unit: Annotated[str, msgspec.Meta(examples=["2"])] | None = None
    proration_behavior: ProrationBehavior | None = None
    rollover_enabled: bool | None = None
    rollover_percentage: Percent | None = None
    rollover_timeframe_count: Annotated[int, msgspec.Meta(ge=1, examples=[1])] | None = None
    rollover_timeframe_interval: Unit | None = None
    trial_credits: Credits | None = None
    trial_credits_expire_after_trial: bool | None = None


class IncludedCreditsAnswer(msgspec.Struct, omit_defaults=True):
    """Included credits with the terms that hold: the product's own where it has any, the entitlement's otherwise."""

    id: str
    credit_entitlement_id: str
    credit_entitlement_name: str
    credit_entitlement_unit: str
    credits_amount: str
    overage_behavior: OverageBehavior
    overage_enabled: bool
    proration_behavior: ProrationBehavior
    rollover_enabled: bool
    trial_credits_expire_after_trial: bool
    currency: str | None = None
    expires_after_days: int | None = None
    low_balance_threshold_percent: int | None = None
    max_rollover_count: int | None = None
    overage_limit: str | None = None
    price_per_unit: str | None = None
    rollover_percentage: int | None = None
    rollover_timeframe_count: int | None = None
    rollover_timeframe_interval: Unit | None = None
    trial_credits: str | None = None


def read_included(given: list[IncludedCreditsInput], currency: str) -> tuple[IncludedCredits, ...]:
    """The credits of a product priced in ``currency``; whether the entitlements exist is not asked.

    Raises ``Invalid`` naming the field.
    """
    if len(given) > PRODUCT_CREDITS_MAX:
        raise Invalid(FIELD, f"at most {PRODUCT_CREDITS_MAX} credit entitlements")
    if len({one.credit_entitlement_id for one in given}) < len(given):
        raise Invalid(FIELD, "a credit entitlement stands in it twice")
    return tuple(_read_one(one, currency, f"{FIELD}[{index}]") for index, one in enumerate(given))


def _read_one(given: IncludedCreditsInput, currency: str, field: str) -> IncludedCredits:
    if given.currency is not None and given.currency != currency:
        raise Invalid(f"{field}.currency", f"must be the price's currency, {currency}")
    if given.proration_behavior is ProrationBehavior.prorate:
        rule = "must be no_prorate: each cycle grants the whole amount, however short it is"
        raise Invalid(f"{field}.proration_behavior", rule, "UNSUPPORTED_FIELD")
    return IncludedCredits(
        credit_entitlement_id=given.credit_entitlement_id,
        credits_amount=number.plain(read_decimal(given.credits_amount, f"{field}.credits_amount")),
        expires_after_days=given.expires_after_days,
        low_balance_threshold_percent=given.low_balance_threshold_percent,
        overage_enabled=given.overage_enabled,
        overage_behavior=given.overage_behavior,
        overage_limit=_credits(given.overage_limit, f"{field}.overage_limit"),
        price_per_unit=read_unit_price(given.price_per_unit, f"{field}.price_per_unit"),
        rollover_enabled=given.rollover_enabled,
        rollover_percentage=given.rollover_percentage,
        rollover_timeframe=read_timeframe(
            given.rollover_timeframe_count, given.rollover_timeframe_interval, f"{field}."
        ),
        max_rollover_count=given.max_rollover_count,
        proration_behavior=given.proration_behavior,
        trial_credits=_credits(given.trial_credits, f"{field}.trial_credits"),
        trial_credits_expire_after_trial=given.trial_credits_expire_after_trial,
    )


def _credits(value: int | str | None, field: str) -> str | None:
    return None if value is None else number.plain(read_decimal(value, field))


def read_timeframe(count: int | None, unit: Unit | None, where: str = "") -> Interval | None:
    """How long rolled over credits live, both fields or none; ``where`` is what stands before their names.

    Raises ``Invalid``.
    """
    if count is None and unit is None:
        return None
    if count is None:
        raise Invalid(f"{where}rollover_timeframe_count", "is required with rollover_timeframe_interval")
    if unit is None:
        raise Invalid(f"{where}rollover_timeframe_interval", "is required with rollover_timeframe_count")
    timeframe = Interval(count=count, unit=unit)
    check_span(timeframe, f"{where}rollover_timeframe_count")
    return timeframe


async def need_included(running: Aggregates, included: tuple[IncludedCredits, ...], currency: str) -> None:
    """Raises ``Invalid`` where an entitlement does not exist, or its terms and the product's do not fit together."""
    for index, one in enumerate(included):
        field = f"{FIELD}[{index}]"
        entitlement = await _entitlement(running, one.credit_entitlement_id, f"{field}.credit_entitlement_id")
        for name in ("credits_amount", "overage_limit", "trial_credits"):
            amount: str | None = getattr(one, name)
            if amount is not None:
                check_credits(number.parse_plain(amount), entitlement.precision, f"{field}.{name}")
        terms = one.terms(entitlement.terms, currency)
        try:
            check_terms(terms)
        except Invalid as error:
            raise Invalid(f"{field}.{error.field}", error.message.removeprefix(f"{error.field}: ")) from None
        _check_currency(terms, currency, f"{field}.currency")


async def need_burned(running: Aggregates, price: Price) -> None:
    """Raises ``Invalid`` where a meter burns credits that do not exist or whose overage is in another currency."""
    for index, meter in enumerate(price.meters):
        if meter.credit_entitlement_id is None:
            continue
        field = f"price.meters[{index}].credit_entitlement_id"
        entitlement = await _entitlement(running, meter.credit_entitlement_id, field)
        if meter.credits_only and price.included(meter.credit_entitlement_id) is None:
            _check_currency(entitlement.terms, price.currency, field)


async def _entitlement(running: Aggregates, entitlement_id: str, field: str) -> Entitlement:
    found = await running.find(Entitlement, entitlement_id)
    if found is None or found.deleted:
        rule = f"there is no credit entitlement '{entitlement_id}'"
        raise Invalid(field, rule, "CREDIT_ENTITLEMENT_NOT_FOUND")
    return found


def _check_currency(terms: Terms, currency: str, field: str) -> None:
    """Overage that is invoiced has to be priced in the invoice's currency."""
    invoiced = terms.overage.enabled and terms.overage.behavior is OverageBehavior.invoice_at_billing
    if invoiced and terms.currency != currency:
        raise Invalid(field, f"overage is priced in {terms.currency}, the product in {currency}")


def included_answer(product_id: str, price: Price, entitlements: Mapping[str, Row]) -> list[IncludedCreditsAnswer]:
    """Included credits on the wire; ``entitlements`` holds the rows of the entitlements by id."""
    return [
        _answer(product_id, one, read_terms(entitlements[one.credit_entitlement_id]), price.currency)
        for one in price.credits
    ]


def read_terms(row: Row) -> Terms:
    """The terms of a row of ``credit_entitlement``."""
    return msgspec.json.decode(row["terms"], type=Terms)


def _answer(product_id: str, one: IncludedCredits, own: Terms, currency: str) -> IncludedCreditsAnswer:
    terms = one.terms(own, currency)
    timeframe = terms.rollover.timeframe
    return IncludedCreditsAnswer(
        id=f"{product_id}:{one.credit_entitlement_id}",
        credit_entitlement_id=one.credit_entitlement_id,
        credit_entitlement_name=own.name,
        credit_entitlement_unit=own.unit,
        credits_amount=one.credits_amount,
        overage_behavior=terms.overage.behavior,
        overage_enabled=terms.overage.enabled,
        proration_behavior=one.proration_behavior or ProrationBehavior.no_prorate,
        rollover_enabled=terms.rollover.enabled,
        trial_credits_expire_after_trial=one.trial_credits_expire_after_trial is not False,
        currency=terms.currency,
        expires_after_days=terms.expires_after_days,
        low_balance_threshold_percent=one.low_balance_threshold_percent,
        max_rollover_count=terms.rollover.max_count,
        overage_limit=terms.overage.limit,
        price_per_unit=terms.price_per_unit,
        rollover_percentage=terms.rollover.percentage,
        rollover_timeframe_count=None if timeframe is None else timeframe.count,
        rollover_timeframe_interval=None if timeframe is None else timeframe.unit,
        trial_credits=one.trial_credits,
    )
